"""The parts of a template that moto knows, created by its CloudFormation.

moto runs in a process of its own, since servers in one process share their state.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import boto3

from templates import Synthesized, canonical

KNOWN = {
    "AWS::CloudWatch::Dashboard",
    "AWS::IAM::Policy",
    "AWS::IAM::Role",
    "AWS::Lambda::Function",
    "AWS::Lambda::Version",
    "AWS::Logs::LogGroup",
    "AWS::S3::Bucket",
    "AWS::SNS::Topic",
    "AWS::SageMaker::Endpoint",
    "AWS::SageMaker::EndpointConfig",
    "AWS::SageMaker::Model",
}
SERVER = """
import sys
from moto.server import ThreadedMotoServer
server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
server.start()
print(server.get_host_and_port()[1], flush=True)
sys.stdin.read()
"""
REGION, ACCOUNT = "eu-west-1", "123456789012"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Partition": "aws",
    "AWS::Region": REGION,
    "AWS::URLSuffix": "amazonaws.com",
}

Client = Callable[[str], Any]


@contextmanager
def moto() -> Iterator[Client]:
    """`client(SERVICE)` of boto3, at a moto of our own."""
    with subprocess.Popen(
        [sys.executable, "-c", SERVER],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdin
        assert server.stdout
        try:
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            session = boto3.Session("testing", "testing", region_name=REGION)
            yield lambda service: session.client(service, endpoint_url=url)
        finally:
            server.stdin.close()  # which it waits for
            server.wait(30)


class Created:
    """A stack at moto, and what its logical ids have become."""

    def __init__(self, client: Client, name: str, stack: Synthesized) -> None:
        self.client, self.name, self.stack = client, name, stack
        resources = stack.template["Resources"].items()
        self._known = {name for name, resource in resources if resource["Type"] in KNOWN}
        reduced = {
            name: {
                "Type": resource["Type"],
                "Properties": self._reduced(resource.get("Properties", {})),
                "DependsOn": [n for n in resource.get("DependsOn", []) if n in self._known],
            }
            for name, resource in resources
            if name in self._known
        }
        formation = client("cloudformation")
        formation.create_stack(StackName=name, TemplateBody=json.dumps({"Resources": reduced}))
        (described,) = formation.describe_stacks(StackName=name)["Stacks"]
        assert described["StackStatus"] == "CREATE_COMPLETE"
        made = formation.describe_stack_resources(StackName=name)["StackResources"]
        assert {resource["LogicalResourceId"] for resource in made} == self._known
        self.ids = {r["LogicalResourceId"]: r.get("PhysicalResourceId", "1") for r in made}

    def _reduced(self, value: Any) -> Any:
        """With a name, or an ARN, in the place of each resource that moto does not know."""
        if isinstance(value, list):
            return [self._reduced(item) for item in value]
        if not isinstance(value, dict):
            return value
        kind, named = next(iter(value.items()), ("", ""))
        if kind == "Ref" and named not in self._known | PSEUDO.keys():
            return f"not-made-{named}"
        if kind == "Fn::GetAtt" and named[0] not in self._known:
            return f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{named[0]}"
        return {key: self._reduced(item) for key, item in value.items()}

    def id_of(self, kind: str) -> str:
        """The physical id of the one resource of that type; an ARN's last part."""
        name, _ = self.stack.only(kind)
        return str(self.ids[name]).rpartition("/")[2]

    def is_role(self, arn: str, written: str) -> bool:
        """Whether an ARN is that of the role that the template names."""
        logical = written.removeprefix("${").removesuffix(".Arn}")
        return arn == f"arn:aws:iam::{ACCOUNT}:role/{self.ids[logical]}"

    def value(self, value: Any) -> Any:
        """A property as CloudFormation hands it to the service."""
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if not isinstance(value, dict):
            return value
        if not value.keys() & {"Ref", "Fn::Join", "Fn::GetAtt", "Fn::Sub"}:
            return {key: self.value(item) for key, item in value.items()}
        text = canonical(value)
        for name, made in {**PSEUDO, **self.ids}.items():
            text = text.replace(f"${{{name}}}", made)
            # Attributes that are asked for below: the name of an endpoint.
            text = text.replace(f"${{{name}.EndpointName}}", made.rpartition("/")[2])
        return text
