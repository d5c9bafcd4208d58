"""CloudWatch's alarms, checked against AWS's shape; MiniStack lacks those of metric maths.

Such an alarm is kept under its first metric, and nothing evaluates its expression: its state is
what SetAlarmState says.
"""

from typing import Any

from ministack.services import cloudwatch
from ministack.services.cloudformation import provisioners

from deploy.plane.rules import Properties
from deploy.plane.shapes import check

ALARM = "AWS::CloudWatch::Alarm"


def install() -> None:
    """Replace what MiniStack does."""
    handlers = provisioners._RESOURCE_HANDLERS[ALARM]
    create, update = handlers["create"], handlers["update"]

    def creating(logical_id: str, props: Properties, stack: str) -> Any:
        name, attributes = create(logical_id, _checked(logical_id, props), stack)
        return _kept(name, props), attributes

    def updating(name: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Any:
        checked = _checked(logical_id, new)
        name, attributes = update(name, _single(old), checked, stack, logical_id)
        return _kept(name, new), attributes

    handlers.update(create=creating, update=updating)


def _checked(logical_id: str, props: Properties) -> Properties:
    check("cloudwatch", "PutMetricAlarm", {"AlarmName": logical_id, **props})
    return _single(props)


def _single(props: Properties) -> Properties:
    """The alarm as one of a plain metric, which MiniStack takes."""
    if "Metrics" not in props:
        return props
    first = next(query["MetricStat"] for query in props["Metrics"] if "MetricStat" in query)
    rest = {name: value for name, value in props.items() if name != "Metrics"}
    return {**rest, **first["Metric"], "Period": first["Period"], "Statistic": first["Stat"]}


def _kept(name: str, props: Properties) -> str:
    if "Metrics" in props:
        cloudwatch._alarms[name]["Metrics"] = props["Metrics"]
    return name
