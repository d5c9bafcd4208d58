"""List the variables that the image reads."""

from serving.core.settings import Settings


def variables_read() -> set[str]:
    """Return the names that Settings looks up in its environment."""

    class Recorder(dict[str, str]):
        def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
            asked.add(key)
            return default

    asked: set[str] = set()
    Settings.from_environment(Recorder())
    return asked
