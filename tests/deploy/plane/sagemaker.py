"""SageMaker's models, endpoint configs and endpoints, as CloudFormation makes them."""

import secrets
import time
from collections.abc import Callable, Sequence
from typing import Any

from ministack.core.responses import get_account_id, get_region

from deploy.plane import rules
from deploy.plane.account import Account
from deploy.plane.fleets import Endpoint, Instance
from deploy.plane.rules import Properties
from deploy.plane.scaling import Scaling
from deploy.plane.shapes import Refused

Launch = Callable[[str, str, Properties], Instance]


class SageMaker:
    """The stores of one account, and what CloudFormation's handlers do to them.

    A handler answers the physical id, which `Ref` gives (an ARN), and the attributes of
    `Fn::GetAtt`. It raises Refused, or what kept an endpoint from becoming healthy.
    """

    def __init__(self, account: Account, scaling: Scaling, launch: Launch) -> None:
        self._account, self._scaling, self._launch = account, scaling, launch
        self.models: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, Endpoint] = {}

    def create_model(self, logical_id: str, props: Properties, _stack: str) -> Any:
        record = {**props, "ModelName": props.get("ModelName") or _named(logical_id)}
        name = _new(record["ModelName"], self.models)
        rules.check_model(record, self._account)
        self.models[name] = {**record, "CreationTime": time.time(), "ModelArn": arn("model", name)}
        return arn("model", name), {"ModelName": name, "Id": arn("model", name)}

    def delete_model(self, physical_id: str, _props: Properties) -> None:
        self.models.pop(physical_id.rsplit("/", 1)[-1], None)

    def create_config(self, logical_id: str, props: Properties, _stack: str) -> Any:
        name = _new(props.get("EndpointConfigName") or _named(logical_id), self.configs)
        record = {**props, "EndpointConfigName": name}
        rules.check_endpoint_config(record, self.models)
        identifier = arn("endpoint-config", name)
        about = {"CreationTime": time.time(), "EndpointConfigArn": identifier}
        self.configs[name] = {**record, **about}
        return identifier, {"EndpointConfigName": name, "Id": identifier}

    def delete_config(self, physical_id: str, _props: Properties) -> None:
        self.configs.pop(physical_id.rsplit("/", 1)[-1], None)

    def create_endpoint(self, logical_id: str, props: Properties, _stack: str) -> Any:
        name = _new(props.get("EndpointName") or _named(logical_id), self.endpoints)
        self._check_endpoint({**props, "EndpointName": name})
        endpoint = self.endpoints[name] = Endpoint(name)
        try:
            endpoint.create(self.configs[props["EndpointConfigName"]], self._launcher(name))
        except Exception:
            # CloudFormation deletes what it could not create; MiniStack's forgets it instead.
            del self.endpoints[name]
            raise
        return arn("endpoint", name), {"EndpointName": name}

    def update_endpoint(
        self, physical_id: str, _old: Properties, props: Properties, _stack: str
    ) -> Any:
        name = physical_id.rsplit("/", 1)[-1]
        self._check_endpoint({**props, "EndpointName": name})
        endpoint = self.endpoints[name]
        config: Properties = self.configs[props["EndpointConfigName"]]
        deployment = props.get("DeploymentConfig", {})
        rules.check_endpoint_change(
            endpoint.fleet.config, config, self._scaling.variants_of(name), bool(deployment)
        )
        if config["EndpointConfigName"] != endpoint.fleet.config["EndpointConfigName"]:
            if props.get("RetainAllVariantProperties"):
                config = _with_capacity_of(endpoint.fleet.config, config)
            rollback = deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])
            names = [alarm["AlarmName"] for alarm in rollback]
            endpoint.update(
                config,
                self._launcher(name),
                canary_share=_canary_share(deployment, config),
                alarms=lambda: self._account.alarms_in_alarm(names),
            )
        return physical_id, {"EndpointName": name}

    def delete_endpoint(self, physical_id: str, _props: Properties) -> None:
        name = physical_id.rsplit("/", 1)[-1]
        if endpoint := self.endpoints.get(name):
            endpoint.delete()
            del self.endpoints[name]

    def role_of(self, config: Properties) -> str:
        """The role in which the config's endpoint acts: its model's."""
        return str(self.models[config["ProductionVariants"][0]["ModelName"]]["ExecutionRoleArn"])

    def variants(self) -> dict[str, str]:
        """What can be scaled: the resource ids of all variants, each with its endpoint's kind."""
        return {
            f"endpoint/{endpoint.name}/variant/{variant}": rules.kind(endpoint.fleet.config)
            for endpoint in self.endpoints.values()
            for variant in endpoint.fleet.variants
        }

    def _check_endpoint(self, props: Properties) -> None:
        config = self.configs.get(props["EndpointConfigName"])
        role = self.role_of(config) if config else ""
        rules.check_endpoint(props, self.configs, role, self._account)

    def _launcher(self, endpoint_name: str) -> Callable[[Properties], Instance]:
        # The models as they are now: an endpoint outlives the deletion of its model.
        models = dict(self.models)
        return lambda variant: self._launch(
            endpoint_name, variant["VariantName"], models[variant["ModelName"]]
        )


def arn(resource: str, name: str) -> str:
    return f"arn:aws:sagemaker:{get_region()}:{get_account_id()}:{resource}/{name}"


def _named(logical_id: str) -> str:
    return f"{logical_id[:50]}-{secrets.token_hex(6)}"


def _new(name: str, existing: Sequence[str] | dict[str, Any]) -> str:
    if name in existing:
        raise Refused(f"Cannot create already existing {name}")
    return name


def _with_capacity_of(old: Properties, new: Properties) -> Properties:
    counts = {v["VariantName"]: v.get("InitialInstanceCount") for v in old["ProductionVariants"]}
    variants = []
    for variant in new["ProductionVariants"]:
        count = counts.get(variant["VariantName"])
        variants.append({**variant, "InitialInstanceCount": count} if count else variant)
    return {**new, "ProductionVariants": variants}


def _canary_share(deployment: Properties, config: Properties) -> float | None:
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    size = routing.get("CanarySize") or routing.get("LinearStepSize")
    if not size:
        return None
    instances = sum(v["InitialInstanceCount"] for v in config["ProductionVariants"])
    percent = size["Type"] == "CAPACITY_PERCENT"
    return float(size["Value"]) / (100 if percent else instances)
