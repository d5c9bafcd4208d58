"""Find a job's input and output objects in S3, and count their records."""

import io
import json
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from ops.aws import CannotAsk, explained, split_s3

_CHUNK_BYTES = 1024**2
_ERROR = b'{"error":'  # the start of the contract's error object


@dataclass
class Records:
    """The lines of one object, with or without a final newline. `errors` counts error codes."""

    lines: int = 0
    blank: int = 0
    errors: Counter[str] = field(default_factory=Counter)


def keys_below(s3: Any, url: str) -> Sequence[str]:
    """Return the keys that SageMaker finds below a prefix, without folders. Raise CannotAsk."""
    bucket, prefix = split_s3(url)
    with explained(f"s3:ListBucket on {bucket}"):
        pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [item for page in pages for item in page.get("Contents", [])]
    return [item["Key"] for item in found if item["Size"] and not item["Key"].endswith("/")]


def count_records(s3: Any, bucket: str, key: str, limit: float = math.inf) -> Records:
    """Stream an object and count its lines. Raise CannotAsk, also for a line over the limit."""
    found = Records()
    with explained(f"s3:GetObject on s3://{bucket}/{key}"):
        body = s3.get_object(Bucket=bucket, Key=key)["Body"]
        # The body's own iter_lines also splits at \r.
        for whole in io.BufferedReader(body, _CHUNK_BYTES):
            line = whole.removesuffix(b"\n")
            found.lines += 1
            found.blank += not line.strip()
            if len(line) > limit:
                place = f"line {found.lines} of s3://{bucket}/{key} has {len(line):,} bytes"
                fix = "shorten it (use another uri than data:), or raise --max-payload-mb"
                raise CannotAsk(f"{place}, but a record may have {limit:,}", fix)
            if line.startswith(_ERROR):
                code = "?"
                with suppress(ValueError, KeyError, TypeError):
                    code = str(json.loads(line)["error"]["code"])
                found.errors[code] += 1
    return found


def paired(inputs: Sequence[str], outputs: Sequence[str], folder: str) -> Mapping[str, str]:
    """Map each input that has an output to it; `folder` is the key above the outputs.

    AWS's documents disagree on how much of an input's path an output keeps, so any end of the path
    is accepted. An output belongs to one input.
    https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_TransformOutput.html
    """
    by_name = defaultdict(list)
    for key in sorted(inputs, key=len):
        by_name[f"{key.rpartition('/')[2]}.out"].append(key)
    found = {}
    # Longest first, so that `retry/part-0.out` takes its input before `part-0.out` does.
    for output in sorted(outputs, key=len, reverse=True):
        end = f"/{output.removeprefix(folder).lstrip('/')}"
        for key in by_name[output.rpartition("/")[2]]:
            if key not in found and f"/{key}.out".endswith(end):
                found[key] = output
                break
    return found
