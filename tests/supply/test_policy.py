"""What SECURITY.md says of this repository is so."""

import re
from collections import Counter

from security.audit import load_exceptions
from security.locks import ROOT

POLICY = (ROOT / "SECURITY.md").read_text()


def test_what_it_names_exists() -> None:
    named = set(re.findall(r"`((?:tests|security)/[\w/.]+)`", POLICY))
    named |= {link for link in re.findall(r"\]\(([^)#]+)\)", POLICY) if "://" not in link}
    assert "tests/hostile" in named
    assert {path for path in named if not (ROOT / path).exists()} == set()


def test_it_counts_the_advisories_about_what_mxnet_holds_back() -> None:
    words = {"one": 1, "two": 2, "thirteen": 13}
    text = " ".join(POLICY.split())
    said = {
        package.lower(): words[count]
        for count, package in re.findall(r"(\w+) about (GluonCV|onnx|protobuf)", text)
    }
    counted = Counter(exception.package for exception in load_exceptions())
    assert said == {name: counted[name] for name in ("gluoncv", "onnx", "protobuf")}


def test_every_build_argument_that_it_names_is_one() -> None:
    dockerfile = (ROOT / "container/Dockerfile").read_text()
    (tag,) = re.findall(r"`…(/python:\S+)@sha256:…`", POLICY)
    assert re.search(rf"^ARG BASE_IMAGE=\S+{re.escape(tag)}$", dockerfile, re.MULTILINE)
    assert "--build-arg WITH_MXNET=0" in POLICY
    assert "ARG WITH_MXNET=1" in dockerfile
    assert not re.search(r"^USER ", dockerfile, re.MULTILINE)
