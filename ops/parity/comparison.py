"""Which targets are compared, and everything that is concluded about them."""

import argparse
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from ops.aws import Aws, CannotAsk, stack_outputs
from ops.doctor import Check, examine
from ops.faces import ROOT
from ops.findings import Finding
from ops.local import Picture
from ops.parity import conclusions, described
from ops.parity.comparing import Heard, compare
from ops.parity.conclusions import Row
from ops.parity.facts import Facts
from ops.parity.report import Report
from ops.parity.sides import STACK_KINDS, Opener, Side
from ops.probes import Probes

STACKS_OWN = ""  # of an option that was given without its value


def chosen(options: argparse.Namespace, opener: Opener) -> list[Side]:
    """The targets that the options name: two, or one alone where answers are only kept or held
    against what was kept. Raises CannotAsk and what opening them raises.
    """
    alone = bool(options.record or options.against)
    if options.left or options.right:
        names = [name for name in (options.left, options.right) if name]
        if len(names) == 1 and not alone:
            raise CannotAsk(
                f"{names[0]} has nothing to be compared with", "name --left and --right"
            )
        return [opener.open(name) for name in names]
    if options.local:
        return [opener.open("local:lambda"), opener.open("local:http")]
    given = (options.lambda_url, options.function, options.endpoint)
    if all(option is None for option in given):
        return _of_stack(options, opener, alone)
    sides = []
    if not alone or options.lambda_url is not None or options.function is not None:
        sides.append(_function(options, opener))
    if not alone or options.endpoint is not None:
        sides.append(
            opener.open(f"sagemaker:{options.endpoint}")
            if options.endpoint
            else opener.of_stack(options.stack, "sagemaker")
        )
    return sides


def concluded(
    facts: Sequence[Facts],
    pictures: Sequence[Picture],
    heard: Sequence[Sequence[Heard]],
    opener: Opener,
    options: argparse.Namespace,
) -> Report:
    rows = [
        Row(picture, row, [compare(row[0], other, options.tolerance) for other in row[1:]])
        for picture, row in zip(pictures, heard)
    ]
    aws = Aws(options.region)
    images = [side.image for sides in opener.stacks.values() for side in sides if side.image]
    checks = conclusions.check(facts, rows, described.media_type(aws, images), options.tolerance)
    found = {name: check.finding for name, check in checks.items()}
    for name, opened in opener.stacks.items():
        suffix = f" of {name}" if len(opener.stacks) > 1 else ""
        for check in _of_deployment(aws, name, opened):
            found[check.name + suffix] = examine(check)
    today = datetime.now(UTC).date().isoformat()
    return Report(facts, rows, found, options.tolerance, today)


def _of_stack(options: argparse.Namespace, opener: Opener, alone: bool) -> list[Side]:
    """Both targets; those that there are where one is enough."""
    kinds = ["lambda", "sagemaker"]
    if alone:
        outputs = stack_outputs(Aws(options.region), options.stack)
        kinds = [kind for kind in kinds if STACK_KINDS[kind] in outputs] or kinds
    return [opener.of_stack(options.stack, kind) for kind in kinds]


def _function(options: argparse.Namespace, opener: Opener) -> Side:
    if options.lambda_url:
        return opener.by_url(options.lambda_url, options.function or "")
    if options.function:
        return opener.open(f"lambda:{options.function}")
    return opener.of_stack(options.stack, "lambda" if options.function is None else "function")


def _of_deployment(aws: Aws, stack_name: str, sides: Sequence[Side]) -> Iterator[Check]:
    """What only the deployment knows: its tag in the registry, and the endpoint's config."""

    def registry() -> Finding:
        uri = stack_outputs(aws, stack_name).get("ImageUri", "")
        tagged = described.tagged_digest(aws, uri)
        return conclusions.of_registry(tagged, [side.facts for side in sides])

    yield Check("registry", registry, "ecr:BatchGetImage")
    if any(side.facts.label == "SageMaker" for side in sides):
        probes = Probes(aws, stack_name, ROOT / "cdk.out", on_sagemaker=True)
        action = "sagemaker:DescribeEndpoint and cloudformation:DescribeStackResources"
        yield Check("endpoint config", probes.endpoint, action)
