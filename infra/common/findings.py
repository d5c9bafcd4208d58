"""Suppress findings of checkov and cdk-nag on a construct, with a reason."""

from collections.abc import Mapping

from aws_cdk import Acknowledgment, CfnResource, Validations
from constructs import IConstruct


def resource_of(construct: IConstruct) -> CfnResource:
    """Return the CloudFormation resource of a construct, which may be one itself."""
    resource = construct.node.default_child or construct
    assert isinstance(resource, CfnResource)  # noqa: S101 - narrows the type
    return resource


def suppress_finding(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Suppress findings on the construct's resource, in the form that each tool reads.

    Name a finding in full, as its tool does: CKV_AWS_115 (checkov), AwsSolutions-S1 or
    AwsSolutions-IAM5[Resource::*] (cdk-nag). Further calls add to the first.
    """
    resource = resource_of(construct)
    for finding, reason in reasons.items():
        if finding.startswith("AwsSolutions-"):
            acknowledgment = Acknowledgment(id=f"AwsSolutions::{finding}", reason=reason)
            Validations.of(resource).acknowledge(acknowledgment)
        else:
            skipped = (resource.get_metadata("checkov") or {"skip": []})["skip"]
            skip = {"id": finding, "comment": reason}
            resource.add_metadata("checkov", {"skip": [*skipped, skip]})
