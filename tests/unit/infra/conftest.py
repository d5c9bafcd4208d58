"""Synthesize each configuration once, in this process."""

import json
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import pytest

from ops.local_servers import ROOT
from support.programs import PATH
from support.templates import CONFIGURATIONS, Synthesized

os.environ["PATH"] = PATH  # jsii starts the first `node`; ours is beside this interpreter


@pytest.fixture(scope="session")
def synthesize_anew(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Synthesized]:
    """Return `synthesize` without its cache, for tests that change more than the keys."""
    from aws_cdk import App

    from infra.config.context import read_config
    from infra.stack import DualInferenceStack

    flags = json.loads((ROOT / "cdk.json").read_text())["context"]

    def synthesize(**keys: Any) -> Synthesized:
        outdir = tmp_path_factory.mktemp("cdk.out")
        app = App(outdir=str(outdir), context={**flags, **keys}, tree_metadata=False)
        config = read_config(app.node.get_all_context())
        DualInferenceStack(app, config)
        app.synth()
        return Synthesized(outdir, config.stack_name)

    return synthesize


@pytest.fixture(scope="session")
def synthesize(synthesize_anew: Callable[..., Synthesized]) -> Callable[..., Synthesized]:
    """`synthesize(mode="both", ...)` returns the stack of these keys with the flags of cdk.json."""
    return cache(synthesize_anew)


@pytest.fixture(scope="session")
def configured(synthesize: Callable[..., Synthesized]) -> Callable[[str], Synthesized]:
    """`configured(NAME)` returns one of CONFIGURATIONS."""
    return lambda name: synthesize(**CONFIGURATIONS[name])


@pytest.fixture(params=CONFIGURATIONS)
def every(request: pytest.FixtureRequest, configured: Callable[[str], Synthesized]) -> Synthesized:
    return configured(request.param)


@pytest.fixture(scope="session")
def both(configured: Callable[[str], Synthesized]) -> Synthesized:
    return configured("both")
