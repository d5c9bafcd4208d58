"""The capacity of an endpoint: instances, which are billed by the hour, or SageMaker Serverless."""

import math
import re
from dataclasses import dataclass
from typing import ClassVar, Literal


@dataclass(frozen=True, kw_only=True)
class Instances:
    """Run `minimum` to `maximum` instances, as Application Auto Scaling decides."""

    kind: Literal["realtime", "async"]
    instance_type: str
    minimum: int  # 0 for asynchronous endpoints only
    maximum: int
    invocations_per_minute: int  # the calls that scaling aims for at a real-time instance

    @property
    def keeps_size(self) -> bool:
        """Return True if an update keeps the number of instances that scaling has set."""
        # From zero instances, an update has to start the new image.
        return 0 < self.minimum < self.maximum

    @property
    def has_gpu(self) -> bool:
        return bool(re.match(r"ml\.[gp][0-9]", self.instance_type))

    @property
    def rolling_batch(self) -> int | None:
        """Return the number of instances that an update replaces at once; None for blue/green.

        A second fleet would be expensive for three instances or two GPUs. AWS allows 5 to 50 % of
        the fleet, whose size scaling may change.
        https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_RollingUpdatePolicy.html
        """
        if self.minimum < (2 if self.has_gpu else 3):
            return None
        batch = math.ceil(self.maximum * 0.05)
        return batch if batch <= self.minimum // 2 else None


@dataclass(frozen=True, kw_only=True)
class Serverless:
    """Let SageMaker start containers for requests, and bill by the call."""

    memory_mb: int
    max_concurrency: int
    kind: ClassVar = "serverless"
    instance_type: ClassVar = ""
    keeps_size: ClassVar[bool] = False
    has_gpu: ClassVar[bool] = False
    rolling_batch: ClassVar[None] = None


Capacity = Instances | Serverless
