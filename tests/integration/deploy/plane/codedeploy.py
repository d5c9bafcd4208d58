"""Emulate CodeDeploy's applications and groups, and shift an alias from version to version.

The shift has one step, since MiniStack serves an alias' primary version only: all traffic moves to
the new version, and back where an alarm of the group is in ALARM.
"""

import re
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from integration.deploy.plane.rules import Properties
from integration.deploy.plane.shapes import Refused, check

BAKE_SECONDS = 1.0
PREDEFINED = re.compile(
    r"CodeDeployDefault\.Lambda"
    "(AllAtOnce|Canary10Percent(5|10|15|30)Minutes|Linear10PercentEvery(1Minute|(2|3|10)Minutes))"
)


class CodeDeploy:
    """The applications and groups of one account. `invoke(ROLE, FUNCTION, EVENT)` calls a hook."""

    def __init__(
        self,
        alarms_in_alarm: Callable[[Sequence[str]], Sequence[str]],
        invoke: Callable[[str, str, Properties], None],
    ) -> None:
        self._alarms_in_alarm, self._invoke = alarms_in_alarm, invoke
        self._hooks: dict[str, str] = {}
        self.applications: dict[str, Properties] = {}
        self.groups: dict[tuple[str, str], Properties] = {}
        self.deployments: list[str] = []

    def create_application(self, logical_id: str, props: Properties, stack: str) -> Any:
        name = props.get("ApplicationName") or f"{stack}-{logical_id}"[:100]
        check("codedeploy", "CreateApplication", _lowered({**props, "ApplicationName": name}))
        self.applications[name] = props
        return name, {}

    def delete_application(self, physical_id: str, _props: Properties) -> None:
        self.applications.pop(physical_id, None)

    def create_group(self, logical_id: str, props: Properties, stack: str) -> Any:
        name = props.get("DeploymentGroupName") or f"{stack}-{logical_id}"[:100]
        asked = _lowered({**props, "DeploymentGroupName": name})
        check("codedeploy", "CreateDeploymentGroup", asked)
        if props["ApplicationName"] not in self.applications:
            raise Refused(f"No application found for {props['ApplicationName']}")
        if not PREDEFINED.fullmatch(props.get("DeploymentConfigName", "")):
            raise Refused(f"No deployment configuration found in {props}")
        self._alarms_in_alarm(_alarms(props))  # an alarm that does not exist is refused
        self.groups[props["ApplicationName"], name] = props
        return name, {}

    def delete_group(self, physical_id: str, props: Properties) -> None:
        self.groups.pop((props["ApplicationName"], physical_id), None)

    def shift(
        self,
        group: tuple[str, str],
        move: Callable[[], Any],
        back: Callable[[], Any],
        hook: str | None,
    ) -> None:
        """Move an alias. Raise RuntimeError if the hook does not allow it or an alarm reverts it.

        `hook` is the function of BeforeAllowTraffic, if there is one.
        """
        deployment = f"d-{len(self.deployments):09}"
        self.deployments.append(deployment)
        if hook:
            execution = secrets.token_hex(8)
            event = {"DeploymentId": deployment, "LifecycleEventHookExecutionId": execution}
            self._invoke(self.groups[group]["ServiceRoleArn"], hook, event)
            if self._hooks.pop(execution, None) != "Succeeded":
                raise RuntimeError("CodeDeploy: the hook BeforeAllowTraffic has failed")
        move()
        time.sleep(BAKE_SECONDS)
        if raised := self._alarms_in_alarm(_alarms(self.groups[group])):
            back()
            raise RuntimeError(f"CodeDeploy rolled back: {', '.join(raised)} in ALARM")

    def put_hook_status(self, asked: Properties) -> Properties:
        check("codedeploy", "PutLifecycleEventHookExecutionStatus", asked)
        execution = asked["lifecycleEventHookExecutionId"]
        self._hooks[execution] = asked["status"]
        return {"lifecycleEventHookExecutionId": execution}


def _alarms(props: Properties) -> Sequence[str]:
    return [alarm["Name"] for alarm in props.get("AlarmConfiguration", {}).get("Alarms", [])]


def _lowered(value: Any) -> Any:
    """Return CloudFormation's properties with the API's names: they begin in lower case."""
    if isinstance(value, Mapping):
        return {name[0].lower() + name[1:]: _lowered(member) for name, member in value.items()}
    return [_lowered(member) for member in value] if isinstance(value, list) else value
