"""`python -m ops batch [s3://IN s3://OUT]`: a transform job of the stack's model, from its request
to its answers.

The records are counted before and after, so that none is lost without a word. The stack needs the
keys batch_input and batch_output; IN and OUT, these by default, are they or below them.
"""

import argparse
import json
import time
from collections.abc import Mapping

from rich.console import Console
from rich.markup import escape

from ops.async_endpoint import split
from ops.aws import AWS_ERRORS, Aws, CannotAsk, add_stack_arguments, explain, stack_outputs
from ops.batch import job
from ops.batch.objects import Objects, Records, paired
from ops.batch.outcome import Outcome
from ops.batch.request import LINES, Plan, job_name, within

EXAMPLES = """\
examples:
  python -m ops batch --dry-run                    the request, and nothing is started
  python -m ops batch                              all that is below the stack's batch_input
  python -m ops batch s3://jobs/in/may s3://jobs/out --instances 4 --instance-type ml.c6i.xlarge
  python -m ops batch --content-type application/x-image    an object is a picture

exit status: 0 every record has its answer, which may be an error; 1 the job failed, or one has
none; 2 the stack or the job could not be asked
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.epilog, parser.formatter_class = EXAMPLES, argparse.RawDescriptionHelpFormatter
    parser.add_argument("data_in", nargs="?", metavar="s3://IN", help="an object, or a folder")
    parser.add_argument("data_out", nargs="?", metavar="s3://OUT", help="gets a folder of the job")
    add_stack_arguments(parser)
    parser.add_argument("--instance-type", default=Plan.instance_type, metavar="TYPE")
    parser.add_argument("--instances", type=int, default=1, metavar="N", help="share the objects")
    parser.add_argument("--content-type", default=LINES, help="default: %(default)s")
    parser.add_argument(
        "--strategy",
        choices=("SingleRecord", "MultiRecord"),
        help="records a request (default: one; several for a model of microseconds)",
    )
    parser.add_argument("--max-payload-mb", type=int, metavar="MB", help="of a request; default: 4")
    parser.add_argument("--concurrency", type=int, metavar="N", help="requests at once an instance")
    parser.add_argument("--no-count", action="store_true", help="do not read the objects to count")
    parser.add_argument("--dry-run", action="store_true", help="print the request, start nothing")
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: argparse.Namespace) -> int:
    """Exit status 0: every record has its answer; 1: failed or uneven; 2: could not ask."""
    errors = Console(stderr=True)
    try:
        aws = Aws(options.region)
        plan = plan_of(options, stack_outputs(aws, options.stack))
        plan.check()
        if options.dry_run:
            print(json.dumps(plan.request(), indent=2))
            return 0
        outcome = carry_out(aws, plan, errors, counts=not options.no_count)
    except CannotAsk as error:
        say = str(error)
    except AWS_ERRORS as error:  # before any call: a profile or a configuration that is none
        say = str(explain(error, "sagemaker:CreateTransformJob"))
    else:
        if options.json:
            print(json.dumps(outcome.as_json(), indent=2))
        else:
            for line in outcome.lines():
                Console().print(line, markup=False, highlight=False, soft_wrap=True)
        return 0 if outcome.ok else 1
    errors.print(f"error: {say}", style="red", markup=False, highlight=False, soft_wrap=True)
    return 2


def plan_of(options: argparse.Namespace, outputs: Mapping[str, str]) -> Plan:
    """Raises CannotAsk where the stack has no model for jobs, or its role no right to the data."""
    if "BatchModelName" not in outputs:
        raise CannotAsk(
            f"stack {options.stack} has no model for transform jobs",
            "`cdk deploy -c batch_input=s3://BUCKET/in -c batch_output=s3://BUCKET/out`, in any "
            "mode, makes one; it costs nothing while no job runs",
        )
    data_in = options.data_in or outputs["BatchInput"]
    data_out = options.data_out or outputs["BatchOutput"]
    for url, allowed, key in (
        (data_in, outputs["BatchInput"], "batch_input"),
        (data_out, outputs["BatchOutput"], "batch_output"),
    ):
        if not within(url, allowed):
            raise CannotAsk(
                f"{url} is not in {allowed}, and the jobs' role has no right to it",
                f"deploy with -c {key}=… that holds it",
            )
    # Without the slash the prefix would be that of other folders, too.
    data_in = outputs["BatchInput"] if within(outputs["BatchInput"], data_in) else data_in
    chosen = {
        name: getattr(options, name)
        for name in ("content_type", "instance_type", "instances", "strategy", "max_payload_mb")
    }
    name = job_name(options.stack, time.strftime("%Y%m%d-%H%M%S", time.gmtime()))
    model = outputs["BatchModelName"]
    return Plan(name, model, data_in, data_out, **chosen, concurrency=options.concurrency)


def carry_out(aws: Aws, plan: Plan, console: Console, *, counts: bool) -> Outcome:
    """Start the job, wait for it, and read what it left. Raises CannotAsk."""
    objects = Objects(aws.client("s3"))
    bucket, _ = split(plan.data_in)
    to_bucket, folder = split(plan.output)
    with console.status("looking at the input") as status:
        inputs = objects.below(plan.data_in)
        if not inputs:
            raise CannotAsk(f"there is no object below {plan.data_in}", "put the records there")
        into: dict[str, Records] = {}
        for key in inputs if counts else ():
            status.update(escape(f"counting the records of {key}"))
            into[key] = count = objects.records(bucket, key)
            if plan.in_lines and count.longest_bytes > plan.most_bytes:
                raise CannotAsk(
                    f"line {count.longest_line} of s3://{bucket}/{key} has {count.longest_bytes:,} "
                    f"bytes, and a record at most {plan.most_bytes:,}",
                    "shorten it (a uri instead of data:), or raise --max-payload-mb",
                )
        if not plan.in_lines:
            into = {key: Records(lines=1) for key in into}
        job.start(aws, plan)
        stop = f"aws sagemaker stop-transform-job --region {aws.region} --transform-job-name"
        console.print(f"started {plan.name}; `{stop} {plan.name}` ends it", soft_wrap=True)
        done = job.wait(aws, plan.name, lambda text: status.update(escape(f"{plan.name}: {text}")))
        found = paired(inputs, objects.below(f"{plan.output}/"), folder)
        outcome = Outcome(plan, done["TransformJobStatus"], done.get("FailureReason", ""), into)
        outcome.without = [key for key in inputs if key not in found]
        for key, output in found.items() if counts else ():
            status.update(escape(f"counting the answers of {key}"))
            outcome.out[key] = objects.records(to_bucket, output)
        if outcome.status != "Completed":
            outcome.log = job.last_words(aws, plan.name)
    return outcome
