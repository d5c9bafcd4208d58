"""cfn-lint, checkov and cdk-nag find only what is suppressed, and no suppression is unused.

Each tool checks every configuration with and without the suppressions.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
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

# The configuration, the logical id or path of the resource, and the tool's name of the finding.
Finding = tuple[str, str, str]


@dataclass
class Findings:
    """The findings of one tool in all configurations."""

    left: dict[Finding, str] = field(default_factory=dict)  # with suppressions: its message
    found: set[Finding] = field(default_factory=set)  # without suppressions
    explained: dict[Finding, str] = field(default_factory=dict)  # suppressed: the reason

    def add(self, path: str, resource: str, name: str, words: str) -> None:
        """Add a finding in the template at `path`, below templates/."""
        finding = (Path(path).stem, resource, name)
        if Path(path).parent.name == "deployed":
            self.left[finding] = words
        else:
            self.found.add(finding)


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
        template = json.loads(text)
        for resource in template["Resources"].values():
            for key in ("checkov", "cfn-lint"):
                resource.get("Metadata", {}).pop(key, None)
        (root / "templates" / "bare" / f"{name}.json").write_text(json.dumps(template, indent=1))
    return root


def judged(folder: Path, program: str, *arguments: str) -> Any:
    """Return the program's JSON output. `folder` as HOME keeps users' configuration files out."""
    # Without the last variable, checkov would ask PyPI for updates.
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    environment["CKV_SKIP_PACKAGE_UPDATE_CHECK"] = "true"
    ran = run([BIN / program, *arguments], cwd=folder, env=environment)
    assert ran.stdout, ran.stderr
    return json.loads(ran.stdout)


def metadata(templates: Path, tool: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield configuration, logical id and metadata of each resource with metadata for `tool`."""
    for path in (templates / "deployed").iterdir():
        for resource, declared in json.loads(path.read_text())["Resources"].items():
            if found := declared.get("Metadata", {}).get(tool):
                yield path.stem, resource, found


def cfn_lint(templates: Path) -> Findings:
    files = [str(path.relative_to(templates)) for path in templates.glob("*/*.json")]
    found = judged(templates, "cfn-lint", "--format", "json", "--template", *files)
    findings = Findings(
        explained={
            (name, resource, rule): written["reasons"][rule]
            for name, resource, written in metadata(templates, "cfn-lint")
            for rule in written["config"]["ignore_checks"]
        }
    )
    for match in found:
        _, resource, *_ = *match["Location"]["Path"], "", ""
        findings.add(match["Filename"], str(resource), match["Rule"]["Id"], match["Message"])
    return findings


def checkov(templates: Path) -> Findings:
    options = "--framework cloudformation --skip-download --quiet --compact --output json"
    report = judged(templates, "checkov", "--directory", ".", *options.split())
    resources = sum(
        len(json.loads(path.read_text())["Resources"]) for path in templates.glob("*/*.json")
    )
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["resource_count"] == resources
    findings = Findings(
        explained={
            (name, resource, skip["id"]): skip["comment"]
            for name, resource, written in metadata(templates, "checkov")
            for skip in written["skip"]
        }
    )
    for check in report["results"]["failed_checks"]:
        resource = check["resource"].rpartition(".")[2]
        findings.add(check["file_path"], resource, check["check_id"], check["check_name"])
    return findings


def cdk_nag(root: Path) -> Findings:
    findings = Findings()
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


@pytest.mark.parametrize("tool", ["cfn-lint", "checkov", "cdk-nag"])
def test_every_finding_is_explained(findings: Any, tool: str) -> None:
    assert findings[tool].left == {}
    explained = set(findings[tool].explained)
    assert explained - findings[tool].found == set(), "the suppression is unused"
    assert findings[tool].found - explained == set(), "something else hides the finding"
    short = {reason for reason in findings[tool].explained.values() if len(reason.split()) < 5}
    assert short == set(), "a reason is a sentence"
