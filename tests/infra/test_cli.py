"""The real CDK CLI on the real app, as a user calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ops.faces import ROOT

BIN = Path(sys.executable).parent


def synth(outdir: Path, *context: str) -> subprocess.CompletedProcess[str]:
    """`cdk synth -c CONTEXT...` in the repository root, into `outdir`."""
    options = [option for value in context for option in ("-c", value)]
    return subprocess.run(
        [BIN / "cdk", "synth", "--no-notices", "--quiet", "-o", outdir, *options],
        cwd=ROOT,
        env={
            **os.environ,
            "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}",
            "CDK_DISABLE_CLI_TELEMETRY": "true",
            "PYTHONDONTWRITEBYTECODE": "1",
        },
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.mark.parametrize(
    ("mode", "targets"),
    [
        ("lambda", {"AWS::Lambda::Url"}),
        ("sagemaker", {"AWS::SageMaker::Endpoint"}),
        ("both", {"AWS::Lambda::Url", "AWS::SageMaker::Endpoint"}),
    ],
)
def test_synth_of_each_mode(tmp_path: Path, mode: str, targets: set[str]) -> None:
    done = synth(tmp_path, f"mode={mode}")
    assert done.returncode == 0, done.stderr
    template = json.loads((tmp_path / "DualInferenceStack.template.json").read_text())
    types = {resource["Type"] for resource in template["Resources"].values()}
    assert types & {"AWS::Lambda::Url", "AWS::SageMaker::Endpoint"} == targets
    assert "AWS::CDK::Metadata" not in types  # cdk.json reports nothing to anyone


@pytest.mark.parametrize(
    ("context", "mistakes"),
    [
        pytest.param(["mode=x"], ["mode='x'"], id="one key"),
        pytest.param(
            ["mode=x", "lambda_memory_mb=false", "instance_type=m5.large"],
            ["mode='x'", "instance_type='m5.large'", "lambda_memory_mb='false'"],
            id="three keys",
        ),
        pytest.param(
            [
                "mode=sagemaker",
                "sagemaker_type=serverless",
                "network_isolation=true",
                "data_capture_percent=5",
                "url_auth=none",
            ],
            ["url_auth='none'", "data_capture_percent='5'", "network_isolation='true'"],
            id="three combinations",
        ),
    ],
)
def test_every_mistake_is_one_line_without_a_traceback(
    tmp_path: Path, context: list[str], mistakes: list[str]
) -> None:
    done = synth(tmp_path, *context)
    assert done.returncode != 0
    # The CLI adds that its child failed.
    ours = [line for line in done.stderr.splitlines() if "Subprocess exited" not in line]
    assert [line.partition(": it must be ")[0] for line in ours] == mistakes
    assert all(line.partition(": it must be ")[2] for line in ours)
    if mistakes == ["mode='x'"]:
        assert ours == ["mode='x': it must be one of lambda, sagemaker, both"]
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.template.json"))


def test_a_key_that_does_not_exist_is_refused_with_a_hint(tmp_path: Path) -> None:
    """The CLI hands over what it adds by itself, such as aws:cdk:enable-path-metadata, too."""
    done = synth(tmp_path, "lambda_memory=512", "vpc_id=vpc-1", "zzz=1", "mode=both", "a:b=c")
    assert done.returncode != 0
    ours = [line for line in done.stderr.splitlines() if "Subprocess exited" not in line]
    assert sorted(ours) == [
        "lambda_memory='512': there is no such key; did you mean lambda_memory_mb?",
        "vpc_id='vpc-1': there is no such key; subnet_ids and security_group_ids say it all",
        "zzz='1': there is no such key; docs/05-deployment.md lists all",
    ]
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.template.json"))


def test_the_stacks_name_the_switches_and_the_warning_are_the_users(tmp_path: Path) -> None:
    done = synth(
        tmp_path,
        "stack_name=cats",
        "mode=both",
        "network_isolation=false",
        "url_auth=none",
        "lambda_reserved_concurrency=5",
        "a:b=c",  # whose these are, they are none of ours
        "@aws-cdk/of-somebody:else=true",
    )
    assert done.returncode == 0, done.stderr
    template = json.loads((tmp_path / "cats.template.json").read_text())
    (model,) = (r for r in template["Resources"].values() if r["Type"] == "AWS::SageMaker::Model")
    assert model["Properties"]["EnableNetworkIsolation"] is False
    assert "everybody can call the function's URL" in done.stderr
