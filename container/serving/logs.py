"""Structured logs: every record is one line of JSON on standard output, with its request id."""

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
# Of a message or traceback: an exception may quote a whole body.
_MAX_LINES = 200
_MAX_LINE = 1000
_STANDARD_FIELDS = frozenset(vars(logging.makeLogRecord({}))) | {"message", "taskName"}

# What a library's text or an exception's may hold of a request: the user-info of an address, its
# query, which may be signed, and the data of `data:`.
_PRIVATE = (
    r"()(?<=//)[^\s\"'<>/?#]+(?=@)",
    r"(?i)(\bhttps?://[^\s\"'<>?]*\?)[^\s\"'<>]+",
    r"(\?)[^\s\"'<>?=]*=[^\s\"'<>]*",
    r"(?i)(\bdata:[^\s\"'<>,]{0,200},)[^\s\"'<>]+",
)

# Below these they log paths, and addresses with their signatures.
_LEAST_LEVELS = {
    "boto3": logging.WARNING,
    "botocore": logging.WARNING,
    "urllib3": logging.ERROR,  # its warnings quote what a host sent, with the address
    "gunicorn": logging.INFO,
}

Stages = list[Mapping[str, float]]
_stages: ContextVar[Stages] = ContextVar("stages")


def begin_stages() -> Stages:
    """Where `spent` adds up from here on, in this context and in copies of it."""
    stages: Stages = []
    _stages.set(stages)
    return stages


def spent(**seconds: float) -> None:
    """Add what stages of the request under way took. From any thread that has its context."""
    stages = _stages.get(None)
    if stages is not None:
        stages.append(seconds)


def in_milliseconds(stages: Stages) -> dict[str, float]:
    """The sum of each stage."""
    total: dict[str, float] = {}
    for part in stages:
        for name, seconds in part.items():
            total[name] = total.get(name, 0.0) + seconds
    return {name: round(seconds * 1000, 2) for name, seconds in total.items()}


def redacted(text: str) -> str:
    """A text of bounded length without what is private in addresses."""
    lines = text.split("\n")
    if len(lines) > _MAX_LINES:
        lines = [*lines[: _MAX_LINES // 2], "…", *lines[-_MAX_LINES // 2 :]]
    for number, line in enumerate(lines):
        if len(line) > _MAX_LINE:  # the start stays, where an address says that it is one
            lines[number] = f"{line[:_MAX_LINE]}…"
    text = "\n".join(lines)
    if "?" in text or "//" in text or "," in text:
        for private in _PRIVATE:
            text = re.sub(private, r"\1…", text)
    return text


class JsonFormatter(logging.Formatter):
    """One JSON object a record; what was passed as `extra` becomes fields of it."""

    def format(self, record: logging.LogRecord) -> str:
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line: dict[str, object] = {
            "timestamp": f"{moment}.{int(record.msecs):03d}Z",
            "level": record.levelname,
            "message": redacted(record.getMessage()),
            "logger": record.name,
        }
        if current := request_id.get():  # a caller may have chosen it
            line["requestId"] = current[:_MAX_ID]
        line.update((k, v) for k, v in vars(record).items() if k not in _STANDARD_FIELDS)
        if record.exc_info:
            line["traceback"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line, default=str)


def configure(level: str) -> None:
    """Make the root logger's only handler ours.

    Only: awslambdaric brings a root handler of its own, and two of them print every record twice.
    """
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name, least in _LEAST_LEVELS.items():
        logging.getLogger(name).setLevel(max(least, root.level))
