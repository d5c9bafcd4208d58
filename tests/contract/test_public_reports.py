"""Check that both faces answer requests from public bug reports about other tools.

Each test names its report. The files reproduce those of the reports.
"""

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.cases import PHOTOS
from support.farm import Farm

FACES = pytest.mark.parametrize("kind", ["http process", "lambda process"])
JPEG, JSON = {"Content-Type": "image/jpeg"}, {"Content-Type": "application/json"}
# Java's client sends this header (JDK-8163921).
JAVA = "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"


def file(name: str) -> bytes:
    return (Path(__file__).parent / "reports" / name).read_bytes()


BASELINE, CAT = file("baseline.jpg"), (PHOTOS / "cat.jpg").read_bytes()
WRAPPED = json.loads(file("wrapped_base64.json"))["uri"]
PLAIN = WRAPPED.replace("\n", "")


def post(farm: Farm, kind: str, headers: Mapping[str, str], body: bytes) -> Any:
    reply = farm.face(kind, True).send("POST", "/invocations", headers, body)
    return reply.status, json.loads(reply.body)


def results(farm: Farm, kind: str, body: bytes) -> Any:
    status, answer = post(farm, kind, JPEG, body)
    assert status == 200
    return answer["results"]


@FACES
@pytest.mark.parametrize("name", ["samsung_sos.jpg", "jfif_2_01.jpg"])
def test_a_jpeg_with_warnings_of_libjpeg(name: str, kind: str, farm: Farm) -> None:
    """sharp#2445, OpenImageIO#2837, jhead#18: all viewers show these pictures."""
    assert results(farm, kind, file(name)) == results(farm, kind, BASELINE)


@FACES
def test_the_bytes_of_a_scan_in_a_colour_profile(kind: str, farm: Farm) -> None:
    """Pillow's icc_profile_big.jpg, is-progressive#2: the picture has 10 scans, not 50."""
    assert len(results(farm, kind, file("progressive_ffda_in_icc.jpg"))) == 5


@FACES
@pytest.mark.parametrize(
    "headers",
    [
        {**JPEG, "Accept": JAVA},  # smallrye-metrics#606
        {"Content-Type": "application/octet-stream"},  # sagemaker-python-sdk#2046
        {"Content-Type": "binary/octet-stream"},  # S3's for an object without one
        {"Content-Type": "image/jpg"},  # pytorch/serve#1153
        {"Content-Type": "application/x-www-form-urlencoded"},  # `curl --data-binary`
        {},
    ],
    ids=str,
)
def test_a_picture_with_unusual_headers(headers: dict[str, str], kind: str, farm: Farm) -> None:
    status, answer = post(farm, kind, headers, CAT)
    assert (status, answer["results"]) == (200, results(farm, kind, CAT))


@FACES
@pytest.mark.parametrize(
    "uri",
    [WRAPPED, PLAIN.rstrip("="), PLAIN.replace(";base64,", "; BASE64 ,"), f" {PLAIN}\n"],
    ids=["wrapped", "unpadded", "blanks before the comma", "blanks around it"],
)
def test_base64_that_browsers_read(uri: str, kind: str, farm: Farm) -> None:
    """Intervention/image#983."""
    assert uri != PLAIN
    found = post(farm, kind, JSON, json.dumps({"uri": uri}).encode())
    assert found == post(farm, kind, JSON, json.dumps({"uri": PLAIN}).encode())
    assert found[0] == 200


@FACES
def test_a_uri_after_a_blank(kind: str, farm: Farm) -> None:
    """requests#3696. The answer repeats the `uri` unchanged."""
    uri = f" {farm.upstream(kind).places['http']}/cat.jpg"
    status, answer = post(farm, kind, JSON, json.dumps({"uri": uri}).encode())
    assert (status, answer) == (200, {"uri": uri, "results": results(farm, kind, CAT)})


@FACES
@pytest.mark.parametrize("content_type", ["application/jsonlines", "application/json"])
def test_json_after_a_byte_order_mark(content_type: str, kind: str, farm: Farm) -> None:
    """Pode#1604; RFC 8259, 8.1."""
    lines = file("bom.jsonl")
    assert lines.startswith(b"\xef\xbb\xbf{")
    body = lines if content_type == "application/jsonlines" else lines.splitlines()[0]
    headers = {"Content-Type": content_type, "Accept": "application/json"}
    status, answer = post(farm, kind, headers, body)
    records = answer if isinstance(answer, list) else [answer]
    assert status == 200
    assert all(len(record["results"]) == 5 for record in records)


@FACES
def test_a_compressed_request_is_refused_by_its_header(kind: str, farm: Farm) -> None:
    headers = {**JSON, "Content-Encoding": "gzip"}
    status, answer = post(farm, kind, headers, gzip.compress(b'{"uri": "data:,"}'))
    assert (status, answer["error"]["code"]) == (415, "unsupported_media_type")
    assert answer["error"]["message"] == (
        "Content-Encoding 'gzip' is not supported: send the body uncompressed"
    )
