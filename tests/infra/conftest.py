"""Each mode synthesized once, in this process."""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent.parent

# jsii starts the first `node` of the PATH; ours is beside this interpreter.
os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


class Synthesized:
    """One synthesized stack: its template, and its docker images as the CLI will build them."""

    def __init__(self, outdir: Path, stack_name: str) -> None:
        self.template = json.loads((outdir / f"{stack_name}.template.json").read_text())
        assets = json.loads((outdir / f"{stack_name}.assets.json").read_text())
        self.images: dict[str, Any] = assets["dockerImages"]
        self.outputs: dict[str, Any] = self.template["Outputs"]

    def resources(self, kind: str) -> dict[str, Any]:
        """The resources of one type, by logical id."""
        found = self.template["Resources"].items()
        return {name: resource for name, resource in found if resource["Type"] == kind}

    def only(self, kind: str) -> tuple[str, dict[str, Any]]:
        """The logical id and the properties of the one resource of that type."""
        ((name, resource),) = self.resources(kind).items()
        return name, resource["Properties"]


@pytest.fixture(scope="session")
def synthesize(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """`synthesize(mode="both", ...)`: the stack of these keys under the flags of cdk.json."""
    from aws_cdk import App

    from infra.config import Config
    from infra.image import docker_outputs
    from infra.stack import DualInferenceStack

    flags = json.loads((ROOT / "cdk.json").read_text())["context"]

    def synthesize(environment: dict[str, str] | None = None, **keys: str) -> Synthesized:
        outdir = tmp_path_factory.mktemp("cdk.out")
        app = App(outdir=str(outdir), context={**flags, **keys})
        config = Config.from_context(app.node.try_get_context)
        outputs = docker_outputs(environment or {})
        DualInferenceStack(app, config.stack_name, config=config, docker_outputs=outputs)
        app.synth()
        return Synthesized(outdir, config.stack_name)

    return synthesize


@pytest.fixture(scope="session")
def modes(synthesize: Any) -> dict[str, Synthesized]:
    """The three modes with every other key at its default."""
    return {mode: synthesize(mode=mode) for mode in ("lambda", "sagemaker", "both")}


@pytest.fixture(scope="session")
def both(modes: dict[str, Synthesized]) -> Synthesized:
    return modes["both"]
