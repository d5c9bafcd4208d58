"""The variables that the image reads, by what Settings asks its environment for."""

from serving.core.settings import Settings


def variables_read() -> set[str]:
    class Recorder(dict[str, str]):
        def get(self, key: str, default: object = None) -> object:  # type: ignore[override]
            asked.add(key)
            return default

    asked: set[str] = set()
    Settings.from_environment(Recorder())
    return asked
