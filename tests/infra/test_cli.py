"""The real CDK CLI on the real app, as a user calls it."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
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


def test_a_wrong_mode_is_one_line_that_names_the_choices(tmp_path: Path) -> None:
    done = synth(tmp_path, "mode=x")
    assert done.returncode != 0
    # The CLI adds that its child failed.
    ours = [line for line in done.stderr.splitlines() if "Subprocess exited" not in line]
    assert ours == ["mode='x': it must be one of lambda, sagemaker, both"]
    assert "Traceback" not in done.stdout + done.stderr


def test_mistakes_are_reported_together(tmp_path: Path) -> None:
    done = synth(tmp_path, "mode=x", "lambda_memory_mb=false", "instance_type=m5.large")
    assert done.returncode != 0
    ours = [line for line in done.stderr.splitlines() if "Subprocess exited" not in line]
    keys = [line.partition("=")[0] for line in ours]
    assert keys == ["mode", "lambda_memory_mb", "instance_type"]


def test_the_stacks_name_is_the_users(tmp_path: Path) -> None:
    done = synth(tmp_path, "stack_name=cats")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "cats.template.json").exists()
