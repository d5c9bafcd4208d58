"""Events that AWS sends, and events that only somebody who may invoke the function could make."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fuzz.bodies import TYPES
from fuzz.garbage import METHODS, PATHS
from fuzz.plan import fuzzed, saw
from fuzz.server import Answer, judge
from fuzz.test_parser import texts, values
from ops.faces import ROOT
from ops.local import process_environment

TESTS = 3
Handler = Callable[[str], dict[str, Any]]
CHILD = Path(__file__).parent / "lambda_child.py"


@pytest.fixture(scope="module")
def handler() -> Iterator[Handler]:
    """Ask the handler in a process of its own: its import loads the model."""
    environment = {**process_environment(), "URI_ALLOWLIST": "none"}
    with subprocess.Popen(
        [sys.executable, CHILD],
        env={**environment, "PYTHONPATH": str(ROOT / "container")},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdin and child.stdout
        lines, results = child.stdin, child.stdout

        def ask(event: str) -> dict[str, Any]:
            lines.write(event + "\n")
            lines.flush()
            found: dict[str, Any] = json.loads(results.readline())
            return found

        yield ask
        lines.close()
    assert child.returncode == 0


anything = values | st.sampled_from([*METHODS, *PATHS, *TYPES, "{}", "e30=", "\ud800"])


def either(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return usual | usual | usual | anything


headers = either(
    st.dictionaries(st.sampled_from(["content-type", "Accept", "é"]) | texts, either(texts))
)
shared = {
    "body": either(texts | st.sampled_from(["{}", "e30=", '{"uri": "data:,"}', "[[", "=="])),
    "headers": headers,
    "isBase64Encoded": either(st.booleans()),
}
methods = either(st.just("POST") | st.sampled_from(METHODS))
paths = either(st.just("/invocations") | st.sampled_from(PATHS))
stages = either(st.sampled_from(["$default", "prod", ""]))
url_events = st.fixed_dictionaries(
    {
        "version": st.just("2.0"),
        "requestContext": st.fixed_dictionaries(
            {"http": either(st.fixed_dictionaries({"method": methods}))}, optional={"stage": stages}
        ),
        "rawPath": paths,
    },
    optional=shared,
)
alb_events = st.fixed_dictionaries(
    {
        "requestContext": st.fixed_dictionaries({"elb": anything}),
        "httpMethod": methods,
        "path": paths,
    },
    optional={
        **shared,
        "multiValueHeaders": either(st.dictionaries(texts, either(st.lists(either(texts))))),
    },
)


def check(event: str, handler: Handler) -> None:
    """Assert that there is an answer, and no exception: Lambda would hand over its traceback."""
    found = handler(event)
    assert found.keys() <= {"answer", "refused"}, found
    answer = found.get("answer")
    if not isinstance(answer, dict) or "statusCode" not in answer:
        saw("lambda", ["an answer" if "answer" in found else "refused"])
        return
    sent = answer.get("headers") or {k: v[0] for k, v in answer["multiValueHeaders"].items()}
    body = answer["body"].encode()
    fields = {"content-length": str(len(body)), **{k.lower(): v for k, v in sent.items()}}
    judge(Answer(answer["statusCode"], fields, body))
    saw("lambda", [answer["statusCode"]])


@fuzzed("lambda", TESTS)
@given(event=url_events.map(json.dumps))
def test_any_url_event_has_an_answer(event: str, handler: Handler) -> None:
    check(event, handler)


@fuzzed("lambda", TESTS)
@given(event=alb_events.map(json.dumps))
def test_any_load_balancers_event_has_an_answer(event: str, handler: Handler) -> None:
    check(event, handler)


@fuzzed("lambda", TESTS)
@given(event=anything.map(json.dumps))
@example(event="[" * 60 + "]" * 60)
@example(event="[" * 900 + "]" * 900)
@example(event="[" * 980 + "]" * 980)
@example(event="[" * 990 + "]" * 990)
@example(event='{"n": 1e999}')
@example(event='{"n": ' + "1" * 4300 + "}")
def test_any_direct_event_has_an_answer(event: str, handler: Handler) -> None:
    check(event, handler)
