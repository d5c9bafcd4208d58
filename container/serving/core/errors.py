"""Expected failures, each with its HTTP status and a stable code.

A face shows only `code` and `message` to the client. Tracebacks go to the log.
"""

from traceback import clear_frames
from typing import Any, ClassVar


class StartError(Exception):
    """The process cannot start. The message is one line that says what to change."""


def reason(error: Exception) -> str:
    """Return a library's message as one line. MXNet's starts with a traceback; take its last."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    kept = lines[-1:] if lines[0].startswith("Traceback") else lines
    return " ".join(line.strip() for line in kept)[:500]


class ServingError(Exception):
    """An error that is the answer to a request."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    headers: tuple[tuple[str, str], ...] = ()

    def as_answer(self) -> dict[str, Any]:
        """Return the error object of the wire contract."""
        return {"error": {"code": self.code, "message": str(self)}}


class MalformedRequest(ServingError):
    """The body is not valid JSON or not an object, has no `uri`, or its `uri` has an unknown
    scheme; or the request is not valid HTTP."""

    status, code = 400, "malformed_request"


class UriNotAllowed(ServingError):
    """`URI_ALLOWLIST` does not list the host, port or bucket of the URI or of a redirect, or the
    host has an address that is not public."""

    status, code = 403, "uri_not_allowed"


class NotFound(ServingError):
    """The path does not exist."""

    status, code = 404, "not_found"


class MethodNotAllowed(ServingError):
    """The path does not accept this method; `Allow` lists those that it accepts."""

    status, code = 405, "method_not_allowed"

    def __init__(self, path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{path} takes {allowed[0]}")
        self.headers = (("Allow", ", ".join(allowed)),)


class NotAcceptable(ServingError):
    """`Accept` allows neither `application/json` nor `application/jsonlines`."""

    status, code = 406, "not_acceptable"


class TooLarge(ServingError):
    """The body, the object behind the URI, or the number of records exceeds its limit."""

    status, code = 413, "too_large"


class UnsupportedMediaType(ServingError):
    """The service does not accept this `Content-Type`, or the body is compressed."""

    status, code = 415, "unsupported_media_type"


class UndecodableImage(ServingError):
    """The bytes are not a JPEG, PNG or WebP image, are broken, or would cost too much to decode."""

    status, code = 422, "undecodable_image"


class UriFetchFailed(ServingError):
    """The URI's host refused the connection, was too slow, or returned a status other than 200."""

    # Not 502: the URI is the caller's, so its failure must not set off the operator's alarms.
    status, code = 424, "uri_fetch_failed"


class HeadersTooLarge(ServingError):
    """The request line or the headers exceed their limit."""

    status, code = 431, "headers_too_large"


class InternalError(ServingError):
    """The service or the model failed. The log entry with the request id has the traceback."""

    def __init__(self) -> None:
        super().__init__("the model failed on this request; its log entry says why")


class NotReady(ServingError):
    """The model is still loading or failed its last check. Retry after `Retry-After` seconds."""

    status, code = 503, "not_ready"
    headers = (("Retry-After", "1"),)


class Overloaded(ServingError):
    """`MAX_WAITING` requests are already waiting. Retry after `Retry-After` seconds."""

    status, code = 503, "overloaded"
    headers = (("Retry-After", "1"),)


class EndpointFailed(ServingError):
    """The function forwarded the call. The endpoint does not exist, refused the call or failed."""

    status, code = 502, "endpoint_failed"


class EndpointUnavailable(ServingError):
    """The function forwarded the call, and SageMaker has no capacity. Retry after `Retry-After`
    seconds."""

    status, code = 503, "endpoint_unavailable"
    headers = (("Retry-After", "1"),)


class EndpointTimeout(ServingError):
    """The function forwarded the call, and the endpoint did not answer in time."""

    status, code = 504, "endpoint_timeout"


def without_locals(error: Exception) -> Exception:
    """Return the error without the local variables of its traceback's frames.

    A batch keeps its errors until it has answered its last record, and each would keep a picture.
    """
    link: BaseException | None = error
    while link:
        clear_frames(link.__traceback__)
        link = link.__context__
    caught = error.__traceback__  # the first frame is the caller's, which still runs
    return error.with_traceback(caught.tb_next if caught else None)
