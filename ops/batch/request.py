"""What CreateTransformJob is asked for. Nothing here does I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ops.aws import CannotAsk

LINES = "application/jsonlines"
# What the container announces as MaxPayloadInMB, but on machines of more than 25 CPUs: less.
DEFAULT_PAYLOAD_MB = 4
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateTransformJob.html
_MOST_MB = 100
_LONGEST_NAME = 63
# Of one request, whose records may be many. The default is 600.
# https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_ModelClientConfig.html
_TIMEOUT_SECONDS = 3600


@dataclass(frozen=True)
class Plan:
    """One job. What is None is left to the container, which SageMaker asks."""

    name: str
    model: str
    data_in: str
    data_out: str
    content_type: str = LINES
    instance_type: str = "ml.m5.large"
    instances: int = 1
    strategy: str | None = None
    max_payload_mb: int | None = None
    concurrency: int | None = None

    @property
    def in_lines(self) -> bool:
        """Whether a line is a record; else an object is."""
        return self.content_type == LINES

    @property
    def output(self) -> str:
        """Of this job alone: what another one wrote is not overwritten, nor taken for its own."""
        return f"{self.data_out.rstrip('/')}/{self.name}"

    @property
    def most_bytes(self) -> int:
        """Of one record."""
        return (self.max_payload_mb or DEFAULT_PAYLOAD_MB) * 1024**2

    def check(self) -> None:
        """Raises CannotAsk where AWS would refuse the job, or it could not do what it is for."""
        # https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TransformResources.html
        if re.match(r"ml\.[gp][0-9]", self.instance_type):
            raise CannotAsk(
                f"{self.instance_type} has a GPU, and a transform job's machine a driver that is "
                "older than the image's CUDA 13 wants",
                "take one with CPUs; for a GPU, send the records to an endpoint",
            )
        if (self.concurrency or 1) * (self.max_payload_mb or 1) > _MOST_MB:
            raise CannotAsk(
                f"--concurrency times --max-payload-mb is more than {_MOST_MB}", "lower either"
            )
        if self.strategy and not self.in_lines:
            raise CannotAsk(
                f"--strategy is about lines, and an object of {self.content_type} is one record",
                f"leave it out, or --content-type {LINES}",
            )

    def request(self) -> Mapping[str, Any]:
        """The arguments of CreateTransformJob."""
        chosen = {
            "BatchStrategy": self.strategy,
            "MaxPayloadInMB": self.max_payload_mb,
            "MaxConcurrentTransforms": self.concurrency,
        }
        return {
            "TransformJobName": self.name,
            "ModelName": self.model,
            "ModelClientConfig": {
                "InvocationsTimeoutInSeconds": _TIMEOUT_SECONDS,
                "InvocationsMaxRetries": 3,
            },
            **{name: value for name, value in chosen.items() if value is not None},
            "TransformInput": {
                "DataSource": {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": self.data_in}},
                "ContentType": self.content_type,
                "SplitType": "Line" if self.in_lines else "None",
            },
            "TransformOutput": {
                "S3OutputPath": self.output,
                "Accept": LINES if self.in_lines else "application/json",
                "AssembleWith": "None",  # each answer ends its own line
            },
            "TransformResources": {
                "InstanceType": self.instance_type,
                "InstanceCount": self.instances,
            },
        }


def job_name(stack_name: str, moment: str) -> str:
    """A name of letters, digits and single hyphens between them; `moment` makes it unique."""
    words = re.sub(r"-+", "-", stack_name)[: _LONGEST_NAME - len(moment) - 1]
    return f"{words.strip('-')}-{moment}"


def within(url: str, folder: str) -> bool:
    """Whether an s3:// URL is the folder, or below it."""
    return f"{url.rstrip('/')}/".startswith(f"{folder.rstrip('/')}/")
