"""`python -m ops parity` of a deployed stack: stand-ins for AWS in front of the real server.

Lambda and SageMaker are scripted, and pass requests on to one face each; CloudFormation and ECR are
moto's. Skews are planted in what the function runs, and each is found and named.
"""

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from integration.ops.deployed import ENDPOINT, FUNCTION, SETTINGS, Deployed
from integration.ops.operator_tools import ScriptedReply
from ops.local_servers import ROOT, EmulatedLambda, http_process, process_environment
from serving.artifact import manifest
from support.cases import PHOTOS

GOLDEN = Path(__file__).parent / "golden"
ONCE = ("--repeats", "1")
FEW = (*ONCE, "--inputs", str(PHOTOS))


@pytest.fixture
def parity(deployed: Deployed, ops: Callable[..., Any]) -> Callable[..., Any]:
    """Run `python -m ops parity ...` on that stack."""
    return lambda *arguments: ops("parity", "--stack", deployed.account.stack_name, *arguments)


def masked(text: str) -> str:
    """Mask what differs from run to run and from CPU to CPU."""
    text = re.sub(r"http://127\.0\.0\.1:\d+", "http://HOST", text)
    text = re.sub(r" *\d+\.\d ms", " N ms", text)
    text = re.sub(r"EndpointConfig-\w+|Config-\w+", "CONFIG", text)
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "HEX", text)
    text = re.sub(r"(0\.\d{3})\d+", r"\1", text)
    return re.sub(r"[ -]+", lambda found: found[0][0], text)  # a column is as wide as its cells


def timeless(told: Any) -> Any:
    """Return a report without times, and masked as the text is."""
    for answer in (a for one in told["inputs"] for a in one["answers"]):
        assert answer.pop("median_milliseconds") in answer.pop("milliseconds")
    return json.loads(masked(json.dumps(told)))


def report(done: Any) -> Any:
    return json.loads(done.out)


def checks(done: Any) -> dict[str, tuple[str, str]]:
    return {c["check"]: (c["state"], c["says"]) for c in report(done)["checks"]}


def test_both_targets_are_the_same(parity: Callable[..., Any], deployed: Deployed) -> None:
    done = parity()
    assert (done.status, done.err) == (0, "")
    assert masked(done.out) == masked((GOLDEN / "parity.txt").read_text())
    # Nothing is changed: AWS was asked to describe and to invoke.
    asked = {
        r.headers.get("x-amz-target", r.path).rpartition(".")[2] for r in deployed.script.asked
    }
    assert asked == {
        FUNCTION,
        "/2015-03-31/functions/the-function/aliases/live",
        "DescribeEndpoint",
        "DescribeEndpointConfig",
        "DescribeModel",
        "/invocations",
        ENDPOINT,
    }


def test_the_function_by_invocation_gives_the_same_bytes(
    parity: Callable[..., Any], deployed: Deployed
) -> None:
    done = parity("--function", "--json", *ONCE)
    assert done.status == 0, done.err
    assert all(d["identical"] for told in report(done)["inputs"] for d in told["differences"])
    paths = [request.path for request in deployed.script.asked]
    assert f"{FUNCTION}/invocations" in paths
    assert "/invocations" not in paths
    names = ("--function", "the-function:live", "--endpoint", "the-endpoint")
    done = parity(*names, "--json", *FEW)
    assert done.status == 0, done.err
    # Nothing is known of a stack there.
    assert list(checks(done)) == ["image", "model", "settings", "answers"]


def test_what_the_function_runs_is_another_image_with_another_setting(
    deployed: Deployed, parity: Callable[..., Any]
) -> None:
    """The deployment test plants these, and a constant and a weight, in real functions."""
    environment = {**SETTINGS, "URI_ALLOWLIST": "none", "MAX_BODY_BYTES": "100000"}
    deployed.describe(digest=f"sha256:{'b' * 64}", environment=environment)
    done = parity("--json", *FEW)
    assert done.status == 1, done.err
    found = checks(done)
    skews = ["image", "settings", "registry"]
    assert report(done)["skews"] == skews
    assert {name for name, (state, _) in found.items() if state != "ok"} == set(skews)
    assert "sha256:bbb" in found["image"][1]
    says = "MAX_BODY_BYTES: '100000' on Lambda, '4194304' on SageMaker; URI_ALLOWLIST: 'none' on"
    assert says in found["settings"][1]


