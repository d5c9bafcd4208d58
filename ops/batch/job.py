"""A transform job at SageMaker: started, waited for, and asked why it failed."""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ops.aws import AWS_ERRORS, Aws, explain
from ops.batch.request import Plan

POLL_SECONDS = 15
_ENDED = ("Completed", "Failed", "Stopped")
# https://docs.aws.amazon.com/sagemaker/latest/dg/logging-cloudwatch.html
LOG_GROUP = "/aws/sagemaker/TransformJobs"


def start(aws: Aws, plan: Plan) -> None:
    """Raises CannotAsk."""
    try:
        aws.client("sagemaker").create_transform_job(**plan.request())
    except AWS_ERRORS as error:
        raise explain(error, "sagemaker:CreateTransformJob") from error


def wait(aws: Aws, name: str, tell: Callable[[str], None]) -> Mapping[str, Any]:
    """The job as SageMaker describes it when it has ended. Raises CannotAsk."""
    client = aws.client("sagemaker")
    started = time.monotonic()
    while True:
        try:
            found: Mapping[str, Any] = client.describe_transform_job(TransformJobName=name)
        except AWS_ERRORS as error:
            raise explain(error, "sagemaker:DescribeTransformJob") from error
        if found["TransformJobStatus"] in _ENDED:
            return found
        minutes, seconds = divmod(int(time.monotonic() - started), 60)
        tell(f"{found['TransformJobStatus']} for {minutes}:{seconds:02}")
        time.sleep(POLL_SECONDS)


def last_words(aws: Aws, name: str) -> Sequence[str]:
    """What SageMaker logged of the data: which object failed, and how. Empty where nobody may read
    it, or nothing is there."""
    try:
        pages = (
            aws.client("logs")
            .get_paginator("filter_log_events")
            .paginate(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{name}/")
        )
        events = [event for page in pages for event in page["events"]]
    except AWS_ERRORS:
        return []
    return [e["message"].strip() for e in events if e["logStreamName"].endswith("data-log")][-5:]
