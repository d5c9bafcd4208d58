"""Find the model's artifact, and check it."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.artifact import symbol
from serving.artifact.manifest import MANIFEST, digests, model_id, read, sha256
from serving.core.errors import StartError
from serving.core.settings import Settings

_PREFIX = "one-image-"  # of the temporary folders


@dataclass(frozen=True)
class Artifact:
    """A folder that may be served. `manifest` is empty if the folder has none."""

    folder: Path
    model_id: str
    manifest: Mapping[str, Any] = field(default_factory=dict)


def resolve(
    settings: Settings, model_path: Path | None = None, *, required: bool = False
) -> Artifact:
    """Find and check the first artifact of these. Raises StartError.

    1. `model_path`, SageMaker's mount, unless it is absent or empty (and not `required`);
    2. `MODEL_DATA_URL`, unpacked into a temporary folder;
    3. the image's artifact for `MODEL_NAME`;
    4. the GluonCV zoo's model of that name, in an image with MXNet.
    """
    try:
        found = _find(settings, model_path, required)
    except OSError as error:
        place = error.filename or "the temporary folder"
        raise StartError(f"{place} cannot be used: {error.strerror or error}") from None
    if settings.model_id and found.model_id != settings.model_id:
        raise StartError(
            f"the artifact in {found.folder} has model id {found.model_id}, "
            f"but MODEL_ID asks for {settings.model_id}"
        )
    return found


def _find(settings: Settings, model_path: Path | None, required: bool) -> Artifact:
    if model_path and (required or (model_path.is_dir() and any(model_path.iterdir()))):
        return check(model_path)
    if settings.model_data_url:
        # A cold start with the image's artifact needs neither this import nor the zoo's.
        from serving.artifact.archive import unpack

        folder = _temporary()
        unpack(settings.model_data_url, folder)
        return check(folder)
    name = settings.model_name
    if not name:
        raise StartError(
            "no model: mount an artifact, or set MODEL_DATA_URL or MODEL_NAME, or pass --model-path"
        )
    if (settings.artifacts_dir / name / MANIFEST).is_file():
        # With INFERENCE, it is a model folder, which its owner may edit.
        return check(settings.artifacts_dir / name, trusted=not settings.inference)
    try:
        from serving.artifact import zoo
    except ImportError:
        raise StartError(
            f"MODEL_NAME={name} is not in this image, and the GluonCV zoo is not available: the "
            "image was built without MXNet (WITH_MXNET=0)"
        ) from None
    folder = _temporary()
    zoo.write(zoo.pretrained(name, folder), folder)
    return check(folder)


def check(folder: Path, *, trusted: bool = False) -> Artifact:
    """Check a folder against its manifest and compute its model id. Raises StartError.

    With `trusted`, the files are not hashed: the build of the image has checked its artifact, and a
    cold start reads it only once.
    """
    if not folder.is_dir():
        raise StartError(f"{folder} is not a folder")
    if not trusted:
        _check_files(folder)
    manifest = read(folder)
    if not manifest:
        _check_symbol_and_params(folder)
    for name in manifest.get("files", ()):
        if not (folder / name).is_file():
            raise StartError(f"the artifact in {folder} lacks {name}, which its manifest names")
    if trusted:
        named = {**manifest["files"], MANIFEST: sha256(folder / MANIFEST)}
        return Artifact(folder, model_id(named), manifest)
    if not (folder / "model.onnx").exists():
        for path in symbol.find(folder, "*symbol.json"):
            symbol.check(path)
    actual = digests(folder, manifest.get("files", ()))
    for name, digest in manifest.get("files", {}).items():
        if actual.get(name) != digest:
            raise StartError(f"{folder / name} does not have the sha256 that its manifest names")
    return Artifact(folder, model_id(actual), manifest)


def _check_files(folder: Path) -> None:
    """Refuse unprintable names, links out of the folder, and all but files and folders."""
    place = os.path.realpath(folder)
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        has = f"the artifact in {folder} has"
        if not name.isprintable():
            raise StartError(f"{has} {name!a}, which is not a printable name")
        if not Path(os.path.realpath(path)).is_relative_to(place):
            raise StartError(f"{has} {name}, a link that leads out of it")
        if not path.is_file() and not path.is_dir():
            raise StartError(f"{has} {name}, which is neither a file nor a folder")


def _check_symbol_and_params(folder: Path) -> None:
    if graphs := symbol.find(folder, "*.onnx"):
        raise StartError(
            f"{folder} has no {MANIFEST} with the preprocessing for {graphs[0].name}: "
            f"`python -m build_artifact NAME OUTPUT_DIR --onnx {graphs[0]} --labels FILE "
            "--input-size PIXELS` writes one"
        )
    for pattern in ("*symbol.json", "*.params"):
        if [path.is_file() for path in symbol.find(folder, pattern)] != [True]:
            raise StartError(
                f"{folder} is not an artifact: it holds neither {MANIFEST} nor exactly one "
                f"{pattern} (the files belong at the top of model.tar.gz)"
            )


def _temporary() -> Path:
    """Create a folder that is removed when this process ends, but not when its forks do.

    Each process locks its folder. A folder without a lock belonged to a killed process and is
    removed: Lambda keeps /tmp when it restarts the runtime after a timeout.
    """
    import atexit
    import fcntl
    import shutil
    from tempfile import gettempdir, mkdtemp

    for left in Path(gettempdir()).glob(f"{_PREFIX}*"):
        with suppress(OSError):  # locked, or another user's
            descriptor = os.open(left, os.O_RDONLY)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(left)
            finally:
                os.close(descriptor)
    folder, owner = Path(mkdtemp(prefix=_PREFIX)), os.getpid()
    fcntl.flock(os.open(folder, os.O_RDONLY), fcntl.LOCK_SH)  # until the last fork ends

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder
