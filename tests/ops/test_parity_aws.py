"""`python -m ops parity` of a deployed stack: stand-ins for AWS in front of the real server.

Lambda and SageMaker are scripted, and pass requests on to one face each; CloudFormation and ECR are
moto's. Five skews are planted in what the function runs, and each is found and named.
"""

import base64
import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import PHOTOS
from ops import faces
from ops.faces import ROOT, HttpFace
from ops.local import process_environment
from ops.manifests import MANIFEST
from serving import manifest

GOLDEN = Path(__file__).parent / "golden"
REPOSITORY = "cdk-hnb659fds-container-assets-123456789012-eu-central-1"
HOST = "123456789012.dkr.ecr.eu-central-1.amazonaws.com"
FUNCTION = "/2015-03-31/functions/the-function%3Alive"
ENDPOINT = "/endpoints/the-endpoint/invocations"
IDENTITY = "x-amzn-sagemaker-custom-attributes"
SETTINGS = {"MODEL_NAME": "efficientnet_lite0", "IMAGE_ID": "local", "URI_ALLOWLIST": "*"}
ROLE = "arn:aws:iam::123456789012:role/any"
ONCE = ("--repeats", "1")
FEW = (*ONCE, "--inputs", str(PHOTOS))


@dataclass
class Deployed:
    """What AWS tells of a stack, and the face behind each of its targets."""

    account: Any
    script: Any
    digest: str
    config: str
    on_lambda: HttpFace
    on_sagemaker: HttpFace

    def describe(
        self,
        *,
        digest: str = "",
        environment: Mapping[str, str] = SETTINGS,
        function: Mapping[str, Any] | None = None,
        endpoint: Mapping[str, Any] | None = None,
    ) -> None:
        """Script what Lambda (of the digest and environment) and SageMaker say."""
        image = f"{HOST}/{REPOSITORY}@"
        about = {"FunctionName": "the-function", "State": "Active", **(function or {})}
        self.script.json(
            FUNCTION,
            {
                "Configuration": {**about, "Environment": {"Variables": dict(environment)}},
                "Code": {"ResolvedImageUri": image + (digest or self.digest)},
            },
        )
        deployed = [{"ResolvedImage": image + self.digest}]
        self.script.json(
            "DescribeEndpoint",
            {
                "EndpointName": "the-endpoint",
                "EndpointStatus": "InService",
                "EndpointConfigName": self.config,
                "ProductionVariants": [{"VariantName": "v", "DeployedImages": deployed}],
                **(endpoint or {}),
            },
        )
        variant = {"VariantName": "v", "ModelName": "the-model"}
        self.script.json("DescribeEndpointConfig", {"ProductionVariants": [variant]})
        container = {"Image": image, "Environment": SETTINGS}
        self.script.json("DescribeModel", {"PrimaryContainer": container})

    def by_url(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        headers = {name: request.headers[name] for name in ("content-type", "accept")}
        reply = self.on_lambda.send("POST", "/invocations", headers, request.body)
        return (
            reply.status,
            {"X-Amzn-SageMaker-Custom-Attributes": reply.headers[IDENTITY]},
            reply.body,
        )

    def by_invocation(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        event = json.loads(request.body)
        assert event["version"] == "2.0"
        body = base64.b64decode(event["body"])
        reply = self.on_lambda.send("POST", event["rawPath"], event["headers"], body)
        answer = {
            "statusCode": reply.status,
            "headers": dict(reply.headers),
            "body": reply.body.decode(),
        }
        return 200, {}, json.dumps(answer).encode()

    def by_endpoint(self, request: Any) -> tuple[int, dict[str, str], bytes]:
        headers = {name: request.headers[name] for name in ("content-type", "accept")}
        reply = self.on_sagemaker.send("POST", "/invocations", headers, request.body)
        if reply.status == 200:
            return 200, {"X-Amzn-SageMaker-Custom-Attributes": reply.headers[IDENTITY]}, reply.body
        error = {"OriginalStatusCode": reply.status, "OriginalMessage": reply.body.decode()}
        return 424, {"x-amzn-ErrorType": "ModelError"}, json.dumps(error).encode()


def push(account: Any) -> str:
    """The digest of an image in the CDK's repository, tagged `deployed`."""
    ecr = account.client("ecr")
    ecr.create_repository(repositoryName=REPOSITORY)
    layer = {"mediaType": "a-layer", "size": 1, "digest": f"sha256:{'1' * 64}"}
    image = {"schemaVersion": 2, "mediaType": MANIFEST, "config": layer, "layers": [layer]}
    pushed = ecr.put_image(
        repositoryName=REPOSITORY,
        imageManifest=json.dumps(image),
        imageManifestMediaType=MANIFEST,
        imageTag="deployed",
    )
    return str(pushed["image"]["imageId"]["imageDigest"])


def deploy(account: Any, url: str) -> str:
    """The stack; the name that CloudFormation gave its endpoint config."""
    container = {"Image": f"{HOST}/{REPOSITORY}:deployed"}
    client = account.client("sagemaker")
    client.create_model(ModelName="m", PrimaryContainer=container, ExecutionRoleArn=ROLE)
    variant = {"VariantName": "v", "ModelName": "m", "InitialVariantWeight": 1}
    size = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    config = {"ProductionVariants": [{**variant, **size}]}
    outputs = {
        "ImageUri": f"{HOST}/{REPOSITORY}:deployed",
        "FunctionUrl": f"{url}/",
        "FunctionName": "the-function:live",
        "EndpointName": "the-endpoint",
    }
    resources = {"Config": {"Type": "AWS::SageMaker::EndpointConfig", "Properties": config}}
    account.deploy(outputs, resources)
    [made] = client.list_endpoint_configs()["EndpointConfigs"]
    return str(made["EndpointConfigName"])


@pytest.fixture
def deployed(
    account: Any, script: Any, face: HttpFace, monkeypatch: pytest.MonkeyPatch
) -> Deployed:
    """A stack of both targets, which are the same."""
    digest, config = push(account), deploy(account, script.url)
    # From here on: moto's own endpoints have no instances, and so no images.
    monkeypatch.setenv("AWS_ENDPOINT_URL_SAGEMAKER", script.url)
    found = Deployed(account, script, digest, config, face, face)
    found.describe()
    script.json("/2015-03-31/functions/the-function/aliases/live", {"Name": "live"})
    script.replies["/invocations"] = found.by_url
    script.replies[f"{FUNCTION}/invocations"] = found.by_invocation
    script.replies[ENDPOINT] = found.by_endpoint
    return found


@pytest.fixture
def parity(deployed: Deployed, ops: Callable[..., Any]) -> Callable[..., Any]:
    """`python -m ops parity ...` of that stack."""
    return lambda *arguments: ops("parity", "--stack", deployed.account.stack_name, *arguments)


def masked(text: str) -> str:
    """Without what differs from run to run and from CPU to CPU."""
    text = re.sub(r"http://127\.0\.0\.1:\d+", "http://HOST", text)
    text = re.sub(r" *\d+\.\d ms", " N ms", text)
    text = re.sub(r"EndpointConfig-\w+|Config-\w+", "CONFIG", text)
    text = re.sub(r"\b[0-9a-f]{12,64}\b", "HEX", text)
    text = re.sub(r"(0\.\d{3})\d+", r"\1", text)
    return re.sub(r"[ -]+", lambda found: found[0][0], text)  # a column is as wide as its cells


def timeless(told: Any) -> Any:
    """A report without times, and masked as the text is."""
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


@dataclass(frozen=True)
class Plant:
    """A difference in what the function runs, and what is said of it."""

    skews: list[str]
    says: str
    container: Path = ROOT / "container"
    environment: Mapping[str, str] | None = None
    same_image: bool = True


def other_image(_folder: Path) -> Plant:
    return Plant(["image", "registry"], "sha256:bbb", same_image=False)


def artifact(folder: Path, change: Callable[[Path], None]) -> dict[str, str]:
    """The environment of a face with a changed artifact, its manifest in order."""
    source = ROOT / "build" / "artifacts" / "efficientnet_lite0"
    copy = folder / "efficientnet_lite0"
    shutil.copytree(source, copy)
    change(copy)
    manifest.write(copy, manifest.read(source))
    return {"ARTIFACTS_DIR": str(folder)}


def other_artifact(folder: Path) -> Plant:
    def rename(copy: Path) -> None:
        labels = copy / "labels.txt"
        labels.write_text(labels.read_text().replace("tiger cat", "liger cat"))

    says = "liger cat ≠ tiger cat. Cause: the model"
    return Plant(["model", "answers"], says, environment=artifact(folder, rename))


def changed_constant(folder: Path) -> Plant:
    """Of the preprocessing, in the code: another image, of the same model."""
    container = folder / "container"
    shutil.copytree(ROOT / "container", container)
    images = container / "serving" / "images.py"
    text = images.read_text()
    assert text.count("np.float32(255)") == 1
    images.write_text(text.replace("np.float32(255)", "np.float32(256)"))
    says = "Cause: the image, in its code or libraries: the model is the same"
    return Plant(["image", "answers", "registry"], says, container, same_image=False)


def older_setting(_folder: Path) -> Plant:
    says = "MAX_BODY_BYTES: '100000' on Lambda, '4194304' on SageMaker; URI_ALLOWLIST: 'none' on"
    environment = {"URI_ALLOWLIST": "none", "MAX_BODY_BYTES": "100000"}
    return Plant(["settings", "answers"], says, environment=environment)


def perturbed_weight(folder: Path) -> Plant:
    """The last tensor, by a thousandth of each weight."""

    def perturb(copy: Path) -> None:
        weights = np.fromfile(copy / "model.onnx.data", np.float32)
        weights[-2000:] *= np.float32(1.001)
        weights.tofile(copy / "model.onnx.data")

    environment = artifact(folder, perturb)
    return Plant(["model", "answers"], "Cause: the model", environment=environment)


@contextmanager
def planted(plant: Plant) -> Iterator[HttpFace]:
    port = faces.free_port()
    command = [str(plant.container / "entry.sh"), "serve", "--host", "127.0.0.1"]
    environment = {**process_environment(), **(plant.environment or {})}
    with faces.running([*command, "--port", str(port)], environment) as process:
        found = HttpFace(f"http://127.0.0.1:{port}")
        faces.wait_until_healthy(found, process)
        yield found


@pytest.mark.parametrize(
    "plant", [other_image, other_artifact, changed_constant, older_setting, perturbed_weight]
)
def test_each_planted_skew_is_found_and_named(
    plant: Callable[[Path], Plant],
    deployed: Deployed,
    parity: Callable[..., Any],
    tmp_path: Path,
) -> None:
    it = plant(tmp_path)
    environment = {k: v for k, v in (it.environment or {}).items() if k != "ARTIFACTS_DIR"}
    digest = deployed.digest if it.same_image else f"sha256:{'b' * 64}"
    deployed.describe(digest=digest, environment={**SETTINGS, **environment})
    with planted(it) as deployed.on_lambda:
        done = parity("--json", *FEW)
    assert done.status == 1, done.err
    found = checks(done)
    assert report(done)["skews"] == it.skews
    assert {name for name, (state, _) in found.items() if state != "ok"} == set(it.skews)
    assert it.says in " ".join(says for _, says in found.values())


def test_a_skew_as_it_is_printed(
    deployed: Deployed, parity: Callable[..., Any], tmp_path: Path
) -> None:
    with planted(other_artifact(tmp_path)) as deployed.on_lambda:
        printed, machine = parity(*FEW), parity("--json", *FEW)
    assert (printed.status, machine.status) == (1, 1)
    assert masked(printed.out) == masked((GOLDEN / "parity_skew.txt").read_text())
    assert timeless(report(machine)) == json.loads((GOLDEN / "parity_skew.json").read_text())


def test_the_arithmetic_of_another_cpu_is_told_from_a_skew_of_ours(
    deployed: Deployed, parity: Callable[..., Any]
) -> None:
    def nearly(request: Any) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = deployed.by_url(request)
        return status, headers, body.replace(b'"prob":"0.384', b'"prob":"0.3844')

    deployed.script.replies["/invocations"] = nearly
    done = parity("--json", *FEW)
    assert (done.status, report(done)["skews"]) == (1, ["answers"])
    assert "Cause: CPU numerics" in checks(done)["answers"][1]
    done = parity("--json", "--tolerance", "0.001", *FEW)
    assert done.status == 0
    assert "the same within 0.001 (at most 3" in checks(done)["answers"][1]


def test_an_endpoint_that_went_back_by_itself(
    deployed: Deployed, parity: Callable[..., Any]
) -> None:
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
        ({"function": {"State": "Pending"}}, "the-function:live is being updated"),
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


def test_a_canary(deployed: Deployed, parity: Callable[..., Any]) -> None:
    alias = {"Name": "live", "RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1}}}
    deployed.script.json("/2015-03-31/functions/the-function/aliases/live", alias)
    done = parity()
    assert (done.status, "is being moved to another version" in done.err) == (2, True)


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


def test_a_target_that_cannot_be_asked(
    deployed: Deployed, parity: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    throttled = {"Reason": "ConcurrentInvocationLimitExceeded", "message": "Rate Exceeded."}
    deployed.script.json("/invocations", throttled, 429)
    done = parity(*FEW)
    assert (done.status, "the-function:live is throttled: Rate Ex" in done.err) == (2, True)
    deployed.script.json("/invocations", {"Message": "Forbidden"}, 403)
    done = parity(*FEW)
    assert (done.status, "the function URL answered 403" in done.err) == (2, True)
    deployed.script.deny(f"{FUNCTION}/invocations")
    done = parity("--function", *FEW)
    assert (done.status, "may not lambda:InvokeFunction" in done.err) == (2, True)
    deployed.script.json(
        f"{FUNCTION}/invocations", {}, 429, **{"x-amzn-ErrorType": "TooManyRequestsException"}
    )
    done = parity("--function", *FEW)
    assert (done.status, "is throttled" in done.err) == (2, True)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    done = parity()
    assert (done.status, "no AWS credentials were found" in done.err) == (2, True)


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
