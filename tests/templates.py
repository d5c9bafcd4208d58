"""What tests of the stack read in its templates, and the configurations that they read it of."""

import ast
import json
import operator
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

MODEL_DATA = "s3://models-of-ours/cats/v1.tar.gz"
MODEL_ID = "0123456789abcdef" * 4
SUBNETS = "subnet-0123456789abcdef0,subnet-0123456789abcdef1"
GROUPS = "sg-0123456789abcdef0"

BATCH = {"batch_input": "s3://work-of-ours/in", "batch_output": "s3://work-of-ours/out/"}

# One of each shape that the keys make; what holds for every template is asserted of these.
CONFIGURATIONS = {
    "lambda": {"mode": "lambda"},
    "sagemaker": {"mode": "sagemaker"},
    "both": {"mode": "both"},
    "serverless": {"mode": "both", "sagemaker_type": "serverless"},
    "async": {"mode": "both", "sagemaker_type": "async", "alarm_email": "team@example.com"},
    "async_from_none": {
        "mode": "sagemaker",
        "sagemaker_type": "async",
        "min_instances": "0",
        "alarm_email": "team@example.com",
    },
    "fleet": {"mode": "sagemaker", "min_instances": "2", "max_instances": "8"},
    "fixed": {"mode": "sagemaker", "min_instances": "2", "max_instances": "2"},
    "isolated": {"mode": "both", "network_isolation": "true"},
    "public": {
        "mode": "lambda",
        "url_auth": "none",
        "url_cors_origins": "https://a.example,http://localhost:3000",
        "lambda_reserved_concurrency": "5",
    },
    "batch": {"mode": "lambda", **BATCH},
    "everything": {
        "mode": "both",
        "alarm_email": "team@example.com",
        "model_data": MODEL_DATA,
        "model_id": MODEL_ID,
        "lambda_ephemeral_mb": "2048",
        "lambda_reserved_concurrency": "20",
        "lambda_provisioned_concurrency": "2",
        "data_capture_percent": "10",
        "url_auth": "none",
        "url_cors_origins": "*",
        "uri_allowlist": "*.example.com,s3://pictures-of-ours,s3://more-pictures",
        "subnet_ids": SUBNETS,
        "security_group_ids": GROUPS,
        "log_retention_days": "90",
    },
}


