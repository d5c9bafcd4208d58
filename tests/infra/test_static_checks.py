"""cfn-lint, checkov and cdk-nag find nothing unexplained, and nothing is explained in vain.

Each judges every configuration as it is deployed, and as if `infra.explained` had said nothing.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from aws_cdk import App, Stack, Validations
from aws_cdk.aws_logs import LogGroup
from cdk_nag import AwsSolutionsChecks

from infra.context import read_config
from infra.explained import explain
from infra.image import docker_outputs
from infra.stack import DualInferenceStack
from ops.faces import ROOT
from templates import CONFIGURATIONS

PROGRAMS = Path(sys.executable).parent

# A configuration, a resource of it by its logical id or path, and the tool's name of the finding.
Finding = tuple[str, str, str]


@dataclass
class Findings:
    """What one tool says of all configurations."""

    left: dict[Finding, str]
    """Found in what is deployed, with the tool's words."""
    found: set[Finding]
    """Found where nothing is explained."""
    explained: dict[Finding, str]
    """With the reason."""


@pytest.fixture(scope="module")
def assemblies(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`NAME/` of each configuration, judged by cdk-nag, and its template in two folders."""
    root = tmp_path_factory.mktemp("assemblies")
    context = {
        **json.loads((ROOT / "cdk.json").read_text())["context"],
        # cdk-nag's findings are read from its report.
        "@aws-cdk/core:failSynthOnValidationErrors": False,
    }
    for folder in ("deployed", "bare"):
        (root / "templates" / folder).mkdir(parents=True)
    for name, keys in CONFIGURATIONS.items():
        app = App(outdir=str(root / name), context={**context, **keys})
        config = read_config(app.node.get_all_context())
        DualInferenceStack(app, "Stack", config=config, docker_outputs=docker_outputs({}))
        Validations.of(app).add_plugins(AwsSolutionsChecks(app))
        app.synth()
        text = (root / name / "Stack.template.json").read_text()
        (root / "templates" / "deployed" / f"{name}.json").write_text(text)
        template = json.loads(text)
        for resource in template["Resources"].values():
            for key in ("checkov", "cfn-lint"):
                resource.get("Metadata", {}).pop(key, None)
        (root / "templates" / "bare" / f"{name}.json").write_text(json.dumps(template, indent=1))
    return root


def run(folder: Path, program: str, *arguments: str) -> Any:
    """What it prints, as JSON; without a configuration file of ours or of who runs the test."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "CKV_SKIP_PACKAGE_UPDATE_CHECK": "true",  # of checkov, which would ask PyPI
    }
    ran = subprocess.run(
        [PROGRAMS / program, *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,  # to find something is no success for them
    )
    assert ran.stdout, ran.stderr
    return json.loads(ran.stdout)


def split(found: Iterator[tuple[str, str, str, str]], explained: dict[Finding, str]) -> Findings:
    """`found` holds paths below templates/, logical ids, names of findings and words."""
    findings = Findings(left={}, found=set(), explained=explained)
    for path, resource, name, words in found:
        finding = (Path(path).stem, resource, name)
        if Path(path).parent.name == "deployed":
            findings.left[finding] = words
        else:
            findings.found.add(finding)
    return findings


def metadata(templates: Path, tool: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Each configuration and logical id that has metadata for `tool`."""
    for path in (templates / "deployed").iterdir():
        for resource, declared in json.loads(path.read_text())["Resources"].items():
            if found := declared.get("Metadata", {}).get(tool):
                yield path.stem, resource, found


def cfn_lint(templates: Path) -> Findings:
    files = [str(path.relative_to(templates)) for path in templates.glob("*/*.json")]
    found = run(templates, "cfn-lint", "--format", "json", "--template", *files)
    return split(
        (
            (
                match["Filename"],
                str(([*match["Location"]["Path"], "", ""])[1]),
                match["Rule"]["Id"],
                match["Message"],
            )
            for match in found
        ),
        {
            (name, resource, rule): written["reasons"][rule]
            for name, resource, written in metadata(templates, "cfn-lint")
            for rule in written["config"]["ignore_checks"]
        },
    )


def checkov(templates: Path) -> Findings:
    options = "--framework cloudformation --skip-download --quiet --compact --output json"
    report = run(templates, "checkov", "--directory", ".", *options.split())
    resources = sum(
        len(json.loads(path.read_text())["Resources"]) for path in templates.glob("*/*.json")
    )
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["resource_count"] == resources
    return split(
        (
            (
                check["file_path"],
                check["resource"].rpartition(".")[2],
                check["check_id"],
                check["check_name"],
            )
            for check in report["results"]["failed_checks"]
        ),
        {
            (name, resource, skip["id"]): skip["comment"]
            for name, resource, written in metadata(templates, "checkov")
            for skip in written["skip"]
        },
    )


def cdk_nag(root: Path) -> Findings:
    findings = Findings(left={}, found=set(), explained={})
    for name in CONFIGURATIONS:
        report = json.loads((root / name / "validation-report.json").read_text())
        for plugin in report["pluginReports"]:  # CDK's own checks too
            for violation in plugin["violations"]:
                for construct in violation["violatingConstructs"]:
                    finding = (name, str(construct.get("constructPath")), violation["ruleName"])
                    findings.left[finding] = violation["description"]
            for violation in plugin.get("suppressedViolations", []):
                for construct in violation["violatingConstructs"]:
                    findings.found.add((name, construct["constructPath"], violation["ruleName"]))
        for path, entries in json.loads((root / name / "Stack.metadata.json").read_text()).items():
            for entry in entries:
                if entry["type"] == Validations.ACKNOWLEDGED_RULES_METADATA_KEY:
                    for rule, reason in entry["data"].items():
                        finding = (name, path.removeprefix("/"), rule.partition("::")[2])
                        findings.explained[finding] = reason
    return findings


@pytest.fixture(scope="module")
def findings(assemblies: Path) -> dict[str, Findings]:
    return {
        "cfn-lint": cfn_lint(assemblies / "templates"),
        "checkov": checkov(assemblies / "templates"),
        "cdk-nag": cdk_nag(assemblies),
    }


every_tool = pytest.mark.parametrize("tool", ["cfn-lint", "checkov", "cdk-nag"])


@every_tool
def test_nothing_is_found_in_what_is_deployed(findings: Any, tool: str) -> None:
    assert findings[tool].left == {}


@every_tool
def test_what_is_explained_is_what_would_be_found(findings: Any, tool: str) -> None:
    explained = set(findings[tool].explained)
    assert explained - findings[tool].found == set(), "it is no finding any more"
    assert findings[tool].found - explained == set(), "it is hidden by other means"


@every_tool
def test_a_reason_is_a_sentence(findings: Any, tool: str) -> None:
    short = {reason for reason in findings[tool].explained.values() if len(reason.split()) < 5}
    assert short == set()


@pytest.mark.parametrize(
    "name", ["W", "W30", "W3005,W3010", "CKV_AWS", "AwsSolutions", "AwsSolutions-IAM5[]", ""]
)
def test_an_explanation_names_one_finding(name: str) -> None:
    with pytest.raises(ValueError, match="is no finding"):
        explain(LogGroup(Stack(), "Logs"), {name: "since it is so"})
