"""`ops plan` on the app's own templates, and names that the tools and the app share."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest

from infra.config.context import read_config
from ops import targets
from ops.aws import STACK_NAME
from ops.commands import plan
from ops.commands.doctor import account
from ops.local_servers import ROOT, process_environment
from support.templates import MODEL_DATA, MODEL_ID


def test_what_each_mode_would_create(ops: Callable[..., Any]) -> None:
    """Every mode has the examiner's function, but only the target has a URL."""
    done = ops("plan", "--json")
    assert done.status == 0, done.err
    plans = json.loads(done.out)
    for kind, mode in (("Lambda::Url", "lambda"), ("SageMaker::Endpoint", "sagemaker")):
        assert [name for name, plan in plans.items() if f"AWS::{kind}" in plan] == [mode, "both"]


def test_what_the_next_deployment_would_remove_or_swap(
    account: Any, ops: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A plain `cdk deploy` does not know the keys of an earlier -c."""
    model = {"model_data": MODEL_DATA, "model_id": MODEL_ID}
    deployed = {"mode": "both", "lambda_memory_mb": "3008", **model}
    account.deploy({"ContextKeys": json.dumps(deployed)})
    stack = ("--stack", account.stack_name)
    checks = json.loads(ops("doctor", "--json", *stack).out)["checks"]
    (found,) = (check for check in checks if check["check"] == "next deployment")
    assert found["state"] == "warning"
    assert f"model_data: {MODEL_DATA} -> the default (serves another model)" in found["says"]
    assert "lambda_memory_mb: 3008 -> the default" in found["says"]
    repeat = f"cdk deploy -c mode=both -c lambda_memory_mb=3008 -c model_data={MODEL_DATA}"
    assert repeat in found["fix"]

    asked = ["plan", "--deployed", *stack]
    asked += [option for key in deployed for option in ("-c", f"{key}={deployed[key]}")]
    done = ops(*asked)
    assert (done.status, done.out) == (0, "the keys are those that were deployed\n"), done.err

    def only_keys(context: Mapping[str, Any]) -> Any:
        """Replace a synthesis, which takes seconds."""
        return {"Outputs": {plan.KEYS_OUTPUT: {"Value": json.dumps(read_config(context).given)}}}

    monkeypatch.setattr(plan, "synthesize", only_keys)
    done = ops(*asked, "-c", "mode=lambda", "--json")
    assert json.loads(done.out) == {"changes": ["mode: both -> lambda (removes the endpoint)"]}
    done = ops(*asked, "-c", "mode=sagemaker", "-c", "instance_type=ml.c5.large")
    assert done.out.splitlines() == [
        "instance_type: the default -> ml.c5.large (replaces the endpoint by one of another name)",
        "mode: both -> sagemaker (removes the function and its URL)",
    ]
    done = ops(*asked, "-c", "mode=sagemaker", "-c", "keep_url=true")
    expected = ["keep_url: the default -> true", "mode: both -> sagemaker"]
    assert done.out.splitlines() == expected
    done = ops(*asked, "-c", "url_auth=off")
    assert done.out == "url_auth: the default -> off (removes the function URL)\n"


def test_a_stack_of_an_older_version_kept_no_keys(account: Any, ops: Callable[..., Any]) -> None:
    account.deploy({"EndpointName": "e"})
    done = ops("plan", "--deployed", "--stack", account.stack_name)
    assert done.status == 2
    assert "no output ContextKeys" in done.err
    assert "`cdk diff`" in done.err


def test_the_tools_and_the_app_agree(tmp_path: Path) -> None:
    """They do not import each other, so compare their common names here."""
    variables = {"PATH": process_environment()["PATH"], "CDK_OUTDIR": str(tmp_path)}
    variables["CDK_CONTEXT_JSON"] = json.dumps({"mode": "both", "sagemaker_type": "async"})
    app, env = [sys.executable, ROOT / "app.py"], {**os.environ, **variables}
    subprocess.run(app, env=env, check=True, capture_output=True)
    template = json.loads((tmp_path / f"{STACK_NAME}.template.json").read_text())
    read = {*sum(targets.OUTPUTS.values(), ()), targets.ASYNC_OUTPUT, plan.KEYS_OUTPUT, "ImageUri"}
    assert read <= template["Outputs"].keys()
    parameter = template["Parameters"]["BootstrapVersion"]["Default"]
    assert parameter == account.BOOTSTRAP_PARAMETER.format(account.DEFAULT_QUALIFIER)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    asked = manifest["artifacts"][STACK_NAME]["properties"]
    assert asked["bootstrapStackVersionSsmParameter"] == parameter
    (rule,) = template["Rules"]["CheckBootstrapVersion"]["Assertions"]
    assert f"version {account.BOOTSTRAP_VERSION} required" in rule["AssertDescription"]
    assert (tmp_path / f"{STACK_NAME}.assets.json").is_file()
