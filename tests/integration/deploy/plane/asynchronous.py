"""Emulate InvokeEndpointAsync, which reads the request from S3 and writes the answer there."""

import threading
import uuid
from contextvars import copy_context

import urllib3

from integration.deploy.plane.account import Account
from integration.deploy.plane.fleets import Endpoint
from integration.deploy.plane.shapes import Refused

PASSED_ON = ("content-type", "accept")
PREFIX = "x-amzn-sagemaker-"


def invoke(
    account: Account, endpoint: Endpoint, role: str, asked: dict[str, str], inline: bytes
) -> tuple[str, dict[str, str]]:
    """Return the inference id, and headers with the places of the answer and of a failure.

    `inline` is the request, unless a header names its place.
    """
    config = endpoint.fleet.config
    if "AsyncInferenceConfig" not in config:
        raise Refused(f"Endpoint {endpoint.name} is not an asynchronous endpoint.")
    source = asked.get(f"{PREFIX}inputlocation")
    if bool(source) == bool(inline) or len(inline) > 128_000:
        raise Refused("a request is in InputLocation, or at most 128,000 bytes in Body")
    output = config["AsyncInferenceConfig"]["OutputConfig"]
    identifier = asked.get(f"{PREFIX}inference-id", str(uuid.uuid4()))
    name = uuid.uuid4()
    answer = f"{output['S3OutputPath'].rstrip('/')}/{name}.out"
    failure = f"{output['S3FailurePath'].rstrip('/')}/{name}-error.out"
    passed = {header: asked[PREFIX + header] for header in PASSED_ON if PREFIX + header in asked}
    passed[f"{PREFIX}inference-id"] = identifier

    def require(action: str, url: str) -> str:
        arn = "arn:aws:s3:::" + url.removeprefix("s3://")
        if not account.role_allows(role, "sagemaker.amazonaws.com", action, arn):
            raise Refused(f"{role} may not {action} on {arn}")
        return url

    def work() -> None:
        try:
            body = account.read_object(require("s3:GetObject", source)) if source else inline
            if body is None:
                raise Refused(f"{source} does not exist")
            replied = endpoint.invoke(passed, body)
            url, written = (failure if replied.status >= 400 else answer), replied.data
        except (Refused, urllib3.exceptions.HTTPError) as error:
            url, written = failure, str(error).encode()
        account.write_object(require("s3:PutObject", url), written)

    threading.Thread(target=copy_context().run, args=(work,), daemon=True).start()
    headers = {f"{PREFIX}outputlocation": answer, f"{PREFIX}failurelocation": failure}
    return identifier, headers
