"""cfn-lint, checkov and cdk-nag find only what is suppressed, and no suppression is unused."""

import json
import os
import re
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Validations
from cdk_nag import AwsSolutionsChecks

from infra.config.context import read_config
from infra.stack import DualInferenceStack
from ops.local_servers import ROOT
from support.programs import BIN, run
from support.templates import CONFIGURATIONS

# Together they have every resource with a suppression, so these are also checked without any.
BARE = ("async", "batch", "everything")

# The template, the logical id of the resource, and the tool's name of the finding.
Finding = tuple[str, str, str]


@pytest.fixture(scope="module")
def assemblies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Synthesize each configuration into NAME/ with cdk-nag, and its template into two folders."""
    root = tmp_path_factory.mktemp("assemblies")
    context = {
        **json.loads((ROOT / "cdk.json").read_text())["context"],
        # The test reads cdk-nag's findings from its report.
        "@aws-cdk/core:failSynthOnValidationErrors": False,
    }
    for folder in ("deployed", "bare"):
        (root / "templates" / folder).mkdir(parents=True)
    for name, keys in CONFIGURATIONS.items():
        named = {**context, **keys, "stack_name": "Stack"}
        app = App(outdir=str(root / name), context=named)
        DualInferenceStack(app, read_config(app.node.get_all_context()))
        Validations.of(app).add_plugins(AwsSolutionsChecks(app))
        app.synth()
        text = (root / name / "Stack.template.json").read_text()
        (root / "templates" / "deployed" / f"{name}.json").write_text(text)
        if name in BARE:
            template = json.loads(text)
            for resource in template["Resources"].values():
                for key in ("checkov", "cfn-lint"):
                    resource.get("Metadata", {}).pop(key, None)
            text = json.dumps(template, indent=1)
            (root / "templates" / "bare" / f"{name}.json").write_text(text)
    return root


def judged(folder: Path, program: str, *arguments: str) -> Any:
    """Return the program's JSON output. `folder` as HOME keeps users' configuration files out."""
    # Without the last variable, checkov would ask PyPI for updates.
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    environment["CKV_SKIP_PACKAGE_UPDATE_CHECK"] = "true"
    ran = run([BIN / program, *arguments], cwd=folder, env=environment)
    assert ran.stdout, ran.stderr
    return json.loads(ran.stdout)


def cfn_lint(templates: Path) -> Iterator[Finding]:
    files = [str(path.relative_to(templates)) for path in templates.glob("*/*.json")]
    for match in judged(templates, "cfn-lint", "--format", "json", "--template", *files):
        _, resource, *_ = *match["Location"]["Path"], "", ""
        yield match["Filename"], str(resource), match["Rule"]["Id"]


def checkov(templates: Path) -> Iterator[Finding]:
    options = "--framework cloudformation --skip-download --quiet --compact --output json"
    report = judged(templates, "checkov", "--directory", ".", *options.split())
    resources = sum(
        len(json.loads(path.read_text())["Resources"]) for path in templates.glob("*/*.json")
    )
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["resource_count"] == resources
    for check in report["results"]["failed_checks"]:
        yield check["file_path"], check["resource"].rpartition(".")[2], check["check_id"]


def suppressed(template: Path) -> Iterator[Finding]:
    for resource, declared in json.loads(template.read_text())["Resources"].items():
        for tool, told in declared.get("Metadata", {}).items():
            if tool == "checkov":
                yield from ((template.name, resource, skip["id"]) for skip in told["skip"])
            elif tool == "cfn-lint":
                yield from ((template.name, resource, c) for c in told["config"]["ignore_checks"])


def without_digests(findings: Iterable[Finding]) -> set[tuple[str, str]]:
    """Return resource and name. An endpoint's resources have another digest in each template."""
    return {(re.sub("[0-9a-fA-F]{8}", "", resource), name) for _, resource, name in findings}


def test_cfn_lint_and_checkov_find_what_is_suppressed(assemblies: Path) -> None:
    templates = assemblies / "templates"
    found = {*cfn_lint(templates), *checkov(templates)}
    bare = {finding for finding in found if "bare/" in finding[0]}
    assert found - bare == set()
    skipped = (suppressed(path) for path in (templates / "deployed").iterdir())
    assert without_digests(bare) == without_digests(chain(*skipped))


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_cdk_nag_finds_what_is_suppressed(assemblies: Path, name: str) -> None:
    report = json.loads((assemblies / name / "validation-report.json").read_text())
    plugins = report["pluginReports"]  # CDK's own checks too
    assert [violation for plugin in plugins for violation in plugin["violations"]] == []
    found = {
        (construct["constructPath"], violation["ruleName"])
        for plugin in plugins
        for violation in plugin.get("suppressedViolations", [])
        for construct in violation["violatingConstructs"]
    }
    metadata = json.loads((assemblies / name / "Stack.metadata.json").read_text())
    assert found == {
        (path.removeprefix("/"), rule.partition("::")[2])
        for path, entries in metadata.items()
        for entry in entries
        if entry["type"] == Validations.ACKNOWLEDGED_RULES_METADATA_KEY
        for rule in entry["data"]
    }