def test_a_skew_as_it_is_printed(
    deployed: Deployed, parity: Callable[..., Any], tmp_path: Path
) -> None:
    """The function has another label in its artifact, whose manifest is in order."""
    source = ROOT / "build" / "artifacts" / "efficientnet_lite0"
    copy = tmp_path / source.name
    shutil.copytree(source, copy)
    labels = (copy / "labels.txt").read_text()
    (copy / "labels.txt").write_text(labels.replace("tiger cat", "liger cat"))
    manifest.write(copy, manifest.read(source))
    environment = {**process_environment(), "ARTIFACTS_DIR": str(tmp_path)}
    with http_process(environment) as deployed.on_lambda:
        printed, machine = parity(*FEW), parity("--json", *FEW)
    assert (printed.status, machine.status) == (1, 1)
    assert masked(printed.out) == masked((GOLDEN / "parity_skew.txt").read_text())
    assert timeless(report(machine)) == json.loads((GOLDEN / "parity_skew.json").read_text())


def test_the_arithmetic_of_another_cpu_is_tolerated_where_that_is_asked_for(
    deployed: Deployed, parity: Callable[..., Any]
) -> None:
    def nearly(request: Any) -> ScriptedReply:
        status, headers, body = deployed.by_url(request)
        return status, headers, body.replace(b'"prob":"0.384', b'"prob":"0.3844')

    deployed.script.replies["/invocations"] = nearly
    assert parity(*FEW).status == 1
    done = parity("--json", "--tolerance", "0.001", *FEW)
    assert done.status == 0
    assert "the same within 0.001 (at most 3" in checks(done)["answers"][1]


def test_a_function_of_the_other_architecture(
    parity: Callable[..., Any], deployed: Deployed
) -> None:
    """Its image is another one by necessity: that alone is no skew."""
    arm = {"Architectures": ["arm64"]}
    deployed.describe(digest=f"sha256:{'a' * 64}", function=arm)
    done = parity("--json", *FEW)
    assert checks(done)["image"][0] == "warning"
    assert [told["architecture"] for told in report(done)["targets"]] == ["arm64", "x86_64"]


def test_an_endpoint_that_went_back_by_itself(
    deployed: Deployed, parity: Callable[..., Any]
) -> None:
    deployed.describe(endpoint={"EndpointConfigName": deployed.config.upper()})
    assert parity(*FEW).status == 0, "SageMaker writes names in lower case where it likes"
    deployed.describe(endpoint={"EndpointConfigName": "before"})
    done = parity("--json", *FEW)
    assert (done.status, report(done)["skews"]) == (1, ["endpoint config"])
    assert "the-endpoint runs before, and the stack deployed" in checks(done)["endpoint config"][1]


@pytest.mark.parametrize(
    ("told", "says"),
    [
        ({"endpoint": {"EndpointStatus": "Updating"}}, "endpoint the-endpoint is Updating"),
        (
            {"endpoint": {"EndpointStatus": "Failed", "FailureReason": "no ping"}},
            "endpoint the-endpoint is Failed: no ping; its log group says why",
        ),
        ({"function": {"LastUpdateStatus": "InProgress"}}, "the-function:live is being updated"),
    ],
)
def test_a_target_in_motion(
    deployed: Deployed, parity: Callable[..., Any], told: dict[str, Any], says: str
) -> None:
    deployed.describe(**told)
    done = parity()
    assert (done.status, done.out) == (2, "")
    assert done.err.startswith("error: ")
    assert says in done.err


def test_a_stack_of_one_target(account: Any, script: Any, ops: Callable[..., Any]) -> None:
    account.deploy({"FunctionUrl": f"{script.url}/"})
    done = ops("parity", "--stack", account.stack_name)
    assert (done.status, done.out) == (2, "")
    assert "has no sagemaker target; `cdk deploy -c mode=both` makes it" in done.err


