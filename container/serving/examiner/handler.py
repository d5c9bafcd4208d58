"""The examiner's Lambda handler: CloudFormation, CodeDeploy and a schedule call it.

The first call loads the model, so that a caller gets the reason if it does not start.
"""

import json
import logging
import time
from collections.abc import Iterable, Mapping
from typing import Any

import urllib3
from awslambdaric.lambda_runtime_exception import FaultException

from serving.core import logs
from serving.core.contract import Reply
from serving.core.errors import StartError
from serving.examiner.exam import Question, answered, difference
from serving.examiner.targets import NO_ANSWER, Account, CannotExamine, Target, TargetFails

_log = logging.getLogger(__name__)

# The time for a new permission to reach every service, or an image to reach a new version.
_PATIENCE_SECONDS = 120
_PAUSE_SECONDS = 5
_MAX_REASON = 1000  # CloudFormation takes 4,096 bytes of answer


def handler(event: Any, context: Any) -> None:
    """Examine the event's targets, and log the result in one line.

    - CloudFormation's custom resource: `Target` is `endpoint` (with `Endpoint`, `EndpointConfig`
      and `Compare`) or `version`. The answer goes to its ResponseURL.
    - CodeDeploy's hook: examine the new version. The answer goes to CodeDeploy.
    - A schedule, with `Alias` and the endpoint's keys: examine both. Raises if there is no answer,
      so that Lambda repeats the call.
    """
    logs.configure("INFO")
    logs.request_id.set(context.aws_request_id)
    account = Account(context)
    try:
        if "ResponseURL" in event:
            _respond(event, _judge(account, event["ResourceProperties"], event["RequestType"]))
        elif "LifecycleEventHookExecutionId" in event:
            why = _judge(account, {"Target": "version"}, "Hook")
            account.finish_hook(event, passed=not why)
        elif (status := account.stack_status()).endswith("_IN_PROGRESS"):
            _log.info("no exam: the stack is %s, and its targets may differ", status)
        else:
            _examine([*account.versions(event["Alias"]), account.endpoint(event)], "Schedule")
    except (*NO_ANSWER, StartError) as error:
        raise FaultException("CannotExamine", str(error)) from None


def _judge(account: Account, wanted: Mapping[str, str], trigger: str) -> str:
    """Return why the deployment must stop, or an empty string. Never stops a rollback."""
    if trigger == "Delete":
        return ""
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while True:
        try:
            if "ROLLBACK" in account.stack_status():
                return ""
            is_version = wanted["Target"] == "version"
            targets = account.new_version() if is_version else [account.endpoint(wanted)]
            return "; ".join(_examine(targets, trigger))
        except NO_ANSWER as error:
            if time.monotonic() > give_up or not account.has_time():
                _log.error("no exam: %s", error)
                return str(error)
        except Exception as error:
            _log.exception("no exam")
            is_expected = isinstance(error, StartError)
            return str(error) if is_expected else f"the examiner fails: {type(error).__name__}"
        time.sleep(_PAUSE_SECONDS)


def _examine(targets: list[Target], trigger: str) -> list[str]:
    """Return every difference, and log the fields for the stack's metric filters."""
    exam = answered() if any(target.ask for target in targets) else ()
    found = [f"{target.name}: {skew}" for target in targets for skew in _skews(target, exam)]
    share = sum(target.endpoint_share for target in targets if not target.faults)
    fields = {
        "trigger": trigger,
        "targets": [target.name for target in targets],
        "questions": len(exam),
        "skews": len(found),
        "endpointCalls": round(len(exam) * share),
        "differences": found[:10],
    }
    _log.log(logging.ERROR if found else logging.INFO, "exam", extra=fields)
    return found


def _skews(target: Target, exam: Iterable[tuple[Question, Reply]]) -> Iterable[str]:
    """Yield a target's faults or, if it has none, its answers that differ from this image's."""
    yield from target.faults
    if target.faults or not target.ask:
        return
    try:
        for question, expected in exam:
            given = target.ask(question)
            if differs := difference(expected, given, of_bodies=target.gives_same_bodies):
                yield f"{question.name}: {differs}"
    except TargetFails as error:
        yield f"it fails: {error}"


def _respond(event: Mapping[str, Any], why: str) -> None:
    # https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/crpg-ref-responses.html
    answer = {
        "Status": "FAILED" if why else "SUCCESS",
        "Reason": why[:_MAX_REASON],
        "PhysicalResourceId": event.get("PhysicalResourceId", event["LogicalResourceId"]),
        **{name: event[name] for name in ("StackId", "RequestId", "LogicalResourceId")},
    }
    # The URL's signature allows no content type.
    headers, body = {"Content-Type": ""}, json.dumps(answer)
    reply = urllib3.request("PUT", event["ResponseURL"], headers=headers, body=body, timeout=20)
    if reply.status != 200:
        raise CannotExamine(f"CloudFormation's ResponseURL answers {reply.status}")
