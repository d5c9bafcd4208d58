"""Keep the records of Application Auto Scaling, without scaling anything."""

from collections.abc import Callable, Mapping
from typing import Any

from integration.deploy.plane import rules
from integration.deploy.plane.rules import Properties
from integration.deploy.plane.shapes import Refused, check

_KEY = ("ResourceId", "ScalableDimension", "ServiceNamespace")
_Key = tuple[str, ...]


class Scaling:
    """The scalable targets and policies of one account.

    `lambda_aliases` and `endpoint_variants` return the existing resources, the latter with the
    endpoint's kind.
    """

    def __init__(
        self,
        lambda_aliases: Callable[[], frozenset[str]],
        endpoint_variants: Callable[[], Mapping[str, str]],
    ) -> None:
        self._lambda_aliases, self._endpoint_variants = lambda_aliases, endpoint_variants
        self.targets: dict[_Key, dict[str, Any]] = {}
        self.policies: dict[str, dict[str, Any]] = {}

    def is_scaled(self, endpoint_name: str) -> bool:
        """Return True if the endpoint's variant has a scalable target."""
        return any(key[0].startswith(f"endpoint/{endpoint_name}/") for key in self.targets)

    def create_target(self, _logical_id: str, props: Properties, _stack: str) -> Any:
        resources = {**self._endpoint_variants(), **dict.fromkeys(self._lambda_aliases(), "lambda")}
        rules.check_scalable_target(props, resources)
        self.targets[_key(props)] = dict(props)
        physical_id = "|".join(_key(props))
        return physical_id, {"Id": physical_id}

    def delete_target(self, physical_id: str, _props: Properties) -> None:
        resource, dimension, namespace = physical_id.split("|")
        self.targets.pop((resource, dimension, namespace), None)

    def create_policy(self, logical_id: str, props: Properties, _stack: str) -> Any:
        record = dict(props)
        if identifier := record.pop("ScalingTargetId", None):
            record.update(zip(_KEY, identifier.split("|")))
        check("application-autoscaling", "PutScalingPolicy", record)
        if _key(record) not in self.targets:
            raise Refused(f"No scalable target registered for {_key(record)}")
        arn = f"arn:aws:autoscaling:::scalingPolicy:{logical_id}:{record['PolicyName']}"
        self.policies[arn] = record
        return arn, {"Arn": arn}

    def delete_policy(self, physical_id: str, _props: Properties) -> None:
        self.policies.pop(physical_id, None)


def _key(props: Properties) -> _Key:
    return tuple(props[name] for name in _KEY)
