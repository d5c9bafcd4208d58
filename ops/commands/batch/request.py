"""Build the request of CreateTransformJob. Nothing here does I/O."""

import argparse
import re
from collections.abc import Mapping
from typing import Any

from ops.aws import CannotAsk

LINES = "application/jsonlines"
# The container announces this as MaxPayloadInMB, and less on machines with more than 25 CPUs.
DEFAULT_PAYLOAD_MB = 4
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
_MAX_CONCURRENT_MB = 100
_MAX_NAME = 63
# The limit applies to one request, which may hold many records. AWS's default is 600.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ModelClientConfig.html
_TIMEOUT_SECONDS = 3600


def request_of(
    options: argparse.Namespace, outputs: Mapping[str, str], moment: str
) -> dict[str, Any]:
    """Return the arguments of CreateTransformJob; SageMaker asks the container for the others.

    Raise CannotAsk if the stack has no model for jobs, if the model's role may not read or write
    the data, or if AWS would refuse the job.
    """
    if "BatchModelName" not in outputs:
        deploy = "`cdk deploy -c batch_input=s3://BUCKET/in -c batch_output=s3://BUCKET/out`"
        fix = f"{deploy}, in any mode, creates one; it costs nothing while no job runs"
        raise CannotAsk(f"stack {options.stack} has no model for transform jobs", fix)
    data_in = options.data_in or outputs["BatchInput"]
    data_out = options.data_out or outputs["BatchOutput"]
    for url, output, key in (
        (data_in, "BatchInput", "batch_input"),
        (data_out, "BatchOutput", "batch_output"),
    ):
        if not is_within(url, outputs[output]):
            why = f"{url} is not in {outputs[output]}, so the jobs' role has no access to it"
            raise CannotAsk(why, f"deploy with -c {key}=… that contains it")
    if is_within(outputs["BatchInput"], data_in):
        data_in = outputs["BatchInput"]  # ends in a slash, so it excludes `input`
    in_lines = options.content_type == LINES
    # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TransformResources.html
    if re.match(r"ml\.[gp][0-9]", options.instance_type):
        why = "a transform job's GPU driver is too old for the image's CUDA 13"
        fix = "choose a type without a GPU; for a GPU, send the records to an endpoint"
        raise CannotAsk(f"{options.instance_type} has a GPU, and {why}", fix)
    if (options.concurrency or 1) * (options.max_payload_mb or 1) > _MAX_CONCURRENT_MB:
        why = f"--concurrency times --max-payload-mb is more than {_MAX_CONCURRENT_MB}"
        raise CannotAsk(why, "lower either")
    if options.strategy and not in_lines:
        why = f"--strategy is about lines, but an object of {options.content_type} is one record"
        raise CannotAsk(why, f"leave it out, or use --content-type {LINES}")
    optional = {
        "BatchStrategy": options.strategy,
        "MaxPayloadInMB": options.max_payload_mb,
        "MaxConcurrentTransforms": options.concurrency,
    }
    name = job_name(options.stack, moment)
    limits = {"InvocationsTimeoutInSeconds": _TIMEOUT_SECONDS, "InvocationsMaxRetries": 3}
    machines = {"InstanceType": options.instance_type, "InstanceCount": options.instances}
    return {
        "TransformJobName": name,
        "ModelName": outputs["BatchModelName"],
        "ModelClientConfig": limits,
        **{key: value for key, value in optional.items() if value is not None},
        "TransformInput": {
            "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": data_in}},
            "ContentType": options.content_type,
            "SplitType": "Line" if in_lines else "None",
        },
        "TransformOutput": {
            # Each job gets a folder of its own, so that answers of jobs do not mix.
            "S3OutputPath": f"{data_out.rstrip('/')}/{name}",
            "Accept": LINES if in_lines else "application/json",
            "AssembleWith": "None",  # each answer ends its own line
        },
        "TransformResources": machines,
    }


def job_name(stack_name: str, moment: str) -> str:
    """Return a name of letters, digits and single hyphens; `moment` makes it unique."""
    words = re.sub(r"-+", "-", stack_name)[: _MAX_NAME - len(moment) - 1]
    return f"{words.strip('-')}-{moment}"


def is_within(url: str, folder: str) -> bool:
    """Check whether an s3:// URL is the folder or below it."""
    return f"{url.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")
