"""`python -m ops batch [s3://IN s3://OUT]`: run a transform job of the stack's model.

It counts the records before the job and the answers after it, to notice lost records. The stack
needs the keys batch_input and batch_output, the defaults of IN and OUT, which may be folders below.
"""

import argparse
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ops import cli
from ops.aws import AWS_ERRORS, Aws, CannotAsk, explained, split_s3, stack_outputs
from ops.commands.batch.objects import Records, count_records, keys_below, paired

LINES = "application/jsonlines"
# The container announces this as MaxPayloadInMB, and less on machines with more than 25 CPUs.
DEFAULT_PAYLOAD_MB = 4
# The limit applies to one request, which may hold many records. AWS's default is 600.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ModelClientConfig.html
TIMEOUT_SECONDS = 3600
POLL_SECONDS = 15
# https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
LOG_GROUP = "/aws/sagemaker/TransformJobs"

EXAMPLES = """\
examples:
  python -m ops batch --dry-run                    print the request, and start nothing
  python -m ops batch s3://jobs/in/may s3://jobs/out --instances 4 --instance-type ml.c6i.xlarge
  python -m ops batch --content-type application/x-image    send each object as a picture

exit status: 0 every record has an answer, which may be an error; 1 the job failed, or an answer is
missing; 2 AWS could not be asked
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_stack_arguments(parser)
    add = parser.add_argument
    add("data_in", nargs="?", metavar="s3://IN", help="an object, or a folder")
    add("data_out", nargs="?", metavar="s3://OUT", help="where the job adds a folder")
    add("--instance-type", default="ml.m5.large", metavar="TYPE", help="default: %(default)s")
    add("--instances", type=cli.COUNT, default=1, metavar="N", help="default: 1")
    add("--content-type", default=LINES, help="default: %(default)s")
    strategy = "records per request (default: one; use several for a model of microseconds)"
    add("--strategy", choices=["SingleRecord", "MultiRecord"], help=strategy)
    add("--max-payload-mb", type=cli.COUNT, metavar="MB", help="largest request; default: 4")
    add("--concurrency", type=cli.COUNT, metavar="N", help="concurrent requests per instance")
    add("--no-count", action="store_true", help="do not read the objects to count records")
    add("--dry-run", action="store_true", help="print the request and start nothing")
    cli.add_json_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Run the job; return 0 if every record has an answer, or else 1."""
    aws = Aws(options.region)
    request = request_of(options, stack_outputs(aws, options.stack))
    if options.dry_run:
        cli.print_json(request)
        return 0
    with cli.Spinner("reading the input") as spinner:
        s3 = aws.client("s3")
        limit = (options.max_payload_mb or DEFAULT_PAYLOAD_MB) * 1024**2
        keys, records = read_input(s3, request, limit, spinner.tell, count=not options.no_count)
        name = request["TransformJobName"]
        with explained("sagemaker:CreateTransformJob"):
            aws.client("sagemaker").create_transform_job(**request)
        stop = f"aws sagemaker stop-transform-job --region {aws.region} --transform-job-name"
        print(f"started {name}; `{stop} {name}` stops it", file=sys.stderr)
        job, output = wait(aws, name, spinner.tell), request["TransformOutput"]["S3OutputPath"]
        completed = job["TransformJobStatus"] == "Completed"
        result = {
            "job": name,
            "status": job["TransformJobStatus"],
            "reason": job.get("FailureReason", ""),
            "log": [] if completed else data_log(aws, name),
            **read_output(s3, output, keys, records, spinner.tell),
        }
    if options.json:
        cli.print_json({**result, "uneven": [*result["uneven"]]})
    else:
        cli.print_plain("\n".join(lines_of(result, counted=bool(records))))
    return 0 if completed and not result["without_output"] and not result["uneven"] else 1


def request_of(options: argparse.Namespace, outputs: Mapping[str, str]) -> dict[str, Any]:
    """Return the arguments of CreateTransformJob; SageMaker asks the container for the others.

    Raise CannotAsk for a job that would start and fail.
    """
    if "BatchModelName" not in outputs:
        deploy = "`cdk deploy -c batch_input=s3://BUCKET/in -c batch_output=s3://BUCKET/out`"
        fix = f"{deploy}, in any mode, creates one; it costs nothing while no job runs"
        raise CannotAsk(f"stack {options.stack} has no model for transform jobs", fix)
    folders = []
    for given, folder, key in (
        (options.data_in, outputs["BatchInput"], "batch_input"),
        (options.data_out, outputs["BatchOutput"], "batch_output"),
    ):
        url = given or folder
        if not f"{url.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/"):
            why = f"{url} is not in {folder}, so the jobs' role has no access to it"
            raise CannotAsk(why, f"deploy with -c {key}=… that contains it")
        # The deployed folder ends in a slash, so it excludes `input`.
        folders.append(max(url, folder, key=len))
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TransformResources.html
    if re.match(r"ml\.[gp][0-9]", options.instance_type):
        why = "a transform job's GPU driver is too old for the image's CUDA 13"
        fix = "choose a type without a GPU; for a GPU, send the records to an endpoint"
        raise CannotAsk(f"{options.instance_type} has a GPU, and {why}", fix)
    name, in_lines = job_name(options.stack), options.content_type == LINES
    source = {"S3DataType": "S3Prefix", "S3Uri": folders[0]}
    optional = {
        "BatchStrategy": options.strategy,
        "MaxPayloadInMB": options.max_payload_mb,
        "MaxConcurrentTransforms": options.concurrency,
    }
    return {
        "TransformJobName": name,
        "ModelName": outputs["BatchModelName"],
        "ModelClientConfig": {
            "InvocationsTimeoutInSeconds": TIMEOUT_SECONDS,
            "InvocationsMaxRetries": 3,
        },
        **{key: value for key, value in optional.items() if value is not None},
        "TransformInput": {
            "DataSource": {"S3DataSource": source},
            "ContentType": options.content_type,
            "SplitType": "Line" if in_lines else "None",
        },
        "TransformOutput": {
            # Each job gets a folder of its own, so that answers of jobs do not mix.
            "S3OutputPath": f"{folders[1].rstrip('/')}/{name}",
            "Accept": LINES if in_lines else "application/json",
            "AssembleWith": "None",  # each answer ends its own line
        },
        "TransformResources": {
            "InstanceType": options.instance_type,
            "InstanceCount": options.instances,
        },
    }


