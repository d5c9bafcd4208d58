"""CodeDeploy's applications and groups, and the shift of an alias from version to version.

The shift is emulated, in one step, since MiniStack serves an alias' primary version only: all
traffic goes to the new version, and back where an alarm of the group is then in ALARM.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from deploy.plane.fleets import BAKE_SECONDS
from deploy.plane.rules import Properties
from deploy.plane.shapes import Refused, check

PREDEFINED = (
    *("AllAtOnce", "Canary10Percent5Minutes", "Canary10Percent10Minutes"),
    *("Canary10Percent15Minutes", "Canary10Percent30Minutes", "Linear10PercentEvery1Minute"),
    *("Linear10PercentEvery2Minutes", "Linear10PercentEvery3Minutes"),
    "Linear10PercentEvery10Minutes",
)


class CodeDeploy:
    def __init__(self, alarms_in_alarm: Callable[[Sequence[str]], Sequence[str]]) -> None:
        self._alarms_in_alarm = alarms_in_alarm
        self.applications: dict[str, Properties] = {}
        self.groups: dict[tuple[str, str], Properties] = {}
        self.deployments: list[dict[str, Any]] = []

    def create_application(self, logical_id: str, props: Properties, stack: str) -> Any:
        name = props.get("ApplicationName") or f"{stack}-{logical_id}"[:100]
        check("codedeploy", "CreateApplication", _lowered({**props, "ApplicationName": name}))
        self.applications[name] = props
        return name, {}

    def delete_application(self, physical_id: str, _props: Properties) -> None:
        self.applications.pop(physical_id, None)

    def create_group(self, logical_id: str, props: Properties, stack: str) -> Any:
        name = props.get("DeploymentGroupName") or f"{stack}-{logical_id}"[:100]
        check(
            "codedeploy", "CreateDeploymentGroup", _lowered({**props, "DeploymentGroupName": name})
        )
        if props["ApplicationName"] not in self.applications:
            raise Refused(f"No application found for {props['ApplicationName']}")
        predefined = str(props.get("DeploymentConfigName", "")).removeprefix(
            "CodeDeployDefault.Lambda"
        )
        if predefined not in PREDEFINED:
            raise Refused(f"No deployment configuration found for {predefined}")
        self._alarms_in_alarm(_alarms(props))  # an alarm that does not exist is refused
        self.groups[props["ApplicationName"], name] = props
        return name, {}

    def delete_group(self, physical_id: str, props: Properties) -> None:
        self.groups.pop((props["ApplicationName"], physical_id), None)

    def shift(
        self, application: str, group: str, move: Callable[[], Any], back: Callable[[], Any]
    ) -> None:
        """Move an alias. Raises RuntimeError where an alarm moved it back."""
        names = _alarms(self.groups[application, group])
        record = {"application": application, "group": group, "status": "InProgress"}
        self.deployments.append(record)
        move()
        time.sleep(BAKE_SECONDS)
        if raised := self._alarms_in_alarm(names):
            back()
            record["status"] = "Stopped"
            raise RuntimeError(f"CodeDeploy rolled back: {', '.join(raised)} in ALARM")
        record["status"] = "Succeeded"


def _alarms(props: Properties) -> Sequence[str]:
    configuration = props.get("AlarmConfiguration", {})
    return [alarm["Name"] for alarm in configuration.get("Alarms", [])]


def _lowered(value: Any) -> Any:
    """CloudFormation's ApplicationName is the API's applicationName."""
    if isinstance(value, Mapping):
        return {name[0].lower() + name[1:]: _lowered(member) for name, member in value.items()}
    return [_lowered(member) for member in value] if isinstance(value, list) else value
