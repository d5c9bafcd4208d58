"""Correct MiniStack where it differs from AWS: image functions, alarms and unknown image tags.

A function's image is resolved to its digest when its code is set. Each version runs that digest in
containers of its own, on a read-only root, and a later update leaves them alone. All that these
print is logged; MiniStack takes what Docker has read when the answer comes. An alarm of metric
math is kept under its first metric; its state is what SetAlarmState says. A log's metric filters
make data, and schedules are called when a test lets an hour pass.
"""

import json
import re
import time
from collections.abc import Callable, Sequence
from contextvars import copy_context
from threading import Thread
from typing import Any

from ministack.services import cloudwatch, cloudwatch_logs, ecr, lambda_svc, scheduler
from ministack.services.cloudformation import _stacks, provisioners

from integration.deploy.plane import rules
from integration.deploy.plane.account import Account
from integration.deploy.plane.codedeploy import CodeDeploy
from integration.deploy.plane.rules import Properties
from integration.deploy.plane.shapes import check

FLAGS = "--read-only --tmpfs /tmp"
FUNCTION = "AWS::Lambda::Function"
ALIAS = "AWS::Lambda::Alias"
ALARM = "AWS::CloudWatch::Alarm"


def install(account: Account, codedeploy: CodeDeploy) -> None:
    """Replace functions of MiniStack."""
    lambda_svc.LAMBDA_DOCKER_FLAGS = FLAGS
    _resolve_images(account)
    _keep_versions_apart(account)
    _shift_aliases(codedeploy)
    _check_alarms()
    _answer_unknown_tags()
    _apply_metric_filters()


def let_an_hour_pass() -> None:
    """Make each datum and the last call of each schedule an hour older, and call the schedules."""
    for data in cloudwatch._metrics._data.values():
        for datum in data:
            datum["Timestamp"] -= 3600
    for key, schedule in scheduler._schedules._data.items():
        last = scheduler._schedule_last_fired.get(key, schedule["CreationDate"])
        scheduler._schedule_last_fired[key] = last - 3600
    scheduler._tick_schedules()


