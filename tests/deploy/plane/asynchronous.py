"""InvokeEndpointAsync: the request's body comes from S3, and the answer goes there."""

import threading
import uuid
from contextvars import copy_context

import urllib3

from deploy.plane.account import Account
from deploy.plane.fleets import Endpoint
from deploy.plane.sagemaker import SageMaker
from deploy.plane.shapes import Refused

_INPUT = "x-amzn-sagemaker-inputlocation"
_PASSED_ON = {
    "x-amzn-sagemaker-content-type": "content-type",
    "x-amzn-sagemaker-accept": "accept",
    "x-amzn-sagemaker-custom-attributes": "x-amzn-sagemaker-custom-attributes",
}


class Asynchronous:
    """The invocations of one account's asynchronous endpoints, each on a thread of its own."""

    def __init__(self, account: Account, sagemaker: SageMaker) -> None:
        self._account, self._sagemaker = account, sagemaker

    def invoke(self, endpoint: Endpoint, asked: dict[str, str]) -> tuple[str, dict[str, str]]:
        """The inference id, and the headers that name where the answer or the failure will be."""
        config = endpoint.fleet.config
        if "AsyncInferenceConfig" not in config:
            raise Refused(f"Endpoint {endpoint.name} is not an asynchronous endpoint.")
        output = config["AsyncInferenceConfig"]["OutputConfig"]
        identifier = asked.get("x-amzn-sagemaker-inference-id", str(uuid.uuid4()))
        name = uuid.uuid4()
        answer = f"{output['S3OutputPath'].rstrip('/')}/{name}.out"
        failure = f"{output.get('S3FailurePath', '').rstrip('/')}/{name}-error.out"
        role = self._sagemaker.role_of(config)
        passed = {sent: asked[name] for name, sent in _PASSED_ON.items() if name in asked}
        passed["x-amzn-sagemaker-inference-id"] = identifier
        context = copy_context()
        where = (asked[_INPUT], answer, failure)
        threading.Thread(
            target=context.run, args=(self._work, endpoint, role, passed, where), daemon=True
        ).start()
        headers = {"x-amzn-sagemaker-outputlocation": answer}
        if "S3FailurePath" in output:
            headers["x-amzn-sagemaker-failurelocation"] = failure
        return identifier, headers

    def _work(
        self, endpoint: Endpoint, role: str, passed: dict[str, str], where: tuple[str, str, str]
    ) -> None:
        source, answer, failure = where
        try:
            self._require(role, "s3:GetObject", source)
            body = self._account.read_object(source)
            if body is None:
                raise Refused(f"{source} does not exist")
            _, replied = endpoint.invoke(passed, body)
        except (Refused, urllib3.exceptions.HTTPError) as error:
            self._write(role, failure, str(error).encode())
            return
        self._write(role, failure if replied.status >= 400 else answer, replied.body)

    def _write(self, role: str, url: str, body: bytes) -> None:
        self._require(role, "s3:PutObject", url)
        self._account.write_object(url, body)

    def _require(self, role: str, action: str, url: str) -> None:
        arn = "arn:aws:s3:::" + url.removeprefix("s3://")
        if not self._account.role_allows(role, "sagemaker.amazonaws.com", action, arn):
            raise Refused(f"{role} may not {action} on {arn}")
