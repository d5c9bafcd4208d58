"""Expected failures, each with its HTTP status and a stable code.

A face shows `code` and `message` to the client and nothing else: a traceback goes to the log.
"""

from traceback import clear_frames
from typing import Any, ClassVar


class StartError(Exception):
    """The process cannot start; the message is one line that says what to change."""


def reason(error: Exception) -> str:
    """One line of what a library says: the last of MXNet's, which begin with a traceback."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[-1 if lines[0].startswith("Traceback") else 0][:500]


class ServingError(Exception):
    """A request that gets an error for an answer."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def message(self) -> str:
        return str(self)

    def as_answer(self) -> dict[str, Any]:
        """The error object of the wire contract."""
        return {"error": {"code": self.code, "message": self.message}}


class MalformedRequest(ServingError):
    status, code = 400, "malformed_request"


class UriNotAllowed(ServingError):
    status, code = 403, "uri_not_allowed"


class NotFound(ServingError):
    status, code = 404, "not_found"


class MethodNotAllowed(ServingError):
    status, code = 405, "method_not_allowed"

    def __init__(self, path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{path} takes {allowed[0]}")
        self.headers = (("Allow", ", ".join(allowed)),)


class NotAcceptable(ServingError):
    status, code = 406, "not_acceptable"


class RequestTimeout(ServingError):
    status, code = 408, "request_timeout"


class TooLarge(ServingError):
    status, code = 413, "too_large"


class UnsupportedMediaType(ServingError):
    status, code = 415, "unsupported_media_type"


class UndecodableImage(ServingError):
    status, code = 422, "undecodable_image"


class UriFetchFailed(ServingError):
    """424 and not 502: what a caller's URI points to is the caller's, and must not page anyone."""

    status, code = 424, "uri_fetch_failed"


class HeadersTooLarge(ServingError):
    status, code = 431, "headers_too_large"


class Fault(ServingError):
    """Our own failure; the log of the same request id has the traceback."""

    def __init__(self) -> None:
        super().__init__("the model failed on this request; its log entry says why")


class NotReady(ServingError):
    status, code = 503, "not_ready"
    headers = (("Retry-After", "1"),)


class Overloaded(ServingError):
    status, code = 503, "overloaded"
    headers = (("Retry-After", "1"),)


def without_locals(error: Exception) -> Exception:
    """The error as it is here caught, without what the frames of its traceback hold on to.

    A batch keeps its errors until its last record is answered, and each would keep a picture.
    """
    link: BaseException | None = error
    while link:
        clear_frames(link.__traceback__)
        link = link.__context__
    caught = error.__traceback__  # its own frame goes on: it cannot be cleared, so it is left out
    return error.with_traceback(caught.tb_next if caught else None)
