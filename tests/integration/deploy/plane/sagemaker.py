"""Emulate SageMaker's models, endpoint configs and endpoints for CloudFormation."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from ministack.core.responses import get_account_id, get_region

from integration.deploy.plane import rules
from integration.deploy.plane.account import Account
from integration.deploy.plane.containers import Container, Launcher, Unhealthy
from integration.deploy.plane.fleets import Endpoint
from integration.deploy.plane.rules import Properties
from integration.deploy.plane.scaling import Scaling
from integration.deploy.plane.shapes import Refused


class SageMaker:
    """The resources of one account, with CloudFormation's handlers.

    A handler returns the physical id (an ARN, for `Ref`) and the attributes for `Fn::GetAtt`. It
    raises Refused, or Unhealthy for an endpoint.
    """

    def __init__(self, account: Account, scaling: Scaling, launch: Launcher) -> None:
        self._account, self._scaling, self._launch = account, scaling, launch
        self.models: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, Endpoint] = {}
        self._takes_back: list[str] = []

    def take_updates_back(self, really: bool) -> None:
        """Revert every update from now on without an error, as SageMaker sometimes does."""
        self._takes_back = ["taken back by itself"] if really else []

    def skew_answers(self, really: bool) -> None:
        """Let every endpoint answer with another label from now on, as another model would."""
        for endpoint in self.endpoints.values():
            endpoint.skewed = really

    def create_model(self, logical_id: str, props: Properties, _stack: str) -> Any:
        name = _new(props.get("ModelName"), logical_id, self.models)
        record = {**props, "ModelName": name}
        rules.check_model(record, self._account)
        identifier = arn("model", name)
        self.models[name] = {**record, "CreationTime": time.time(), "ModelArn": identifier}
        return identifier, {"ModelName": name, "Id": identifier}

    def delete_model(self, physical_id: str, _props: Properties) -> None:
        self.models.pop(physical_id.rsplit("/", 1)[-1], None)

    def create_config(self, logical_id: str, props: Properties, _stack: str) -> Any:
        name = _new(props.get("EndpointConfigName"), logical_id, self.configs)
        record = {**props, "EndpointConfigName": name}
        rules.check_endpoint_config(record, self.models)
        identifier = arn("endpoint-config", name)
        about = {"CreationTime": time.time(), "EndpointConfigArn": identifier}
        self.configs[name] = {**record, **about}
        return identifier, {"EndpointConfigName": name, "Id": identifier}

    def delete_config(self, physical_id: str, _props: Properties) -> None:
        self.configs.pop(physical_id.rsplit("/", 1)[-1], None)

    def create_endpoint(self, logical_id: str, props: Properties, _stack: str) -> Any:
        name = _new(props.get("EndpointName"), logical_id, self.endpoints)
        self._check_endpoint(name, props)
        endpoint = self.endpoints[name] = Endpoint(name)
        try:
            endpoint.create(self.configs[props["EndpointConfigName"]], self._launcher(name))
        except Exception:
            # CloudFormation deletes what it could not create; MiniStack does not.
            del self.endpoints[name]
            raise
        return arn("endpoint", name), {"EndpointName": name}

    def update_endpoint(
        self, physical_id: str, _old: Properties, props: Properties, _stack: str
    ) -> Any:
        name = physical_id.rsplit("/", 1)[-1]
        self._check_endpoint(name, props)
        endpoint = self.endpoints[name]
        config: Properties = self.configs[props["EndpointConfigName"]]
        deployment = props.get("DeploymentConfig", {})
        is_scaled = self._scaling.is_scaled(name)
        rules.check_endpoint_change(endpoint.fleet.config, config, is_scaled=is_scaled)
        if config["EndpointConfigName"] != endpoint.fleet.config["EndpointConfigName"]:
            if props.get("RetainAllVariantProperties"):
                kept = {"InitialInstanceCount": len(endpoint.fleet.instances)}
                [variant] = config["ProductionVariants"]
                config = {**config, "ProductionVariants": [{**variant, **kept}]}
            rollback = deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])
            names = [alarm["AlarmName"] for alarm in rollback]
            try:
                endpoint.update(
                    config,
                    self._launcher(name),
                    canary_share=_canary_share(deployment, config),
                    alarms=lambda: self._takes_back or self._account.alarms_in_alarm(names),
                )
            except Unhealthy:
                if not self._takes_back:
                    raise
                endpoint.failure_reason = ""
        return physical_id, {"EndpointName": name}

    def delete_endpoint(self, physical_id: str, _props: Properties) -> None:
        name = physical_id.rsplit("/", 1)[-1]
        if endpoint := self.endpoints.get(name):
            endpoint.delete()
            del self.endpoints[name]

    def role_of(self, config: Properties) -> str:
        """Return the role of the config's model, which its endpoint uses."""
        return str(self.models[config["ProductionVariants"][0]["ModelName"]]["ExecutionRoleArn"])

    def variants(self) -> dict[str, str]:
        """Return the kinds of all variants, by their resource ids for scaling."""
        return {
            f"endpoint/{each.name}/variant/{each.fleet.variant['VariantName']}": (
                rules.kind(each.fleet.config)
            )
            for each in self.endpoints.values()
        }

    def _check_endpoint(self, name: str, props: Properties) -> None:
        config = self.configs.get(props["EndpointConfigName"])
        role = self.role_of(config) if config else ""
        rules.check_endpoint({**props, "EndpointName": name}, self.configs, role, self._account)

    def _launcher(self, endpoint_name: str) -> Callable[[Properties], Container]:
        models = dict(self.models)  # an endpoint outlives the deletion of its model
        return lambda variant: self._launch(
            endpoint_name, variant["VariantName"], models[variant["ModelName"]]
        )


def arn(resource: str, name: str) -> str:
    return f"arn:aws:sagemaker:{get_region()}:{get_account_id()}:{resource}/{name}"


def _new(name: str | None, logical_id: str, existing: Mapping[str, Any]) -> str:
    if name in existing:
        raise Refused(f"Cannot create already existing {name}")
    return name or f"{logical_id[:50]}-{secrets.token_hex(6)}"


def _canary_share(deployment: Properties, config: Properties) -> float | None:
    routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration", {})
    if not (size := routing.get("CanarySize")):
        return None
    [variant] = config["ProductionVariants"]
    whole = 100 if size["Type"] == "CAPACITY_PERCENT" else variant["InitialInstanceCount"]
    return float(size["Value"]) / whole
