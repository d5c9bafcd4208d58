"""Turn a package of SageMaker's Model Registry into `model_data` and `model_id`.

Lambda cannot deploy from the registry. The CDK looks up the package at synth, like a VPC: its CLI
asks AWS once and keeps the answer in cdk.context.json.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aws_cdk import ContextProvider, Stack
from aws_cdk.cloud_assembly_schema import CcApiContextQuery
from aws_cdk.cloud_assembly_schema import ContextProvider as Provider

from infra.config.context import ConfigError
from infra.config.keys import RULES, Config

_CONTAINERS, _STATUS = "InferenceSpecification.Containers", "ModelApprovalStatus"
_FAILED = "$providerError"  # the CLI's key for the reason of a failed look-up, which it never keeps
# A placeholder. The CLI runs the app again with the answer before it creates anything.
_NOT_YET = "s3://not-looked-up-yet/model.tar.gz"


def look_up_package(stack: Stack, config: Config) -> Config:
    """Return `config` with the artifact of `model_package_arn`, if that is given.

    Raises ConfigError if the look-up failed or the package cannot be deployed.
    """
    if config.model_package_arn is None:
        return config
    *_, region, account, _ = config.model_package_arn.split(":")
    query = CcApiContextQuery(
        type_name="AWS::SageMaker::ModelPackage",
        exact_identifier=config.model_package_arn,
        properties_to_return=[_CONTAINERS, _STATUS],
        account=account,
        region=region,
    )
    # get_value() would need a stack that is bound to one account and region.
    key = ContextProvider.get_key(
        stack,
        provider="cc-api-provider",  # AWS's Cloud Control API
        props={
            "typeName": query.type_name,
            "exactIdentifier": query.exact_identifier,
            "propertiesToReturn": query.properties_to_return,
            "account": account,
            "region": region,
        },
        include_environment=False,
    ).key
    found = stack.node.try_get_context(key)
    if found is None:
        stack.report_missing_context_key(key=key, provider=Provider.CC_API_PROVIDER, props=query)
        return replace(config, model_data=_NOT_YET, model_id="0" * 64)
    try:
        data, model_id = _artifact(found, config, key)
    except ValueError as error:
        raise ConfigError(f"model_package_arn={config.model_package_arn!r}: {error}") from None
    return replace(config, model_data=data, model_id=model_id)


def _artifact(found: Any, config: Config, key: str) -> tuple[str, str]:
    """Return `model_data` and `model_id`. Raises ValueError."""
    if isinstance(found, Mapping) or len(found) != 1:
        reason = found.get(_FAILED) if isinstance(found, Mapping) else f"{len(found)} answers"
        raise ValueError(f"it cannot be looked up: {reason}")
    (package,) = found
    if (status := package.get(_STATUS)) != "Approved":
        raise ValueError(
            f"it is {status or 'not Approved'}, and only Approved packages are deployed; the "
            f"answer is kept, so once it is approved: cdk context --reset '{key}'"
        )
    if (containers := package.get(_CONTAINERS)) is None:
        raise ValueError("it has no InferenceSpecification, which names the artifact to serve")
    if len(containers) != 1:
        raise ValueError(f"it has {len(containers)} containers, and both targets serve one")
    (container,) = containers
    url, rule = container.get("ModelDataUrl"), RULES["model_data"]
    if not (data := rule.parse(url or "")):
        raise ValueError(f"its ModelDataUrl is {url!r}, and it must be {rule.allowed}")
    named = (container.get("Environment") or {}).get("MODEL_ID")
    if not (model_id := RULES["model_id"].parse(named or config.model_id or "")):
        raise ValueError(
            "it has no model id: neither MODEL_ID in its container's environment nor the key "
            "model_id; `python -m ops package` prints it"
        )
    if config.model_id and config.model_id != model_id:
        raise ValueError(f"its MODEL_ID is {model_id}, and model_id asks for {config.model_id}")
    return data, model_id
