"""The real CDK CLI runs the real app, as a user calls it."""

import json
from pathlib import Path

from support.programs import Done, cdk


def synth(outdir: Path, *context: str) -> Done:
    options = [option for value in context for option in ("-c", value)]
    return cdk("synth", "--quiet", "-o", outdir, *options)


MISTAKES = [
    "url_auth='x': it must be one of iam, none, off",
    "lambda_memory='512': there is no such key; did you mean lambda_memory_mb?",
    "zzz='1': there is no such key; docs/05-deployment.md lists all",
]


def test_every_mistake_is_one_line_without_a_traceback(tmp_path: Path) -> None:
    keys = ("url_auth=x", "lambda_memory=512", "zzz=1", "a:b=c")
    done = synth(tmp_path, "mode=sagemaker", *keys)
    assert done.returncode != 0
    # The CLI adds a line about its child process.
    ours = [line for line in done.stderr.splitlines() if "Subprocess exited" not in line]
    assert sorted(ours) == sorted(MISTAKES)
    assert "Traceback" not in done.stdout + done.stderr
    assert not list(tmp_path.glob("*.template.json"))


def test_the_stacks_name_the_switches_and_the_warning_are_the_users(tmp_path: Path) -> None:
    keys = ("stack_name=cats", "mode=both", "network_isolation=false", "url_auth=none")
    foreign = ("a:b=c", "@aws-cdk/of-somebody:else=true")
    done = synth(tmp_path, *keys, "lambda_reserved_concurrency=5", *foreign)
    assert done.returncode == 0, done.stderr
    template = json.loads((tmp_path / "cats.template.json").read_text())
    resources = {resource["Type"]: resource for resource in template["Resources"].values()}
    model = resources["AWS::SageMaker::Model"]
    assert model["Properties"]["EnableNetworkIsolation"] is False
    assert "AWS::Lambda::Url" in resources
    assert "AWS::CDK::Metadata" not in resources  # cdk.json turns analytics off
    assert "everybody can call the function's URL" in done.stderr
