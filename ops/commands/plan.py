"""`python -m ops plan`: list what each mode would create, or what the next deployment changes.

It reads the synthesized templates.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rich.table import Column, Table

from ops import cli
from ops.aws import Aws, CannotAsk, stack_outputs
from ops.local_servers import ROOT, process_environment

EXAMPLES = """\
examples:
  python -m ops plan --json                        print JSON for a script
  python -m ops plan --deployed                    list what a plain `cdk deploy` would change
  python -m ops plan --deployed -c mode=sagemaker
"""
_FIX = "`pip install -r requirements.txt` installs its packages; `cdk synth` prints more"
KEYS_OUTPUT = "ContextKeys"
MODES = ("lambda", "sagemaker", "both")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    cli.add_stack_arguments(parser)
    add = parser.add_argument
    add("--deployed", action="store_true", help="compare the keys with the deployed ones")
    add("-c", action="append", default=[], metavar="KEY=VALUE", dest="keys", help="as for cdk")
    cli.add_json_argument(parser)


def run(options: argparse.Namespace) -> int:
    """Print the resources of each mode, or the changes; return 0. Raise CannotAsk."""
    context = {**cli.cdk_context(ROOT), **dict(key.partition("=")[::2] for key in options.keys)}
    if options.deployed:
        outputs = stack_outputs(Aws(options.region), options.stack)
        with cli.Spinner("synthesizing the app"):
            lines = list(changes(deployed_keys(outputs), context))
        if options.json:
            cli.print_json({"changes": lines})
        else:
            cli.print_plain("\n".join(lines or ["the keys are those that were deployed"]))
        return 0
    with cli.Spinner("synthesizing every mode"), ThreadPoolExecutor() as pool:
        templates = pool.map(lambda mode: synthesize({**context, "mode": mode}), MODES)
        plans = dict(zip(MODES, map(resources, templates)))
    if options.json:
        cli.print_json(plans)
        return 0
    columns = [Column("resource"), *(Column(mode, justify="right") for mode in MODES)]
    title = "What cdk deploy would create, by mode"
    table = Table(*columns, title=title, title_justify="left", title_style="bold")
    for kind in sorted(set().union(*plans.values())):
        table.add_row(kind, *(str(plans[mode].get(kind, "")) for mode in MODES))
    cli.console().print(table)
    return 0


def deployed_keys(outputs: Mapping[str, str]) -> Mapping[str, str]:
    """Return the keys of the deployed stack, without defaults. Raise CannotAsk."""
    if kept := outputs.get(KEYS_OUTPUT):
        return dict(json.loads(kept))
    why = f"the stack has no output {KEYS_OUTPUT}: an older version of this app deployed it"
    raise CannotAsk(why, "use `cdk diff`; the next deployment adds the output")


def changes(deployed: Mapping[str, str], context: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each key that a deployment with `context` changes. Raise CannotAsk.

    Without a mode in `context`, the mode stays: the app does not deploy without one.
    """
    template = synthesize({"mode": deployed["mode"], **context})
    planned = json.loads(template["Outputs"][KEYS_OUTPUT]["Value"])
    for key in sorted({*deployed, *planned}):
        before, after = deployed.get(key), planned.get(key)
        if before != after:
            effect = _effect(key, deployed, planned)
            yield f"{key}: {before or 'the default'} -> {after or 'the default'}{effect}"


def _effect(key: str, deployed: Mapping[str, str], planned: Mapping[str, str]) -> str:
    """Say what the change of a key removes or replaces, if anything."""
    modes = {deployed["mode"], planned["mode"]}
    keeps_url = planned.get("keep_url") == "true"
    if key == "mode" and planned["mode"] == "lambda":
        return " (removes the endpoint)"
    if key in ("mode", "keep_url") and planned["mode"] == "sagemaker" and not keeps_url:
        return " (removes the function and its URL)"
    if key in ("model_name", "model_folder", "model_data", "model_id", "model_package_arn"):
        return " (serves another model)"
    if key in ("sagemaker_type", "instance_type") and "lambda" not in modes:
        return " (replaces the endpoint by one of another name)"
    if key == "url_auth" and planned.get(key) == "off" and "sagemaker" not in modes:
        return " (removes the function URL)"
    return ""


def cdk_deploy(keys: Mapping[str, str]) -> str:
    options = (f"{name}={value}" for name, value in keys.items())
    return shlex.join(["cdk", "deploy", *(part for each in options for part in ("-c", each))])


def resources(template: Mapping[str, Any]) -> dict[str, int]:
    found = template["Resources"].values()
    return dict(sorted(Counter(resource["Type"] for resource in found).items()))


def synthesize(context: Mapping[str, Any]) -> Any:
    """Run the app as the CDK CLI does, and return its template. Raise CannotAsk."""
    with tempfile.TemporaryDirectory() as output:
        environment = {**os.environ, "PATH": process_environment()["PATH"]}
        environment |= {"CDK_CONTEXT_JSON": json.dumps(context), "CDK_OUTDIR": output}
        app = [sys.executable, str(ROOT / "app.py")]
        done = subprocess.run(app, env=environment, check=False, capture_output=True, text=True)
        if done.returncode:
            why = (done.stderr.strip().splitlines() or ["(no output)"])[-1]
            raise CannotAsk(f"mode {context.get('mode')} does not synthesize: {why}", _FIX)
        (template,) = Path(output).glob("*.template.json")
        return json.loads(template.read_text())
