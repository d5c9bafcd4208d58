"""Check properties against AWS's own API models: botocore's service-2.json.

A CloudFormation resource type has the members of the API call that creates it, so that call's input
shape applies to its properties. botocore's validator does not check upper limits, enumerations and
patterns; cfn-lint does in tests/integration/cdk.
"""

from collections.abc import Mapping
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator


class Refused(ValueError):
    """A request that AWS answers with a ValidationException."""


def check(service: str, operation: str, properties: Mapping[str, Any]) -> None:
    """Raise Refused with every violation of the operation's input shape."""
    errors = ParamValidator().validate(properties, input_shape(service, operation))
    if errors.has_errors():
        raise Refused(errors.generate_report())


@cache
def input_shape(service: str, operation: str) -> Any:
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service)
    return model.operation_model(operation).input_shape
