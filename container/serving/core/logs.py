"""Logs: each record is one line of JSON on standard output, with its request id."""

import json
import logging
import re
import sys
import time
from collections.abc import Mapping
from contextvars import ContextVar

request_id: ContextVar[str] = ContextVar("request_id", default="")

# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_runtime_InvokeEndpoint.html
_MAX_ID = 64
# Messages and tracebacks are cut, since an exception may quote a whole body.
_MAX_LINES, _MAX_LINE = 200, 1000
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}

# The private parts of a request that a library or an exception may quote: the user and password in
# a URL, its query, which may hold a signature, and the data of `data:`.
_PRIVATE = (
    r"()(?<=//)[^\s\"'<>/?#]+(?=@)",
    r"(?i)(\bhttps?://[^\s\"'<>?]*\?)[^\s\"'<>]+",
    r"(\?)[^\s\"'<>?=]*=[^\s\"'<>]*",
    r"(?i)(\bdata:[^\s\"'<>,]{0,200},)[^\s\"'<>]+",
)

# Below these levels, the libraries log paths and signed URLs.
_LEAST_LEVELS = {
    **{"boto3": logging.WARNING, "botocore": logging.WARNING, "gunicorn": logging.INFO},
    "urllib3": logging.ERROR,  # its warnings quote the URL and the host's answer
}

Stages = list[Mapping[str, float]]
_stages: ContextVar[Stages] = ContextVar("stages")
_notes: ContextVar[dict[str, object]] = ContextVar("notes")


def begin() -> tuple[Stages, dict[str, object]]:
    """Return what `spent` and `note` collect from now on in this context and copies of it."""
    stages: Stages = []
    notes: dict[str, object] = {}
    _stages.set(stages)
    _notes.set(notes)
    return stages, notes


def spent(**seconds: float) -> None:
    """Record the duration of stages of the current request, from any thread with its context."""
    stages = _stages.get(None)
    if stages is not None:
        stages.append(seconds)


def note(**fields: object) -> None:
    _notes.get().update(fields)


def in_milliseconds(stages: Stages) -> dict[str, float]:
    names = dict.fromkeys(name for part in stages for name in part)
    return {name: round(1000 * sum(part.get(name, 0) for part in stages), 2) for name in names}


def redacted(text: str) -> str:
    """Return a text of limited length without the private parts of URLs."""
    lines = text.split("\n")
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES // 2], "…", *lines[-_MAX_LINES // 2 :]]
    # Lines keep their start, by which a URL is recognised.
    text = "\n".join(x if len(x) <= _MAX_LINE else f"{x[:_MAX_LINE]}…" for x in lines)
    if "?" in text or "//" in text or "," in text:
        for private in _PRIVATE:
            text = re.sub(private, r"\1…", text)
    return text


class JsonFormatter(logging.Formatter):
    """Formats a record as JSON, with the `extra` values and the function's version as fields."""

    def __init__(self, version: str = "") -> None:
        super().__init__()
        self._version = version

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "timestamp": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "message": redacted(record.getMessage()),
            "logger": record.name,
        }
        if self._version:
            line["version"] = self._version
        if current := request_id.get():  # the caller may have chosen an id of any length
            line["requestId"] = current[:_MAX_ID]
        line.update((k, v) for k, v in vars(record).items() if k not in _STANDARD_FIELDS)
        if record.exc_info:
            line["traceback"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


def configure(level: str, version: str = "") -> None:
    """Replace the root logger's handlers, such as awslambdaric's, by one that writes JSON."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(version))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, least in _LEAST_LEVELS.items():
        logging.getLogger(name).setLevel(max(least, root.level))
