"""`python -m ops plan`: what each mode would create, from the templates themselves."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from rich.console import Console
from rich.table import Table

from ops.faces import ROOT

MODES = ("lambda", "sagemaker", "both")
_SYNTH = ("cdk", "synth", "--quiet", "--no-notices", "--no-version-reporting")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON and nothing else")


def run(options: argparse.Namespace) -> int:
    """Exit status 0: all modes synthesize."""
    console = Console(stderr=options.json)
    plans = {}
    for mode in MODES:
        with console.status(f"cdk synth -c mode={mode}"):
            try:
                plans[mode] = resources(mode)
            except subprocess.CalledProcessError as error:
                console.print(f"error: cdk synth -c mode={mode}:\n{error.stderr}", style="red")
                return 2
    if options.json:
        json.dump(plans, sys.stdout, indent=2)
        print()
        return 0
    title = "What cdk deploy would create, by mode"
    table = Table(title=title, title_justify="left", title_style="bold")
    table.add_column("resource", overflow="fold")
    for mode in MODES:
        table.add_column(mode, justify="right")
    for kind in sorted(set().union(*plans.values())):
        table.add_row(kind, *(str(plans[mode].get(kind, "")) for mode in MODES))
    console.print(table)
    return 0


def resources(mode: str) -> dict[str, int]:
    """How many resources of each type the template of a mode has."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with tempfile.TemporaryDirectory() as output:
        subprocess.run(
            [*_SYNTH, "--output", output, "--context", f"mode={mode}"],
            cwd=ROOT,
            env={**os.environ, "PATH": path, "CDK_DISABLE_CLI_TELEMETRY": "true"},
            check=True,
            capture_output=True,
            text=True,
        )
        (template,) = Path(output).glob("*.template.json")
        found = json.loads(template.read_text())["Resources"].values()
    kinds = Counter(resource["Type"] for resource in found)
    return dict(sorted(kinds.items()))