def job_name(stack: str) -> str:
    """Return a name of 63 characters at most, which the time makes unique."""
    return f"{stack[:47]}-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"


def read_input(
    s3: Any, request: Mapping[str, Any], limit: int, tell: cli.Tell, *, count: bool
) -> tuple[Sequence[str], dict[str, Records]]:
    """Return the input's keys and records. Raise CannotAsk, also for no key or a long record."""
    url = request["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"]
    bucket, _ = split_s3(url)
    keys = keys_below(s3, url)
    if not keys:
        raise CannotAsk(f"there is no object below {url}", "put the records there")
    if not count:
        return keys, {}
    if request["TransformInput"]["SplitType"] != "Line":
        return keys, {key: Records(lines=1) for key in keys}
    records = {}
    for key in keys:
        tell(f"counting the records of {key}")
        records[key] = count_records(s3, bucket, key, limit)
    return keys, records


def wait(aws: Aws, name: str, tell: cli.Tell) -> Mapping[str, Any]:
    """Return SageMaker's description of the job once it has ended. Raise CannotAsk."""
    client = aws.client("sagemaker")
    started = time.monotonic()
    while True:
        with explained("sagemaker:DescribeTransformJob"):
            found: Mapping[str, Any] = client.describe_transform_job(TransformJobName=name)
        if found["TransformJobStatus"] in ("Completed", "Failed", "Stopped"):
            return found
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        tell(f"{name}: {found['TransformJobStatus']} for {minutes}:{seconds:02}")
        time.sleep(POLL_SECONDS)


def read_output(
    s3: Any, output: str, keys: Sequence[str], records: Mapping[str, Records], tell: cli.Tell
) -> dict[str, Any]:
    """Count the answers, and find inputs with too few or too many. Raise CannotAsk."""
    bucket, folder = split_s3(output)
    outputs = paired(keys, keys_below(s3, f"{output}/"), folder)
    answers, uneven = {}, {}
    for key in (key for key in outputs if key in records):
        tell(f"counting the answers of {key}")
        answers[key] = found = count_records(s3, bucket, outputs[key])
        # AWS does not document whether a blank line is a record.
        if found.lines not in (records[key].lines, records[key].lines - records[key].blank):
            uneven[key] = (records[key].lines, found.lines)
    return {
        "output": f"{output}/",
        "records": sum(found.lines for found in records.values()),
        "answers": sum(found.lines for found in answers.values()),
        "errors": dict(sum((found.errors for found in answers.values()), Counter[str]())),
        "without_output": [key for key in keys if key not in outputs],
        "uneven": uneven,
    }


def data_log(aws: Aws, name: str) -> list[str]:
    """Return the last log lines about objects that failed, if they can be read."""
    try:
        paginator = aws.client("logs").get_paginator("filter_log_events")
        pages = paginator.paginate(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/")
        events = [event for page in pages for event in page["events"]]
    except AWS_ERRORS:
        return []
    logged = [e for e in events if e.get("logStreamName", "").endswith("data-log")]
    return [event.get("message", "").strip() for event in logged[-5:]]


def lines_of(result: Mapping[str, Any], *, counted: bool) -> Iterator[str]:
    name, status = result["job"], result["status"]
    yield f"{name}: {status}" + (f": {result['reason']}" if result["reason"] else "")
    yield from (f"  {line}" for line in result["log"])
    if status != "Completed":
        yield f"  its log: aws logs tail {LOG_GROUP} --log-stream-name-prefix {name}/"
    yield from (f"  no output of {key}" for key in result["without_output"])
    for key, (records, answers) in result["uneven"].items():
        yield f"  {key}: {records:,} records, {answers:,} answers"
    if counted:
        errors = result["errors"]
        codes = ", ".join(f"{code} {count:,}" for code, count in sorted(errors.items()))
        counts = f"{result['records']:,} records, {result['answers']:,} answers, "
        yield f"{counts}{sum(errors.values()):,} of them errors" + (f": {codes}" if codes else "")
    yield f"answers: {result['output']}"
