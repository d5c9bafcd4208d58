"""Capacity of an endpoint: instances that are billed by the hour, or SageMaker Serverless."""

import math
import re
from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True, kw_only=True)
class Instances:
    """Run from `minimum` to `maximum` instances, as Application Auto Scaling decides."""

    instance_type: str = "ml.m5.large"
    minimum: int = 1  # 0 for asynchronous endpoints only
    maximum: int = 2
    invocations_per_minute: int = 3000  # of one instance, which scaling of real-time ones aims at

    @property
    def is_scaled(self) -> bool:
        """Return whether the number of instances changes."""
        return self.minimum < self.maximum

    @property
    def keeps_size(self) -> bool:
        """Return whether an update leaves the fleet at the size that scaling gave it.

        A fleet that may be scaled to none does not: the new image has to start all the same.
        """
        return self.is_scaled and self.minimum > 0

    @property
    def has_gpu(self) -> bool:
        """Return whether each instance has a GPU, for which the image is built."""
        return bool(re.match(r"ml\.[gp][0-9]", self.instance_type))

    @property
    def rolling_batch(self) -> int | None:
        """Return how many instances an update replaces at once; None for a second fleet beside.

        That would be expensive for three instances or more, and for two GPUs. AWS takes 5 to 50 %
        of the fleet, which may have any size that scaling gives it.
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_RollingUpdatePolicy.html
        """
        if self.minimum < (2 if self.has_gpu else 3):
            return None
        batch = math.ceil(self.maximum * 0.05)
        return batch if batch <= self.minimum // 2 else None


@dataclass(frozen=True, kw_only=True)
class Serverless:
    """Let SageMaker start containers as requests come, and bill by the call."""

    memory_mb: int = 3072
    max_concurrency: int = 10
    keeps_size: ClassVar[bool] = False
    rolling_batch: ClassVar[None] = None
    has_gpu: ClassVar[bool] = False


Capacity = Instances | Serverless