def test_one_target_alone_is_recorded_before_a_move(
    deployed: Deployed, parity: Callable[..., Any], tmp_path: Path
) -> None:
    kept = str(tmp_path / "kept.json")
    assert parity("--record", kept, "--lambda-url", *FEW).status == 0
    done = parity("--against", kept, "--endpoint", "--json", *FEW)
    assert done.status == 0, done.err
    assert [t["label"].partition(",")[0] for t in report(done)["targets"]] == [
        "Lambda",
        "SageMaker",
    ]
    # Both that there are, against what was.
    assert len(report(parity("--against", kept, "--json", *FEW))["targets"]) == 3


def test_what_may_not_be_described_is_not_told(
    deployed: Deployed, parity: Callable[..., Any]
) -> None:
    """The answers are compared all the same."""
    deployed.script.deny(FUNCTION, "DescribeModel")
    done = parity("--json", *FEW)
    assert (done.status, report(done)["same"]) == (2, None)
    found = checks(done)
    assert found["image"] == (
        "unknown",
        "not checked: these credentials may not lambda:GetFunction",
    )
    assert (found["model"][0], found["answers"][0]) == ("ok", "ok")


def test_a_function_that_forwards_everything(
    deployed: Deployed, parity: Callable[..., Any]
) -> None:
    """Its model was never asked, so equal answers say nothing of it."""

    def forwarded(request: Any) -> ScriptedReply:
        status, headers, body = deployed.by_url(request)
        return status, {**headers, "X-Served-By": "sagemaker"}, body

    deployed.script.replies["/invocations"] = forwarded
    done = parity("--json", *FEW)
    assert (done.status, report(done)["same"]) == (2, None)
    assert "the endpoint was compared with itself" in checks(done)["answers"][1]


def test_a_throttled_target(deployed: Deployed, parity: Callable[..., Any]) -> None:
    throttled = {"Reason": "ConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."}
    deployed.script.json("/invocations", throttled, 429)
    done = parity(*FEW)
    assert (done.status, "the-function:live is throttled: Rate Ex" in done.err) == (2, True)
    deployed.script.json(
        f"{FUNCTION}/invocations", {}, 429, **{"x-amzn-ErrorType": "TooManyRequestsException"}
    )
    done = parity("--function", *FEW)
    assert (done.status, "is throttled" in done.err) == (2, True)


def test_a_picture_that_is_too_large_is_an_answer_in_its_row(
    deployed: Deployed, parity: Callable[..., Any], tmp_path: Path
) -> None:
    """One picture of 5 MB ended the whole comparison.

    Lambda refuses the event; the endpoint's container refuses the body.
    """
    large = tmp_path / "large.jpg"
    large.write_bytes(bytes(5_000_000))
    says = {"message": "Request must be smaller than 6291456 bytes"}
    error = {"x-amzn-ErrorType": "RequestTooLargeException"}

    def by_invocation(request: Any) -> ScriptedReply:
        if len(request.body) > 6 * 1024**2:
            return 413, error, json.dumps(says).encode()
        return deployed.by_invocation(request)

    deployed.script.replies[f"{FUNCTION}/invocations"] = by_invocation
    done = parity("--function", "--json", *ONCE, "--inputs", str(large), str(PHOTOS / "cat.jpg"))
    assert done.status == 0, done.err
    rows = [[answer["status"] for answer in row["answers"]] for row in report(done)["inputs"]]
    assert rows == [[413, 413], [200, 200]]
    local = EmulatedLambda("http://127.0.0.1:9").send("POST", "/", {}, large.read_bytes())
    assert (local.status, json.loads(local.body)) == (413, says)


def test_a_function_that_fails_answers_otherwise(
    deployed: Deployed, parity: Callable[..., Any]
) -> None:
    failure = {"errorType": "Runtime.ExitError", "errorMessage": "exited"}
    deployed.script.json(
        f"{FUNCTION}/invocations", failure, **{"X-Amz-Function-Error": "Unhandled"}
    )
    done = parity("--function", "--json", *FEW)
    assert done.status == 1
    assert "status 502 ≠ 200" in checks(done)["answers"][1]
