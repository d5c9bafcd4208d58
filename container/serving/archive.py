"""`model.tar.gz`, from S3 or a file: unpacked within bounds that hold while it is read."""

import gzip
import logging
import re
import shutil
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any

from serving.errors import StartError, reason

MAX_UNPACKED_BYTES = 8 * 1024**3
MAX_MEMBERS = 10_000
# Before a file's data: its header and those that extend it, which tarfile keeps in memory. After
# the last file: padding.
MAX_HEADERS_BYTES = 1024**2
_MAX_NAME = 255  # of a file on Linux
_CHUNK_BYTES = 64 * 1024

_log = logging.getLogger(__name__)


def unpack(url: str, folder: Path) -> None:
    """Unpack what `MODEL_DATA_URL` names into `folder`: files and folders only, none outside.

    Raises StartError, whose text leaves out what of the URL may be signed or secret.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", url)
    if scheme and scheme[1] not in ("s3", "file"):
        raise StartError(
            f"MODEL_DATA_URL is a {scheme[1]}: address; it takes s3://BUCKET/KEY or a file's path"
        )
    shown = _without_secrets(url)
    _log.info("unpacking the artifact", extra={"source": shown})
    try:
        with _open(url) as stream, gzip.GzipFile(fileobj=stream) as plain:
            bounded: Any = _Bounded(plain)
            with tarfile.open(fileobj=bounded, mode="r|", bufsize=_CHUNK_BYTES) as archive:
                _extract(archive, bounded, folder)
    except StartError:
        raise
    except Exception as error:  # botocore's, tarfile's, zlib's, the file system's: no common base
        raise StartError(f"MODEL_DATA_URL={shown} cannot be unpacked: {_why(error)}") from None


class _Bounded:
    """A stream that fails beyond `left` bytes, whatever a header says is to come."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream
        self.left = MAX_HEADERS_BYTES

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            raise StartError(
                f"the archive has more than {MAX_HEADERS_BYTES} bytes in a row that are no file's"
            )
        return data


def _extract(archive: tarfile.TarFile, bounded: _Bounded, folder: Path) -> None:
    size = 0
    for number, member in enumerate(archive):
        path = PurePosixPath(member.name)
        shown = ascii(member.name[:_MAX_NAME])
        plain = (member.isfile() and not member.issparse()) or member.isdir()
        if not plain or path.is_absolute() or ".." in path.parts or member.size < 0:
            raise StartError(f"the archive's member {shown} is not a plain file below it")
        if len(member.name) > _MAX_NAME or not member.name.isprintable():
            raise StartError(f"the archive's member {shown} has a name that is not plain")
        size += member.size
        if size > MAX_UNPACKED_BYTES:
            raise StartError(f"the archive unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        if number >= MAX_MEMBERS:
            raise StartError(f"the archive has more than {MAX_MEMBERS} members")
        bounded.left = member.size + MAX_HEADERS_BYTES
        if source := archive.extractfile(member):
            try:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                target = (folder / path).open("xb")
            except (FileExistsError, NotADirectoryError, IsADirectoryError):
                raise StartError(f"the archive's member {shown} is there twice") from None
            with target:
                shutil.copyfileobj(source, target)
    bounded.left = MAX_HEADERS_BYTES
    while bounded.read(_CHUNK_BYTES):
        pass  # to the end, where gzip's checksum is


def _open(url: str) -> Any:
    if not url.startswith("s3:"):
        return Path(url.removeprefix("file://")).open("rb")
    from serving.fetch import s3_client

    bucket, _, key = url.removeprefix("s3://").partition("/")
    return s3_client(timeout_seconds=60).get_object(Bucket=bucket, Key=key)["Body"]


def _without_secrets(url: str) -> str:
    """Without query and user-info."""
    scheme, separator, rest = url.partition("?")[0].rpartition("://")
    authority, slash, path = rest.partition("/")
    return f"{scheme}{separator}{authority.rpartition('@')[2]}{slash}{path}"


def _why(error: Exception) -> str:
    if type(error).__module__.startswith("botocore"):  # its words may hold the address
        code = getattr(error, "response", {}).get("Error", {}).get("Code")
        return f"S3 answered {code}" if code else f"S3: {type(error).__name__}"
    return getattr(error, "strerror", None) or reason(error)
