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

    def __init_subclass__(cls, status: int | None = None, code: str = "") -> None:
        if status:
            cls.status, cls.code = status, code
        if cls.status == 503:
            cls.headers = (("Retry-After", "1"),)

    def as_answer(self) -> dict[str, Any]:
        """Return the error object of the wire contract."""
        return {"error": {"code": self.code, "message": str(self)}}


class MalformedRequest(ServingError, status=400, code="malformed_request"):
    """The body is not valid JSON or not an object, has no `uri`, or its `uri` has an unknown
    scheme; or the request is not valid HTTP."""


class UriNotAllowed(ServingError, status=403, code="uri_not_allowed"):
    """`URI_ALLOWLIST` does not list the host, port or bucket of the URI or of a redirect, or the
    host has an address that is not public."""


class NotFound(ServingError, status=404, code="not_found"):
    """The path does not exist."""


class MethodNotAllowed(ServingError, status=405, code="method_not_allowed"):
    """The path does not accept this method; `Allow` lists those that it accepts."""

    def __init__(self, path: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"{path} takes {allowed[0]}")
        self.headers = (("Allow", ", ".join(allowed)),)


class NotAcceptable(ServingError, status=406, code="not_acceptable"):
    """`Accept` allows neither `application/json` nor `application/jsonlines`."""


class TooLarge(ServingError, status=413, code="too_large"):
    """The body, the object behind the URI, or the number of records exceeds its limit."""


class UnsupportedMediaType(ServingError, status=415, code="unsupported_media_type"):
    """The service does not accept this `Content-Type`, or the body is compressed."""


class UndecodableImage(ServingError, status=422, code="undecodable_image"):
    """The bytes are not a JPEG, PNG or WebP image, are broken, or would cost too much to decode."""


# Not 502: the URI is the caller's, so its failure must not set off the operator's alarms.
class UriFetchFailed(ServingError, status=424, code="uri_fetch_failed"):
    """The URI's host refused the connection, was too slow, or returned a status other than 200."""


class HeadersTooLarge(ServingError, status=431, code="headers_too_large"):
    """The request line or the headers exceed their limit."""


class InternalError(ServingError):
    """The service or the model failed. The log entry with the request id has the traceback."""


class NotReady(ServingError, status=503, code="not_ready"):
    """The model is still loading or failed its last check. Retry after `Retry-After` seconds."""


class Overloaded(ServingError, status=503, code="overloaded"):
    """`MAX_WAITING` requests are already waiting. Retry after `Retry-After` seconds."""


class EndpointFailed(ServingError, status=502, code="endpoint_failed"):
    """The function forwarded the call. The endpoint does not exist, refused the call or failed."""


class EndpointUnavailable(ServingError, status=503, code="endpoint_unavailable"):
    """The function forwarded the call, and SageMaker has no capacity. Retry after `Retry-After`
    seconds."""


class EndpointTimeout(ServingError, status=504, code="endpoint_timeout"):
    """The function forwarded the call, and the endpoint did not answer in time."""


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