class Synthesized:
    """One synthesized stack: its template, warnings and docker images as the CLI will see them."""

    def __init__(self, outdir: Path, stack_name: str) -> None:
        self.template = json.loads((outdir / f"{stack_name}.template.json").read_text())
        assets = json.loads((outdir / f"{stack_name}.assets.json").read_text())
        self.images: dict[str, Any] = assets["dockerImages"]
        self.outputs: dict[str, Any] = self.template["Outputs"]
        # What the CLI is to look up before it runs the app again.
        self.missing = json.loads((outdir / "manifest.json").read_text()).get("missing", [])
        metadata = json.loads((outdir / f"{stack_name}.metadata.json").read_text())
        self.warnings = [
            entry["data"]
            for entries in metadata.values()
            for entry in entries
            if entry["type"] == "aws:cdk:warning"
        ]

    def resources(self, kind: str) -> dict[str, Any]:
        """The resources of one type, by logical id."""
        found = self.template["Resources"].items()
        return {name: resource for name, resource in found if resource["Type"] == kind}

    def only(self, kind: str) -> tuple[str, dict[str, Any]]:
        """The logical id and the properties of the one resource of that type."""
        ((name, resource),) = self.resources(kind).items()
        return name, resource["Properties"]

    def environments(self) -> dict[str, dict[str, str]]:
        """What each target that there is tells the container."""
        functions = self.resources("AWS::Lambda::Function").values()
        models = self.resources("AWS::SageMaker::Model").values()
        return {f["Type"]: f["Properties"]["Environment"]["Variables"] for f in functions} | {
            m["Type"]: m["Properties"]["PrimaryContainer"]["Environment"] for m in models
        }

    def statements(self, service: str = "") -> list[dict[str, Any]]:
        """Every statement that grants something to a role; with `service`, to the role that it
        takes, such as `lambda`."""
        roles = {
            name
            for name, role in self.resources("AWS::IAM::Role").items()
            if service in canonical(trust(role)["Principal"]["Service"])
        }
        return [
            statement
            for policy in self.resources("AWS::IAM::Policy").values()
            if roles & {role["Ref"] for role in policy["Properties"]["Roles"]}
            for statement in policy["Properties"]["PolicyDocument"]["Statement"]
        ]

    def dependencies(self) -> dict[str, set[str]]:
        """What each resource names, and so waits for; every name has to be one of the template."""
        known = self.template["Resources"].keys()
        named = {name: {*_named(resource)} for name, resource in self.template["Resources"].items()}
        for names in named.values():
            unknown = names - known - self.template["Parameters"].keys()
            assert {name.partition("::")[0] for name in unknown} <= {"AWS"}
        return {name: names & known for name, names in named.items()}

    def before(self, name: str) -> set[str]:
        """All resources that are there before this one is made."""
        dependencies = self.dependencies()
        found: set[str] = set()
        open_ = [*dependencies[name]]
        while open_:
            if (one := open_.pop()) not in found:
                found.add(one)
                open_ += dependencies[one]
        return found

    def waits_for(self, name: str) -> set[str]:
        """The types of all resources that are there before this one is made."""
        return {self.template["Resources"][one]["Type"] for one in self.before(name)}

    def policies_of(self, role: str) -> dict[str, Any]:
        """The properties of all policies of a role, by logical id."""
        return {
            name: policy["Properties"]
            for name, policy in self.resources("AWS::IAM::Policy").items()
            if policy["Properties"]["Roles"] == [{"Ref": role}]
        }

    def gates(self, kind: str) -> dict[str, Any]:
        """The properties of the alarms that stop an update of a type, by logical id."""
        if kind == "AWS::Lambda::Alias":
            (group,) = self.resources("AWS::CodeDeploy::DeploymentGroup").values()
            named = [alarm["Name"] for alarm in group["Properties"]["AlarmConfiguration"]["Alarms"]]
        else:
            deployment = self.only(kind)[1].get("DeploymentConfig", {})
            alarms = deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])
            named = [alarm["AlarmName"] for alarm in alarms]
        return {
            name["Ref"]: self.template["Resources"][name["Ref"]]["Properties"] for name in named
        }

    def order(self) -> list[str]:
        """An order in which CloudFormation can make the resources; CycleError if there is none."""
        return [*TopologicalSorter(self.dependencies()).static_order()]


def _named(value: Any) -> Iterator[str]:
    """The logical ids and pseudo parameters that a part of a template names."""
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
    """A template's string with its functions rendered the way Fn::Sub writes them."""
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
    """The one statement that says who may take a role."""
    (statement,) = role["Properties"]["AssumeRolePolicyDocument"]["Statement"]
    return dict(statement)


def metrics(alarm: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """What an alarm watches, by metric name: namespace, dimensions, statistic and period."""
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
    """Whether some statement allows an action on a resource, whatever its conditions."""
    return any(
        statement["Effect"] == "Allow"
        and any(fnmatchcase(action, pattern) for pattern in listed(statement["Action"]))
        and any(
            fnmatchcase(resource, canonical(pattern)) for pattern in listed(statement["Resource"])
        )
        for statement in statements
    )


def evaluate(expression: str, **values: float) -> float:
    """The value of CloudWatch metric maths; PERIOD(any metric) is the value of `PERIOD`."""

    def value(node: ast.AST) -> float:
        match node:
            case ast.BinOp(left=left, op=op, right=right):
                return float(_OPERATORS[type(op)](value(left), value(right)))
            case ast.Constant(value=float() | int() as number):
                return float(number)
            case ast.Name(id=name):
                return values[name]
            case ast.Call(func=ast.Name(id="PERIOD"), args=[ast.Name(id=name)]):
                assert name in values
                return values["PERIOD"]
        raise AssertionError(ast.dump(node))

    return value(ast.parse(expression, mode="eval").body)


_OPERATORS = {ast.Add: operator.add, ast.Mult: operator.mul, ast.Div: operator.truediv}
