"""A package of SageMaker's Model Registry, as the `model_data` and `model_id` that it stands for.

Lambda cannot deploy from the registry. So the package is looked up at synth, as the CDK looks up a
VPC: its CLI asks AWS once and keeps the answer in cdk.context.json, and both targets get the same
artifact.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aws_cdk import ContextProvider, Stack
from aws_cdk.cloud_assembly_schema import CcApiContextQuery
from aws_cdk.cloud_assembly_schema import ContextProvider as Providers

from infra.config import RULES, Config
from infra.context import ConfigError

_PROVIDER = "cc-api-provider"  # AWS's Cloud Control API
_CONTAINERS, _STATUS = "InferenceSpecification.Containers", "ModelApprovalStatus"
_FAILED = "$providerError"  # where the CLI puts why a look-up failed; it keeps no such answer
# In the place of what is going to be looked up: the app is run again then, before anything is made.
_NOT_YET = "s3://not-looked-up-yet/model.tar.gz"


def looked_up(stack: Stack, config: Config) -> Config:
    """`config` with the artifact of `model_package_arn`, if that is given.

    Raises ConfigError, one line: AWS could not be asked, or the package cannot be deployed.
    """
    if config.model_package_arn is None:
        return config
    *_, region, account, _ = config.model_package_arn.split(":")
    query: dict[str, Any] = {
        "typeName": "AWS::SageMaker::ModelPackage",
        "exactIdentifier": config.model_package_arn,
        "propertiesToReturn": [_CONTAINERS, _STATUS],
        "account": account,
        "region": region,
    }
    # Not by get_value(), which wants a stack that is bound to one account and region.
    key = ContextProvider.get_key(
        stack, provider=_PROVIDER, props=query, include_environment=False
    ).key
    found = stack.node.try_get_context(key)
    if found is None:
        stack.report_missing_context_key(
            key=key,
            provider=Providers.CC_API_PROVIDER,
            props=CcApiContextQuery(
                type_name=query["typeName"],
                exact_identifier=query["exactIdentifier"],
                properties_to_return=query["propertiesToReturn"],
                account=account,
                region=region,
            ),
        )
        return replace(config, model_data=_NOT_YET, model_id="0" * 64)
    try:
        data, model_id = _artifact(found, config, key)
    except ValueError as error:
        raise ConfigError(f"model_package_arn={config.model_package_arn!r}: {error}") from None
    return replace(config, model_data=data, model_id=model_id)


def _artifact(found: Any, config: Config, key: str) -> tuple[str, str]:
    """`model_data` and `model_id`. Raises ValueError."""
    if isinstance(found, Mapping):
        raise ValueError(f"it cannot be looked up: {found[_FAILED]}")
    (package,) = found
    if package[_STATUS] != "Approved":
        raise ValueError(
            f"it is {package[_STATUS]}, and only what is Approved is deployed; the answer is kept, "
            f"so once it is approved: cdk context --reset '{key}'"
        )
    containers = package[_CONTAINERS]
    if len(containers) != 1:
        raise ValueError(f"it has {len(containers)} containers, and both targets serve one")
    (container,) = containers
    data: str | None = RULES["model_data"].parse(container.get("ModelDataUrl", ""))
    if not data:
        raise ValueError(
            f"its ModelDataUrl is {container.get('ModelDataUrl')!r}, and it must be "
            f"{RULES['model_data'].allowed}"
        )
    named = container.get("Environment", {}).get("MODEL_ID")
    model_id: str | None = RULES["model_id"].parse(named or config.model_id or "")
    if not model_id:
        raise ValueError(
            "it has no model id: neither MODEL_ID in its container's environment nor the key "
            "model_id; `python -m ops package` prints it"
        )
    if config.model_id and config.model_id != model_id:
        raise ValueError(f"its MODEL_ID is {model_id}, and model_id asks for {config.model_id}")
    return data, model_id
