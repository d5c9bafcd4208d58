"""Where the model's artifact is, and whether it is the right one.

An artifact is one folder: symbol, params, `model.onnx`, `labels.txt` and the manifest.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from serving.errors import StartError
from serving.manifest import MANIFEST, digests, model_id, read, sha256
from serving.settings import Settings


@dataclass(frozen=True)
class Artifact:
    """A folder that may be served. `manifest` is empty for one of only symbol and params."""

    folder: Path
    model_id: str
    manifest: Mapping[str, Any] = field(default_factory=dict)


def resolve(
    settings: Settings, model_path: Path | None = None, *, required: bool = False
) -> Artifact:
    """Find the artifact, in this order, and check it.

    1. `model_path`, SageMaker's mount, unless it is absent or empty (and not `required`);
    2. `MODEL_DATA_URL`, unpacked into the temporary folder;
    3. the one baked into the image for `MODEL_NAME`;
    4. the GluonCV zoo's model of that name, in an image that has MXNet.

    Raises StartError: no artifact, a broken one, or another model id than `MODEL_ID`.
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
    if model_path and model_path.is_dir() and any(model_path.iterdir()):
        return check(model_path)
    if required:
        raise StartError(f"--model-path {model_path} is no folder with an artifact")
    if settings.model_data_url:
        # Here and below: a cold start with a baked artifact need not import it.
        from serving.archive import unpack

        folder = _temporary("model-")
        unpack(settings.model_data_url, folder)
        return check(folder)
    if not settings.model_name:
        raise StartError(
            "no model: mount an artifact, or set MODEL_DATA_URL or MODEL_NAME, or pass --model-path"
        )
    if (settings.artifacts_dir / settings.model_name / MANIFEST).is_file():
        return check(settings.artifacts_dir / settings.model_name, trusted=True)
    return check(_from_zoo(settings.model_name))


def check(folder: Path, *, trusted: bool = False) -> Artifact:
    """Check a folder against its manifest and compute its model id. Raises StartError.

    Nothing of it is loaded here, and what leads out of it is refused: names, links, and what the
    graph refers to.

    `trusted` takes the manifest's word for the files' sha256: a baked artifact was checked when the
    image was built and cannot have changed since, and a cold start need not read it twice.
    """
    if not folder.is_dir():
        raise StartError(f"{folder} is not a folder")
    if not trusted:
        _check_files(folder)
    if not (folder / MANIFEST).exists():
        for pattern in ("*symbol.json", "*.params"):
            if [path.is_file() for path in folder.glob(pattern)] != [True]:
                raise StartError(
                    f"{folder} is no artifact: it holds neither {MANIFEST} nor exactly one "
                    f"{pattern} (the files belong at the top of model.tar.gz)"
                )
        _check_graph(folder)
        return Artifact(folder, model_id(digests(folder)))
    manifest = read(folder)
    named = dict(manifest["files"])
    for name in named:
        if not (folder / name).is_file():
            raise StartError(f"the artifact in {folder} lacks {name}, which its manifest names")
    if trusted:
        return Artifact(folder, model_id({**named, MANIFEST: sha256(folder / MANIFEST)}), manifest)
    actual = digests(folder)
    for name, digest in named.items():
        if actual.get(name) != digest:
            raise StartError(f"{folder / name} does not have the sha256 that its manifest names")
    _check_graph(folder)
    return Artifact(folder, model_id(actual), manifest)


def _check_files(folder: Path) -> None:
    """Only files and folders, under names that a line holds, and nothing outside by a link."""
    place = os.path.realpath(folder)
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if not name.isprintable():
            raise StartError(f"the artifact in {folder} has {name!a}, no plain name")
        if not Path(os.path.realpath(path)).is_relative_to(place):
            raise StartError(f"the artifact in {folder} has {name}, a link that leads out of it")
        if not path.is_file() and not path.is_dir():
            raise StartError(f"the artifact in {folder} has {name}, no file and no folder")


def _check_graph(folder: Path) -> None:
    from serving import graphs

    graphs.check(folder)


def _temporary(prefix: str) -> Path:
    """A new folder, removed when this process ends; its forks, the server's workers, leave it."""
    import atexit
    import shutil
    from tempfile import mkdtemp

    folder, owner = Path(mkdtemp(prefix=prefix)), os.getpid()

    def remove() -> None:
        if os.getpid() == owner:
            shutil.rmtree(folder, ignore_errors=True)

    atexit.register(remove)
    return folder


def _from_zoo(name: str) -> Path:
    try:
        from serving.zoo import export
    except ImportError:
        raise StartError(
            f"MODEL_NAME={name} is not baked into this image, and the GluonCV zoo cannot be asked: "
            "the image was built without MXNet (WITH_MXNET=0)"
        ) from None
    folder = _temporary("zoo-")
    export(name, folder)
    return folder
