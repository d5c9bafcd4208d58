"""Verify the signature of a request as AWS does."""

from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

ACCESS_KEY, SECRET_KEY, SESSION_TOKEN = "testing", "secret", "a-session"
REGION = "eu-central-1"


def verify(request: Any, url: str, service: str) -> set[str]:
    """Return the names of the signed headers. `request` is an `upstream.Asked`.

    Raise AssertionError unless the keys above signed this method, URL, headers and body for this
    service.
    """
    scheme, _, rest = request.headers.get("authorization", "").partition(" ")
    assert scheme == "AWS4-HMAC-SHA256"
    parts = dict(part.strip().split("=", 1) for part in rest.split(","))
    assert parts["Credential"].split("/")[0] == ACCESS_KEY
    assert parts["Credential"].split("/")[2:] == [REGION, service, "aws4_request"]
    names = parts["SignedHeaders"].split(";")
    assert {"host", "x-amz-security-token"} <= set(names)
    assert request.headers["x-amz-security-token"] == SESSION_TOKEN
    signed = {name: request.headers[name] for name in names}
    again = AWSRequest(request.method, url + request.path, signed, data=request.body)
    again.context["timestamp"] = request.headers["x-amz-date"]
    auth = SigV4Auth(Credentials(ACCESS_KEY, SECRET_KEY), service, REGION)
    text = auth.string_to_sign(again, auth.canonical_request(again))
    assert parts["Signature"] == auth.signature(text, again)
    return set(names)
