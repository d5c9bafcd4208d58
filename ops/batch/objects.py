"""The objects of a job in S3: what goes in, what has come out, and how many records each holds."""

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ops.async_endpoint import split
from ops.aws import AWS_ERRORS, explain

_CHUNK_BYTES = 1024**2
_ERROR = b'{"error":'  # how the contract's error object starts


@dataclass(frozen=True)
class Records:
    """Of one object. A last line without an end counts, too."""

    lines: int = 0
    blank: int = 0
    longest_bytes: int = 0
    longest_line: int = 0
    errors: Mapping[str, int] = field(default_factory=dict)
    """How many lines are an error, by its code."""


class Objects:
    """S3, as one job sees it. Each method raises CannotAsk."""

    def __init__(self, s3: Any) -> None:
        self._s3 = s3

    def below(self, url: str) -> Sequence[str]:
        """The keys that SageMaker takes for the prefix `url`, but those of empty folders."""
        bucket, prefix = split(url)
        try:
            pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            found = [item for page in pages for item in page.get("Contents", [])]
        except AWS_ERRORS as error:
            raise explain(error, f"s3:ListBucket on {bucket}") from error
        return [item["Key"] for item in found if item["Size"] and not item["Key"].endswith("/")]

    def records(self, bucket: str, key: str) -> Records:
        """What is in an object, read once and not kept."""
        lines = blank = longest = longest_line = 0
        errors: Counter[str] = Counter()
        try:
            for line in self._lines(bucket, key):
                lines += 1
                blank += not line.strip()
                if len(line) > longest:
                    longest, longest_line = len(line), lines
                if line.startswith(_ERROR):
                    errors[_code(line)] += 1
        except AWS_ERRORS as error:
            raise explain(error, f"s3:GetObject on s3://{bucket}/{key}") from error
        return Records(lines, blank, longest, longest_line, errors)

    def _lines(self, bucket: str, key: str) -> Iterator[bytes]:
        rest = b""
        for chunk in self._s3.get_object(Bucket=bucket, Key=key)["Body"].iter_chunks(_CHUNK_BYTES):
            # Not splitlines, to which \r ends a line, too.
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest


def paired(inputs: Sequence[str], outputs: Sequence[str], folder: str) -> Mapping[str, str]:
    """The output of each input that has one, by key; `folder` is the key that outputs are below.

    AWS's documents do not agree on how much of an input's path is kept: any end of it will do.
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TransformOutput.html
    """
    found = {}
    for output in outputs:
        end = output.removeprefix(folder).lstrip("/")
        for key in inputs:
            if f"/{key}.out".endswith(f"/{end}"):
                found[key] = output
    return found


def _code(line: bytes) -> str:
    try:
        return str(json.loads(line)["error"]["code"])
    except (ValueError, KeyError, TypeError):
        return "?"
