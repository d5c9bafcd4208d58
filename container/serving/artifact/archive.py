"""Unpack `model.tar.gz`, from S3 or a file, within limits that hold while it is read."""

import gzip
import logging
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from serving.core.errors import StartError, reason

MAX_UNPACKED_BYTES = 8 * 1024**3
MAX_MEMBERS = 10_000
# The limit for a member's headers, which tarfile keeps in memory, and for the padding at the end.
MAX_HEADERS_BYTES = 1024**2
_CHUNK_BYTES = 64 * 1024
# Python before 3.11.4, such as Debian 12's, has no filter. `_members` checks the members as well.
_FILTER: Any = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}

_log = logging.getLogger(__name__)


def unpack(url: str, folder: Path) -> None:
    """Unpack the archive at `MODEL_DATA_URL` into `folder`. Raises StartError, without secrets."""
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*):", url)
    if scheme and scheme[1] not in ("s3", "file"):
        raise StartError(
            f"MODEL_DATA_URL is a {scheme[1]}: address; it takes s3://BUCKET/KEY or a file's path"
        )
    shown = re.sub(r"(?<=//)[^/]*@", "", url.partition("?")[0])  # no query, user or password
    _log.info("unpacking the artifact", extra={"source": shown})
    try:
        with _open(url) as stream, gzip.GzipFile(fileobj=stream) as plain:
            limited: Any = _Limited(plain)
            with tarfile.open(fileobj=limited, mode="r|", bufsize=_CHUNK_BYTES) as archive:
                archive.extractall(folder, _members(archive, limited), **_FILTER)  # noqa: S202
            while limited.read(_CHUNK_BYTES):
                pass  # gzip's checksum is at the end
    except StartError:
        raise
    except Exception as error:  # the exceptions of botocore, tarfile and zlib have no common base
        if type(error).__module__.startswith("botocore"):  # its message may hold the URL
            code = getattr(error, "response", {}).get("Error", {}).get("Code")
            why = f"S3 answered {code}" if code else f"S3: {type(error).__name__}"
        else:
            why = getattr(error, "strerror", None) or reason(error)
        raise StartError(f"MODEL_DATA_URL={shown} cannot be unpacked: {why}") from None


class _Limited:
    """A stream that fails beyond `left` bytes, whatever size a header claims."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream, self.left = stream, MAX_HEADERS_BYTES

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.left -= len(data)
        if self.left < 0:
            limit = f"more than {MAX_HEADERS_BYTES} bytes of headers or padding in a row"
            raise StartError(f"the archive has {limit}")
        return data


def _members(archive: tarfile.TarFile, limited: _Limited) -> Iterator[tarfile.TarInfo]:
    """Yield the members, or raise. Links are refused: some releases of the filter misjudge them."""
    size = 0
    for number, member in enumerate(archive, 1):
        if not (member.isreg() or member.isdir()) or member.size < 0:
            shown = ascii(member.name[:200])
            raise StartError(f"the archive's member {shown} is neither a regular file nor a folder")
        member.name, member.mode = member.name.lstrip("/"), 0o755 if member.isdir() else 0o644
        if ".." in PurePosixPath(member.name).parts:
            raise ValueError(
                f"{member.name!a} would be extracted to a path outside the destination"
            )
        size += member.size
        if size > MAX_UNPACKED_BYTES:
            raise StartError(f"the archive unpacks to more than {MAX_UNPACKED_BYTES} bytes")
        if number > MAX_MEMBERS:
            raise StartError(f"the archive has more than {MAX_MEMBERS} members")
        limited.left = member.size + MAX_HEADERS_BYTES
        yield member
    limited.left = MAX_HEADERS_BYTES


def _open(url: str) -> Any:
    if not url.startswith("s3:"):
        return Path(url.removeprefix("file://")).open("rb")
    from serving.fetch.s3 import boto_client

    bucket, _, key = url.removeprefix("s3://").partition("/")
    return boto_client(timeout_seconds=60).get_object(Bucket=bucket, Key=key)["Body"]
