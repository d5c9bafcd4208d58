"""Findings of the static checks that stay: each is named beside its construct, with its reason."""

import re
from collections.abc import Mapping

from aws_cdk import Acknowledgment, CfnResource, Validations
from constructs import IConstruct

_CFN_LINT = re.compile("[EWI][0-9]{4}")
_CHECKOV = re.compile("CKV2?_AWS_[0-9]+")
_CDK_NAG = re.compile(r"AwsSolutions-[A-Z]+[0-9]+(\[.+\])?")


def explain(construct: IConstruct, reasons: Mapping[str, str]) -> None:
    """Tell the tool of each finding on `construct`'s resource why it stays, in the tool's own form.

    A finding is named as its tool names it, in full: W3005 (cfn-lint), CKV_AWS_115 (checkov),
    AwsSolutions-S1 or AwsSolutions-IAM5[Resource::*] (cdk-nag). Raises ValueError for any other
    name: cfn-lint takes the start of one for all that start so. Further calls add to the first.
    """
    resource = construct.node.default_child or construct
    assert isinstance(resource, CfnResource)  # noqa: S101 - narrows the type
    for finding, reason in reasons.items():
        if _CDK_NAG.fullmatch(finding):
            Validations.of(resource).acknowledge(
                Acknowledgment(id=f"AwsSolutions::{finding}", reason=reason)
            )
        elif _CHECKOV.fullmatch(finding):
            skipped = (resource.get_metadata("checkov") or {"skip": []})["skip"]
            skip = {"id": finding, "comment": reason}
            resource.add_metadata("checkov", {"skip": [*skipped, skip]})
        elif _CFN_LINT.fullmatch(finding):
            # It has no place for a reason, and lets one stand beside its own key.
            written = resource.get_metadata("cfn-lint") or {"reasons": {}}
            stated = {**written["reasons"], finding: reason}
            resource.add_metadata(
                "cfn-lint", {"config": {"ignore_checks": [*stated]}, "reasons": stated}
            )
        else:
            raise ValueError(f"{finding} is no finding of cfn-lint, checkov or cdk-nag")
