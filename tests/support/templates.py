"""Read the synthesized templates of the configurations that tests of the stack use."""

import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

MODEL_DATA = "s3://models-of-ours/cats/v1.tar.gz"
MODEL_ID = "0123456789abcdef" * 4
SUBNETS = "subnet-0123456789abcdef0,subnet-0123456789abcdef1"
GROUPS = "sg-0123456789abcdef0"

BATCH = {"batch_input": "s3://work-of-ours/in", "batch_output": "s3://work-of-ours/out/"}

# One configuration of each shape of stack; tests that hold for every template use all of them.
CONFIGURATIONS: dict[str, dict[str, str]] = json.loads(
    Path(__file__).with_name("configurations.json").read_text()
)
EXAMINER = "Examiner"  # the start of its logical ids


class Synthesized:
    """One synthesized stack: its template, warnings and Docker images as the CLI reads them."""

    def __init__(self, outdir: Path, stack_name: str) -> None:
        self.template = json.loads((outdir / f"{stack_name}.template.json").read_text())
        assets = json.loads((outdir / f"{stack_name}.assets.json").read_text())
        self.images: dict[str, Any] = assets["dockerImages"]
        self.outputs: dict[str, Any] = self.template["Outputs"]
        # What the CLI must look up before it runs the app again.
        self.missing = json.loads((outdir / "manifest.json").read_text()).get("missing", [])
        metadata = json.loads((outdir / f"{stack_name}.metadata.json").read_text())
        self.warnings = [
            entry["data"]
            for entries in metadata.values()
            for entry in entries
            if entry["type"] == "aws:cdk:warning"
        ]

    def resources(self, kind: str, *, of_examiner: bool = False) -> dict[str, Any]:
        """Return the resources of a type, by logical id: the targets', or the examiner's."""
        return {
            name: resource
            for name, resource in self.template["Resources"].items()
            if resource["Type"] == kind and name.startswith(EXAMINER) is of_examiner
        }

    def only(self, kind: str) -> tuple[str, dict[str, Any]]:
        """Return the logical id and the properties of the only resource of that type."""
        ((name, resource),) = self.resources(kind).items()
        return name, resource["Properties"]

    def environments(self) -> dict[str, dict[str, str]]:
        """Return the containers' variables, by the type of the target."""
        functions = self.resources("AWS::Lambda::Function").values()
        models = self.resources("AWS::SageMaker::Model").values()
        return {f["Type"]: f["Properties"]["Environment"]["Variables"] for f in functions} | {
            m["Type"]: m["Properties"]["PrimaryContainer"]["Environment"] for m in models
        }

    def statements(self, service: str = "") -> list[dict[str, Any]]:
        """Return the statements of all roles, or of the targets' roles that `service` assumes."""
        roles, policies = (self.resources(f"AWS::IAM::{kind}") for kind in ("Role", "Policy"))
        if not service:
            roles |= self.resources("AWS::IAM::Role", of_examiner=True)
            policies |= self.resources("AWS::IAM::Policy", of_examiner=True)
        taken = {
            name
            for name, role in roles.items()
            if service in canonical(trust(role)["Principal"]["Service"])
        }
        return [
            statement
            for policy in policies.values()
            if taken & {role["Ref"] for role in policy["Properties"]["Roles"]}
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        ]

    def dependencies(self) -> dict[str, set[str]]:
        """Return the resources that each resource names, and so waits for."""
        resources = self.template["Resources"]
        return {name: {*_named(found)} & resources.keys() for name, found in resources.items()}

    def before(self, name: str) -> set[str]:
        dependencies = self.dependencies()

        @cache
        def reached(one: str) -> set[str]:
            return dependencies[one].union(*map(reached, dependencies[one]))

        return reached(name)

    def waits_for(self, name: str) -> set[str]:
        return {self.template["Resources"][one]["Type"] for one in self.before(name)}

    def policies_of(self, role: str) -> dict[str, Any]:
        return {
            name: policy["Properties"]
            for name, policy in self.resources("AWS::IAM::Policy").items()
            if policy["Properties"]["Roles"] == [{"Ref": role}]
        }

    def gates(self, kind: str) -> dict[str, Any]:
        """Return the targets' alarms that stop an update of a type: properties by logical id."""
        if kind == "AWS::Lambda::Alias":
            (group,) = self.resources("AWS::CodeDeploy::DeploymentGroup").values()
            named = [alarm["Name"] for alarm in group["Properties"]["AlarmConfiguration"]["Alarms"]]
        else:
            deployment = self.only(kind)[1].get("DeploymentConfig", {})
            alarms = deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])
            named = [alarm["AlarmName"] for alarm in alarms]
        return {
            name["Ref"]: self.template["Resources"][name["Ref"]]["Properties"]
            for name in named
            if not name["Ref"].startswith(EXAMINER)
        }


def _named(value: Any) -> Iterator[str]:
    """Yield the logical ids and pseudo parameters that a part of a template names."""
    if isinstance(value, list):
        for item in value:
            yield from _named(item)
    elif isinstance(value, dict):
        for key, item in value.items():
            if key == "Ref":
                yield item
            elif key == "Fn::GetAtt":
                yield item[0]
            elif key == "DependsOn":
                yield from listed(item)
            elif key == "Fn::Sub":
                assert isinstance(item, str)
                yield from re.findall(r"\$\{([\w:]+)[^}]*\}", item)
            else:
                yield from _named(item)


def canonical(value: Any) -> str:
    """Return a template's string with its functions written as in Fn::Sub."""
    if isinstance(value, str):
        return value
    ((function, argument),) = value.items()
    if function == "Ref":
        return f"${{{argument}}}"
    if function == "Fn::Sub":
        return str(argument)
    if function == "Fn::GetAtt":
        return f"${{{'.'.join(argument)}}}"
    assert function == "Fn::Join", value
    separator, parts = argument
    return str(separator).join(map(canonical, parts))


def listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def trust(role: dict[str, Any]) -> dict[str, Any]:
    (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    return dict(statement)


def metrics(alarm: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return an alarm's namespace, dimensions, statistic and period, by metric name."""
    queries = [query["MetricStat"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
    found = {}
    for query in queries or [{"Metric": alarm, **alarm}]:
        metric = query["Metric"]
        found[metric["MetricName"]] = {
            "namespace": metric["Namespace"],
            "dimensions": {d["Name"]: canonical(d["Value"]) for d in metric["Dimensions"]},
            "statistic": query.get("Stat") or query.get("Statistic") or query["ExtendedStatistic"],
            "period": query["Period"],
        }
    return found


def allows(statements: list[dict[str, Any]], action: str, resource: str) -> bool:
    """Return True if a statement allows an action on a resource, whatever its conditions."""
    return any(
        statement["Effect"] == "Allow"
        and any(fnmatchcase(action, pattern) for pattern in listed(statement["Action"]))
        and any(
            fnmatchcase(resource, canonical(pattern)) for pattern in listed(statement["Resource"])
        )
        for statement in statements
    )


def evaluate(expression: str, **values: float) -> float:
    """Return the value of CloudWatch metric math. PERIOD of any metric is the value of `PERIOD`."""
    functions = {"PERIOD": lambda _: values["PERIOD"], "FILL": lambda value, _: value}
    names = {**values, **functions, "__builtins__": {}}
    return float(eval(expression, names))  # noqa: S307 - our own
