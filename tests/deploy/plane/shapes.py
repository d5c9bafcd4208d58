"""Whether properties are what AWS's own API models allow: botocore's service-2.json.

CloudFormation's resource types take the members of the API call that creates them, under the same
names, so the call's input shape judges the properties.
"""

import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape


class Refused(ValueError):
    """What AWS answers with a ValidationException."""


def check(service: str, operation: str, properties: Mapping[str, Any]) -> None:
    """Raises Refused with every violation of the operation's input shape."""
    shape = _model(service).operation_model(operation).input_shape
    if found := list(_violations(shape, properties, operation)):
        raise Refused(f"{len(found)} validation error(s) detected: {'; '.join(found)}")


def members(service: str, operation: str) -> frozenset[str]:
    """The names that the operation takes."""
    return frozenset(_model(service).operation_model(operation).input_shape.members)


@cache
def _model(service: str) -> ServiceModel:
    return ServiceModel(Loader().load_service_model(service, "service-2"), service)


def _violations(shape: Shape, value: Any, path: str) -> Iterator[str]:
    expected = _PYTHON_TYPES[shape.type_name]
    # A boolean is an int to Python and not to AWS.
    if not isinstance(value, expected) or isinstance(value, bool) != (expected is bool):
        yield f"{path} is {value!r}, not a {shape.type_name}"
        return
    yield from _limits(shape, value, path)
    if shape.type_name == "structure":
        for name in shape.required_members:
            if name not in value:
                yield f"{path}.{name} is required"
        for name, member in value.items():
            if name in shape.members:
                yield from _violations(shape.members[name], member, f"{path}.{name}")
            else:
                yield f"{path}.{name} is unknown"
    elif shape.type_name == "list":
        for index, member in enumerate(value):
            yield from _violations(shape.member, member, f"{path}[{index}]")
    elif shape.type_name == "map":
        for key, member in value.items():
            yield from _violations(shape.key, key, f"{path} key {key!r}")
            yield from _violations(shape.value, member, f"{path}[{key!r}]")


def _limits(shape: Shape, value: Any, path: str) -> Iterator[str]:
    metadata = shape.metadata
    measured = value if isinstance(value, int | float) else len(value)
    if not isinstance(value, bool):
        if measured < metadata.get("min", measured):
            yield f"{path} is {measured}, less than {metadata['min']}"
        if measured > metadata.get("max", measured):
            yield f"{path} is {measured}, more than {metadata['max']}"
    if isinstance(value, str):
        if "enum" in metadata and value not in metadata["enum"]:
            yield f"{path} is {value!r}, not one of {', '.join(metadata['enum'])}"
        pattern = metadata.get("pattern")
        if pattern and not re.fullmatch(_python_pattern(pattern), value):
            yield f"{path} is {value!r}, which does not match {pattern}"


def _python_pattern(pattern: str) -> str:
    """The model's regular expressions are Java's; what of them Python writes otherwise."""
    for java, python in _JAVA_CLASSES.items():
        pattern = pattern.replace(java, python)
    return pattern


_JAVA_CLASSES = {
    r"\p{L}": r"\w",
    r"\p{N}": r"\d",
    r"\p{Z}": r"\s",
    r"\p{Print}": "[^\\x00-\\x1f]",
    r"\uD800\uDC00-\uDBFF\uDFFF": r"\U00010000-\U0010FFFF",
}
_PYTHON_TYPES: Mapping[str, Any] = {
    "structure": Mapping,
    "map": Mapping,
    "list": list,
    "string": str,
    "boolean": bool,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
}
