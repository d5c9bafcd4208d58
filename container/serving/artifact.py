"""Where the model's artifact is, and whether it is the right one.

An artifact is one folder: symbol, params, `model.onnx`, `labels.txt` and the manifest.
"""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from serving.errors import StartError
from serving.manifest import MANIFEST, digests, model_id, read, sha256
from serving.settings import Settings

if TYPE_CHECKING:
    import tarfile

MAX_UNPACKED_BYTES = 8 * 1024**3

_log = logging.getLogger(__name__)


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
        return check(_unpack(settings.model_data_url))
    if not settings.model_name:
        raise StartError(
            "no model: mount an artifact, or set MODEL_DATA_URL or MODEL_NAME, or pass --model-path"
        )
    if (settings.artifacts_dir / settings.model_name / MANIFEST).is_file():
        return check(settings.artifacts_dir / settings.model_name, trusted=True)
    return check(_from_zoo(settings.model_name))


def check(folder: Path, *, trusted: bool = False) -> Artifact:
    """Check a folder against its manifest and compute its model id. Raises StartError.

    `trusted` takes the manifest's word for the files' sha256: a baked artifact was checked when the
    image was built and cannot have changed since, and a cold start need not read it twice.
    """
    if not folder.is_dir():
        raise StartError(f"{folder} is not a folder")
    if not (folder / MANIFEST).exists():
        for pattern in ("*symbol.json", "*.params"):
            if len(list(folder.glob(pattern))) != 1:
                raise StartError(
                    f"{folder} is no artifact: it holds neither {MANIFEST} nor exactly one "
                    f"{pattern} (the files belong at the top of model.tar.gz)"
                )
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
    return Artifact(folder, model_id(actual), manifest)


def _unpack(url: str) -> Path:
    """Unpack `model.tar.gz` from S3 or a file into a new temporary folder."""
    import shutil
    from tempfile import mkdtemp

    folder = Path(mkdtemp(prefix="model-"))
    try:
        _unpack_into(folder, url)
    except StartError:
        shutil.rmtree(folder)
        raise
    return folder


def _unpack_into(folder: Path, url: str) -> None:
    import tarfile  # here and below: a cold start with a baked artifact need not import them

    _log.info("unpacking the artifact", extra={"source": url.partition("?")[0]})
    try:
        with _open(url) as stream, tarfile.open(fileobj=stream, mode="r|gz") as archive:
            _extract(archive, folder)
    except StartError:
        raise
    except Exception as error:  # botocore's, tarfile's, zlib's, the file system's: no common base
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise StartError(f"MODEL_DATA_URL={url} cannot be unpacked: {reason}") from None


def _open(url: str) -> Any:
    if not url.startswith("s3://"):
        return Path(url.removeprefix("file://")).open("rb")
    from serving.fetch import s3_client

    bucket, _, key = url.removeprefix("s3://").partition("/")
    return s3_client(timeout_seconds=60).get_object(Bucket=bucket, Key=key)["Body"]


def _extract(archive: "tarfile.TarFile", folder: Path) -> None:
    """Regular files and folders only, below `folder`, up to a bound."""
    import shutil

    size = 0
    for member in archive:
        path = Path(member.name)
        size += member.size
        if path.is_absolute() or ".." in path.parts or not (member.isfile() or member.isdir()):
            raise StartError(f"the archive's member {member.name!r} is not a plain file below it")
        if size > MAX_UNPACKED_BYTES:
            raise StartError(f"the archive unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        if source := archive.extractfile(member):
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            with (folder / path).open("wb") as target:
                shutil.copyfileobj(source, target)


def _from_zoo(name: str) -> Path:
    from tempfile import mkdtemp

    folder = Path(mkdtemp(prefix="zoo-"))
    try:
        from serving.zoo import export
    except ImportError:
        raise StartError(
            f"MODEL_NAME={name} is not baked into this image, and the GluonCV zoo cannot be asked: "
            "the image was built without MXNet (WITH_MXNET=0)"
        ) from None
    export(name, folder)
    return folder
