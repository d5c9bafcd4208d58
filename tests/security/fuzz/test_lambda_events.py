"""Every event gets an answer, whether AWS or a direct caller would send it."""

import json
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ops.local_servers import HttpReply, process_environment
from security.fuzz.answers import answer_to, judge
from security.fuzz.garbage import METHODS, PATHS, TYPES
from security.fuzz.plan import fuzzed, saw
from security.fuzz.test_parser import texts


@pytest.fixture(scope="module")
def process() -> Iterator[ProcessPoolExecutor]:
    with (
        patch.dict(os.environ, {**process_environment(), "URI_ALLOWLIST": "none"}),
        ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool,
    ):
        yield pool


# Any JSON, including lone surrogates; integers stay within Python's limit.
numbers = st.integers() | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=20,
)
anything = values | st.sampled_from([*METHODS, *PATHS, *TYPES, "{}", "e30=", "\ud800"])


def mostly(usual: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return usual | usual | usual | anything


methods = mostly(st.just("POST") | st.sampled_from(METHODS))
paths = mostly(st.just("/invocations") | st.sampled_from(PATHS))
names = st.sampled_from(["content-type", "Accept", "é"]) | texts
shared = {
    "body": mostly(texts | st.sampled_from(["{}", "e30=", '{"uri": "data:,"}', "[[", "=="])),
    "headers": mostly(st.dictionaries(names, mostly(texts))),
    "isBase64Encoded": mostly(st.booleans()),
    "pathParameters": mostly(st.dictionaries(st.just("proxy"), paths)),
}
routes = mostly(st.sampled_from(["$default", "ANY /{proxy+}", "POST /invocations", "/{a}"]))
http = mostly(st.fixed_dictionaries({"method": methods}))
stages = mostly(st.sampled_from(["$default", "prod", ""]))
url_context = st.fixed_dictionaries({"http": http}, optional={"stage": stages})
url_events = st.fixed_dictionaries(
    {"version": st.just("2.0"), "requestContext": url_context, "rawPath": paths},
    optional={**shared, "routeKey": routes},
)
alb_context = st.fixed_dictionaries({}, optional={"elb": anything, "stage": stages})
values_of_headers = mostly(st.dictionaries(texts, mostly(st.lists(mostly(texts)))))
alb_events = st.fixed_dictionaries(
    {"requestContext": alb_context, "httpMethod": methods, "path": paths},
    optional={**shared, "resource": routes, "multiValueHeaders": values_of_headers},
)


@fuzzed("lambda")
@given(event=(url_events | alb_events | anything).map(json.dumps))
@example(event="[" * 990 + "]" * 990)
@example(event='{"n": ' + "1" * 4300 + "}")
def test_any_event_has_an_answer(event: str, process: ProcessPoolExecutor) -> None:
    """An exception would be a fault, since Lambda would return its traceback."""
    found = json.loads(process.submit(answer_to, event).result())
    assert found.keys() <= {"answer", "refused"}, found
    answer = found.get("answer")
    if not isinstance(answer, dict) or "statusCode" not in answer:
        saw("lambda", ["an answer" if "answer" in found else "refused"])
        return
    sent = answer.get("headers") or {k: v[0] for k, v in answer["multiValueHeaders"].items()}
    body = answer["body"].encode()
    fields = {"content-length": str(len(body)), **{k.lower(): v for k, v in sent.items()}}
    judge(HttpReply(answer["statusCode"], fields, body, 0.0))
    saw("lambda", [answer["statusCode"]])
