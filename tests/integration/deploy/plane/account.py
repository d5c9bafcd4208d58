"""Answer questions about MiniStack's account."""

import json
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ministack.core import iam_evaluator
from ministack.core.responses import get_account_id, get_region
from ministack.services import cloudwatch, cloudwatch_logs, ecr, iam, lambda_svc, s3

from integration.deploy.plane.shapes import Refused

_URI = re.compile(r"\d{12}\.dkr\.ecr\.[a-z0-9-]+\.amazonaws\.com/([^:@]+)(?::([^@]+))?(?:@(.+))?")


@dataclass(frozen=True)
class Account:
    """A `rules.World`. Docker reaches MiniStack's ECR at `registry`, a host and port."""

    registry: str

    def manifest_type(self, image: str) -> str | None:
        media_type: str | None = ecr._resolve_manifest(*_parsed(image))[2]
        return media_type

    def resolve(self, image: str) -> str:
        """Return the image's URI by the registry's digest."""
        return f"{image.partition(':')[0]}@{ecr._resolve_manifest(*_parsed(image))[0]}"

    def local(self, image: str) -> str:
        """Return Docker's name for an ECR image."""
        return f"{self.registry}/{image.split('/', 1)[1]}"

    def public(self, image: str) -> str:
        """Return ECR's name for an image in Docker."""
        host = f"{get_account_id()}.dkr.ecr.{get_region()}.amazonaws.com"
        return host + image.removeprefix(self.registry)

    def repository_arn(self, image: str) -> str:
        name, _ = _parsed(image)
        return f"arn:aws:ecr:{get_region()}:{get_account_id()}:repository/{name}"

    def role_allows(self, role_arn: str, service: str, action: str, resource: str) -> bool:
        name = role_arn.rsplit("/", 1)[-1]
        role = iam._roles.get(name)
        if role is None:
            return False
        trust = json.loads(role["AssumeRolePolicyDocument"])["Statement"]
        trusted = [statement.get("Principal", {}).get("Service") for statement in trust]
        if not any(one == service or service in (one or ()) for one in trusted):
            return False
        context = iam_evaluator.EvalContext(
            principal_arn=role_arn,
            principal_type="AssumedRole",
            principal_account=get_account_id(),
            action=action,
            resource_arn=resource,
            region=get_region(),
        )
        policies = iam_evaluator._gather_role_policies(name, get_account_id())
        return bool(iam_evaluator.evaluate(context, policies).decision == "Allow")

    def invoke(self, role_arn: str, function: str, event: Mapping[str, Any]) -> None:
        """Run a function as CodeDeploy does. Raise Refused if the role may not."""
        record, config, _ = lambda_svc._get_func_record_for_ref(function)
        if record is None or config is None:
            raise Refused(f"there is no function {function}")
        arn, action = config["FunctionArn"], "lambda:InvokeFunction"
        if not self.role_allows(role_arn, "codedeploy.amazonaws.com", action, arn):
            raise Refused(f"{role_arn} may not {action} on {arn}")
        run = lambda_svc._execution_record_for_config(record, config)
        lambda_svc._execute_function_with_config_scope(run, event)

    def may_log(self, role_arn: str, group: str) -> bool:
        arn = f"arn:aws:logs:{get_region()}:{get_account_id()}:log-group:{group}:log-stream:any"
        return self.role_allows(role_arn, "sagemaker.amazonaws.com", "logs:PutLogEvents", arn)

    def write_logs(self, group: str, stream: str, text: str) -> None:
        made = {"logGroupName": group, "logStreamName": stream}
        now = int(time.time() * 1000)
        events = [{"timestamp": now, "message": line} for line in text.splitlines()]
        cloudwatch_logs._create_log_group({"logGroupName": group})
        cloudwatch_logs._create_log_stream(made)
        if events:
            cloudwatch_logs._put_log_events({**made, "logEvents": events})

    def object_exists(self, url: str) -> bool:
        return self.read_object(url) is not None

    def read_object(self, url: str) -> bytes | None:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        found: bytes | None = s3._get_object_data(bucket, key)
        return found

    def write_object(self, url: str, body: bytes) -> None:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        s3._put_object(bucket, key, body, {})

    def alarm_arn(self, name: str) -> str | None:
        alarm = cloudwatch._alarms.get(name)
        return str(alarm["AlarmArn"]) if alarm else None

    def alarms_in_alarm(self, names: Sequence[str]) -> list[str]:
        """Return the alarms in ALARM. Raise Refused if an alarm does not exist."""
        if missing := [name for name in names if name not in cloudwatch._alarms]:
            raise Refused(f"there is no alarm {', '.join(missing)}")
        return [name for name in names if cloudwatch._alarms[name]["StateValue"] == "ALARM"]


def _parsed(image: str) -> tuple[str, str]:
    """Return the repository's name, and the tag or digest."""
    found = _URI.fullmatch(image)
    if found is None:
        raise ValueError(f"{image} is not in this account's registry")
    name, tag, digest = found.groups()
    return name, digest or tag or "latest"
