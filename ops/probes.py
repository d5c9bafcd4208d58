"""The questions of `ops doctor`: each asks one thing and leaves its meaning to the conclusions.

A probe raises one of AWS_ERRORS or CannotAsk where it could not ask.
"""

import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ops import findings, manifests, model_data, model_package
from ops.aws import Aws, NoStack, code_of, stack_outputs
from ops.findings import Finding, State

BOOTSTRAP_PARAMETER = "/cdk-bootstrap/hnb659fds/version"
_ENGINE_SECONDS = 30


class Probes:
    """Questions about one stack; `assembly` is where the CDK synthesizes to, cdk.out."""

    def __init__(self, aws: Aws, stack_name: str, assembly: Path, *, on_sagemaker: bool) -> None:
        self._aws, self._stack_name, self._assembly = aws, stack_name, assembly
        self._on_sagemaker = on_sagemaker

    def credentials(self) -> Finding:
        return Finding(State.OK, f"account {self._identity['Account']}, {self._identity['Arn']}")

    def region(self) -> Finding:
        return findings.of_region(self._aws.region, chosen=bool(self._aws.chosen_region))

    def bootstrap(self) -> Finding:
        version = None
        try:
            reply = self._aws.client("ssm").get_parameter(Name=BOOTSTRAP_PARAMETER)
            version = str(reply["Parameter"]["Value"])
        except ClientError as error:
            if code_of(error) != "ParameterNotFound":
                raise
        return findings.of_bootstrap(version, self._aws.region)

    def builder(self) -> Finding:
        program = os.environ.get("CDK_DOCKER") or "docker"
        runs = _succeeds(program, "info")
        has_buildx = runs and _succeeds(program, "buildx", "version")
        return manifests.of_builder(program, os.environ, runs=runs, has_buildx=has_buildx)

    def endpoint(self) -> Finding:
        """Whether SageMaker took an update back after CloudFormation had counted it as done."""
        try:
            name = stack_outputs(self._aws, self._stack_name).get("EndpointName")
        except NoStack:
            name = None
        if not name:
            return Finding(State.OK, "none is deployed yet")
        found = self._aws.client("sagemaker").describe_endpoint(EndpointName=name)
        resources = self._aws.client("cloudformation").describe_stack_resources(
            StackName=self._stack_name
        )
        [deployed] = (
            resource["PhysicalResourceId"].rpartition("/")[2]
            for resource in resources["StackResources"]
            if resource["ResourceType"] == "AWS::SageMaker::EndpointConfig"
        )
        return findings.of_endpoint(name, deployed, found["EndpointConfigName"])

    def instance_quota(self, instance_type: str, instances: int) -> Finding:
        client = self._aws.client("service-quotas")
        # The first lists what applies to this account, but not every quota; the second the rest.
        for operation in ("list_service_quotas", "list_aws_default_service_quotas"):
            if quota := _quota(client, operation, findings.quota_name(instance_type)):
                break
        return findings.of_instance_quota(instance_type, instances, quota, self._aws.region)

    def concurrency(self) -> Finding:
        limit = self._aws.client("lambda").get_account_settings()["AccountLimit"]
        return findings.of_concurrency(limit, self._aws.region)

    def manifest(self) -> Finding:
        """Of the image that was synthesized last, if it is pushed; else of the deployed one."""
        for repository, tag in self._synthesized():
            if media_type := self._media_type(repository, tag):
                return self._conclude(media_type, "synthesized", tag)
        try:
            uri = stack_outputs(self._aws, self._stack_name).get("ImageUri", "")
        except NoStack:
            return manifests.NOT_PUSHED
        repository, _, tag = uri.partition("/")[2].partition(":")
        return self._conclude(self._media_type(repository, tag), "deployed", tag)

    def model_data(self, uri: str) -> Finding:
        account = self._identity["Account"]
        return model_data.probe(self._aws, uri, account, on_sagemaker=self._on_sagemaker)

    def model_package(self, arn: str) -> Finding:
        account = self._identity["Account"]
        return model_package.probe(self._aws, arn, account, on_sagemaker=self._on_sagemaker)

    @cached_property
    def _identity(self) -> Mapping[str, str]:
        found: Mapping[str, str] = self._aws.client("sts").get_caller_identity()
        return found

    def _conclude(self, media_type: str | None, which: str, tag: str) -> Finding:
        image = f"the {which} image {tag[:12]}"
        return manifests.of_manifest(media_type, image, on_sagemaker=self._on_sagemaker)

    def _synthesized(self) -> Iterator[tuple[str, str]]:
        """Repository and tag of each image of the stack in the cloud assembly."""
        path = self._assembly / f"{self._stack_name}.assets.json"
        if not path.is_file():
            return
        values = {
            "${AWS::AccountId}": self._identity["Account"],
            "${AWS::Region}": self._aws.region,
        }
        for image in json.loads(path.read_text())["dockerImages"].values():
            for destination in image["destinations"].values():
                repository = destination["repositoryName"]
                for name, value in values.items():
                    repository = repository.replace(name, value)
                yield repository, destination["imageTag"]

    def _media_type(self, repository: str, tag: str) -> str | None:
        """The manifest's, None where the registry of this account has no such image."""
        image = registered(self._aws, repository, {"imageTag": tag})
        return str(image["imageManifestMediaType"]) if image else None


def registered(
    aws: Aws, repository: str, identifier: Mapping[str, str]
) -> Mapping[str, Any] | None:
    """The image of that tag or digest in ECR, as it describes it; None where it has none."""
    try:
        reply = aws.client("ecr").batch_get_image(
            repositoryName=repository,
            imageIds=[identifier],
            acceptedMediaTypes=list(manifests.MEDIA_TYPES),
        )
    except ClientError as error:
        if code_of(error) == "RepositoryNotFoundException":
            return None
        raise
    images: list[Mapping[str, Any]] = reply["images"]
    return images[0] if images else None


def _quota(client: Any, operation: str, name: str) -> Mapping[str, Any] | None:
    pages = client.get_paginator(operation).paginate(
        ServiceCode="sagemaker", PaginationConfig={"PageSize": 100}
    )
    return next((q for page in pages for q in page["Quotas"] if q["QuotaName"] == name), None)


def _succeeds(*command: str) -> bool:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=_ENGINE_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0