def _resolve_images(account: Account) -> None:
    """Resolve the image when the code is set; GetFunction returns its digest."""
    handlers = provisioners._RESOURCE_HANDLERS[FUNCTION]
    create, update, get = handlers["create"], handlers["update"], lambda_svc._get_function
    update_code = lambda_svc._update_code

    def checked(props: Properties) -> str:
        uri = props["Code"]["ImageUri"]
        rules.check_lambda_image(uri, account)
        variables = props.get("Environment", {}).get("Variables", {})
        rules.check_lambda_model_data(props["Role"], variables.get("MODEL_DATA_URL"), account)
        return account.resolve(uri)

    def creating(logical_id: str, props: Properties, stack: str) -> Any:
        resolved = checked(props)
        return set_resolved(create(logical_id, props, stack), resolved)

    def updating(name: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Any:
        resolved = checked(new)
        return set_resolved(update(name, old, new, stack, logical_id), resolved)

    def set_resolved(made: Any, resolved: str) -> Any:
        code = resolved.rsplit(":", 1)[-1]  # as AWS has it for images
        config = lambda_svc._functions[made[0]]["config"]
        config.update(ResolvedImageUri=resolved, CodeSha256=code)
        return made

    def getting(name: str, qualifier: str | None = None) -> Any:
        status, headers, body = get(name, qualifier)
        answer = json.loads(body)
        if status == 200 and "ImageUri" in answer["Code"]:
            answer["Code"]["ResolvedImageUri"] = answer["Configuration"].pop("ResolvedImageUri")
        return status, headers, json.dumps(answer).encode()

    def updating_code(name: str, asked: Properties) -> Any:
        answer = update_code(name, asked)
        set_resolved((name,), account.resolve(asked["ImageUri"]))
        return answer

    handlers.update(create=creating, update=updating)
    lambda_svc._get_function, lambda_svc._update_code = getting, updating_code


def _keep_versions_apart(account: Account) -> None:
    """Run each version in its own containers; MiniStack shares them and kills them in requests."""
    spawn, kill = lambda_svc._spawn_lambda_container, lambda_svc._pool_kill_function
    delete = provisioners._RESOURCE_HANDLERS[FUNCTION]["delete"]

    def key(name: str, config: dict[str, Any]) -> str:
        owner = ":".join(lambda_svc._account_region_from_function_config(config))
        return f"{owner}:{name}:{config['Version']}:{config['RevisionId']}"

    def spawning(config: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        local = account.local(config["ResolvedImageUri"])
        container, folder = spawn({**config, "ImageUri": local}, *arguments, **options)
        told = _log, account, config["LoggingConfig"]["LogGroup"], container
        Thread(target=copy_context().run, args=told, daemon=True).start()
        return container, folder

    def deleting(name: str, props: Properties) -> None:
        kill(lambda_svc.get_account_id(), name)
        delete(name, props)

    lambda_svc._warm_pool_key = key
    lambda_svc._spawn_lambda_container = spawning
    lambda_svc._pool_kill_function = lambda *_: None
    lambda_svc._emit_lambda_logs = lambda *_, **__: None
    provisioners._RESOURCE_HANDLERS[FUNCTION]["delete"] = deleting


def _log(account: Account, group: str, container: Any) -> None:
    """Write what a function's container prints, until it ends, to a group that exists."""
    for line in container.logs(stream=True, follow=True):
        if group in cloudwatch_logs._log_groups:
            account.write_logs(group, container.id, line.decode(errors="replace"))


def _shift_aliases(codedeploy: CodeDeploy) -> None:
    """Move an alias by CodeDeploy where its template says so."""
    handlers = provisioners._RESOURCE_HANDLERS[ALIAS]
    update: Callable[..., Any] = handlers["update"]

    def updating(
        physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Any:
        policy = _update_policy(stack, logical_id)
        if not policy or old["FunctionVersion"] == new["FunctionVersion"]:
            return update(physical_id, old, new, stack, logical_id)
        codedeploy.shift(
            (policy["ApplicationName"], policy["DeploymentGroupName"]),
            move=lambda: update(physical_id, old, new, stack, logical_id),
            back=lambda: update(physical_id, new, old, stack, logical_id),
            hook=policy.get("BeforeAllowTrafficHook"),
        )
        return physical_id, {"AliasArn": physical_id}

    handlers["update"] = updating


def _update_policy(stack_name: str, logical_id: str) -> dict[str, str]:
    """Return the physical ids of CodeDeployLambdaAliasUpdate, where a template has it."""
    stack = _stacks[stack_name]
    definition = json.loads(stack["_template_body"])["Resources"][logical_id]
    policy = definition.get("UpdatePolicy", {}).get("CodeDeployLambdaAliasUpdate", {})
    resources = stack["_resources"]
    return {name: resources[each["Ref"]]["PhysicalResourceId"] for name, each in policy.items()}


def _check_alarms() -> None:
    """Check alarms against AWS's shape, and keep those of metric math."""
    handlers = provisioners._RESOURCE_HANDLERS[ALARM]
    create, update = handlers["create"], handlers["update"]

    def creating(logical_id: str, props: Properties, stack: str) -> Any:
        check("cloudwatch", "PutMetricAlarm", {"AlarmName": logical_id, **props})
        return kept(create(logical_id, _single(props), stack), props)

    def updating(name: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Any:
        check("cloudwatch", "PutMetricAlarm", {"AlarmName": logical_id, **new})
        return kept(update(name, _single(old), _single(new), stack, logical_id), new)

    def kept(made: Any, props: Properties) -> Any:
        if "Metrics" in props:
            cloudwatch._alarms[made[0]]["Metrics"] = props["Metrics"]
        return made

    handlers.update(create=creating, update=updating)


def _single(props: Properties) -> Properties:
    """Return the alarm as one of a plain metric, which MiniStack accepts."""
    if "Metrics" not in props:
        return props
    first = next(query["MetricStat"] for query in props["Metrics"] if "MetricStat" in query)
    rest = {name: value for name, value in props.items() if name != "Metrics"}
    return {**rest, **first["Metric"], "Period": first["Period"], "Statistic": first["Stat"]}


def _answer_unknown_tags() -> None:
    """Refuse to describe an image that does not exist, as ECR does: then the CDK pushes it."""
    describe = ecr._describe_images

    def describing(data: dict[str, Any]) -> Any:
        name = data.get("repositoryName", "")
        if name in ecr._repositories:
            for identifier in data.get("imageIds") or []:
                if not ecr._find_image(name, identifier):
                    told = f"no image {identifier} in {name}"
                    return ecr.error_response_json("ImageNotFoundException", told, 400)
        return describe(data)

    ecr._describe_images = describing


def _apply_metric_filters() -> None:
    """Make data of what is logged, and judge its alarms: MiniStack only keeps the filters."""
    forward = cloudwatch_logs._fanout_to_subscription_filters

    def forwarding(group: str, stream: str, events: Sequence[Properties]) -> None:
        forward(group, stream, events)
        for (owner, _), kept in list(cloudwatch_logs._metric_filters.items()):
            if owner != group:
                continue
            for line in filter(None, map(_json, events)):
                for transformation in kept["metricTransformations"]:
                    _count(line, kept["filterPattern"], transformation)

    def judging(alarm: Properties) -> None:
        # Those of AWS's own metrics change only when a test says so.
        if not alarm.get("Namespace", "").startswith("AWS/"):
            judge(alarm)

    judge = cloudwatch._evaluate_alarm
    cloudwatch._evaluate_alarm = judging
    cloudwatch_logs._fanout_to_subscription_filters = forwarding


def _json(event: Properties) -> dict[str, Any]:
    """Return a log event that is JSON, else an empty object."""
    try:
        line = json.loads(event["message"])
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


def _count(line: dict[str, Any], pattern: str, transformation: Properties) -> None:
    parsed = re.fullmatch(r'\{ \$\.([\w.]+) (=|>=) "?([^"]*)"? \}', pattern)
    if not parsed:
        raise NotImplementedError(f"the pattern {pattern} is not emulated")
    value: Any = line
    for name in parsed[1].split("."):
        value = value.get(name) if isinstance(value, dict) else None
    if value is None or (str(value) != parsed[3] if parsed[2] == "=" else value < float(parsed[3])):
        return
    counted = transformation["metricValue"]
    if counted.startswith("$."):
        counted = line[counted[2:]]
    namespace, name = transformation["metricNamespace"], transformation["metricName"]
    now = time.time()
    cloudwatch._store_datum(namespace, name, {}, now, "None", float(counted), None, None, None)
    for alarm in cloudwatch._alarms.values():
        if (alarm.get("Namespace"), alarm.get("MetricName")) == (namespace, name):
            cloudwatch._evaluate_alarm(alarm)
