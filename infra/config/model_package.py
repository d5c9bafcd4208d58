"""Turn a package of SageMaker's Model Registry into `model_data` and `model_id`.

Lambda cannot deploy from the registry. The CDK looks up the package at synth, like a VPC: its CLI
asks AWS once and keeps the answer in cdk.context.json.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from aws_cdk import Stack
from aws_cdk.cloud_assembly_schema import CcApiContextQuery, ContextProvider

from infra.config.context import ConfigError
from infra.config.keys import RULES, Config

_CONTAINERS, _STATUS = "InferenceSpecification.Containers", "ModelApprovalStatus"
# A placeholder. The CLI runs the app again with the answer before it creates anything.
_NOT_YET = "s3://not-looked-up-yet/model.tar.gz"


def look_up_package(stack: Stack, config: Config) -> Config:
    """Return `config` with the artifact of `model_package_arn`, if that is given.

    Raises ConfigError if the look-up failed or the package cannot be deployed.
    """
    if config.model_package_arn is None:
        return config
    *_, region, account, _ = config.model_package_arn.split(":")
    # ContextProvider.get_value() would need a stack that is bound to one account and region.
    key = f"model-package:{config.model_package_arn}"
    if (found := stack.node.try_get_context(key)) is None:
        query = CcApiContextQuery(
            type_name="AWS::SageMaker::ModelPackage",
            exact_identifier=config.model_package_arn,
            properties_to_return=[_CONTAINERS, _STATUS],
            account=account,
            region=region,
        )
        provider = ContextProvider.CC_API_PROVIDER  # AWS's Cloud Control API
        stack.report_missing_context_key(key=key, provider=provider, props=query)
        return replace(config, model_data=_NOT_YET, model_id="0" * 64)
    try:
        data, model_id = _artifact(found, config.model_id, key)
    except ValueError as error:
        raise ConfigError(f"model_package_arn={config.model_package_arn!r}: {error}") from None
    return replace(config, model_data=data, model_id=model_id)


def _artifact(found: Any, wanted_id: str | None, key: str) -> tuple[str, str]:
    """Return `model_data` and `model_id` from the CLI's answer. Raises ValueError."""
    if isinstance(found, Mapping):  # the CLI never keeps the reason of a failed look-up
        raise ValueError(f"it cannot be looked up: {found.get('$providerError')}")
    (package,) = found
    if (status := package.get(_STATUS)) != "Approved":
        raise ValueError(
            f"it is {status or 'not Approved'}, and only Approved packages are deployed; the "
            f"answer is kept, so once it is approved: cdk context --reset '{key}'"
        )
    containers = package.get(_CONTAINERS) or []
    if len(containers) != 1:
        raise ValueError(f"it has {len(containers)} containers, and both targets serve one")
    data, rule = containers[0].get("ModelDataUrl"), RULES["model_data"]
    if not rule.parse(data or ""):
        raise ValueError(f"its ModelDataUrl is {data!r}, and it must be {rule.allowed}")
    named_id = (containers[0].get("Environment") or {}).get("MODEL_ID")
    model_id = wanted_id or named_id
    if not model_id or (named_id and named_id != model_id):
        raise ValueError(
            f"its container has MODEL_ID={named_id}, and the key model_id is {wanted_id}: one of "
            "them must be given, or both alike; `python -m ops package` prints it"
        )
    return data, model_id
