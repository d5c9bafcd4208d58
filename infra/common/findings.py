"""Suppress findings of cfn-lint, checkov and cdk-nag beside the construct, with a reason."""

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

    A finding is named as its tool names it, in full: W3005 (cfn-lint), CKV_AWS_115 (checkov),
    AwsSolutions-S1 or AwsSolutions-IAM5[Resource::*] (cdk-nag). Further calls add to the first.
    """
    resource = resource_of(construct)
    for finding, reason in reasons.items():
        if finding.startswith("AwsSolutions-"):
            Validations.of(resource).acknowledge(
                Acknowledgment(id=f"AwsSolutions::{finding}", reason=reason)
            )
        elif finding.startswith("CKV"):
            skipped = (resource.get_metadata("checkov") or {"skip": []})["skip"]
            skip = {"id": finding, "comment": reason}
            resource.add_metadata("checkov", {"skip": [*skipped, skip]})
        else:
            # cfn-lint has no place for a reason, and lets one stand beside its own key.
            written = resource.get_metadata("cfn-lint") or {"reasons": {}}
            stated = {**written["reasons"], finding: reason}
            resource.add_metadata(
                "cfn-lint", {"config": {"ignore_checks": [*stated]}, "reasons": stated}
            )
