"""Serve the control plane on loopback and on ADDRESS until SIGTERM.

    python -m integration.deploy.plane PORT ADDRESS FOLDER

Containers reach this machine at ADDRESS; FOLDER takes their unpacked models. The environment must
hold the variables that MiniStack reads: see `integration.deploy.cloud`.
"""

import asyncio
import signal
import sys
from pathlib import Path

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app as ministack
from ministack.services import lambda_svc
from ministack.services.cloudformation import custom_resource, provisioners, stacks

from integration.deploy.plane import corrections
from integration.deploy.plane.account import Account
from integration.deploy.plane.codedeploy import CodeDeploy
from integration.deploy.plane.containers import Launcher
from integration.deploy.plane.gateway import Application, gateway
from integration.deploy.plane.sagemaker import SageMaker
from integration.deploy.plane.scaling import Scaling

SCALING = "AWS::ApplicationAutoScaling"


def build(registry: str, folder: Path) -> Application:
    """Add the missing resource types and services to MiniStack, and correct others."""
    account = Account(registry)
    scaling = Scaling(_lambda_aliases, lambda: sagemaker.variants())  # noqa: PLW0108 - defined below
    sagemaker = SageMaker(account, scaling, Launcher(account, folder))
    deploy = CodeDeploy(account.alarms_in_alarm, account.invoke)
    types = {
        "AWS::SageMaker::Model": (sagemaker.create_model, sagemaker.delete_model),
        "AWS::SageMaker::EndpointConfig": (sagemaker.create_config, sagemaker.delete_config),
        "AWS::SageMaker::Endpoint": (sagemaker.create_endpoint, sagemaker.delete_endpoint),
        f"{SCALING}::ScalableTarget": (scaling.create_target, scaling.delete_target),
        f"{SCALING}::ScalingPolicy": (scaling.create_policy, scaling.delete_policy),
        "AWS::CodeDeploy::Application": (deploy.create_application, deploy.delete_application),
        "AWS::CodeDeploy::DeploymentGroup": (deploy.create_group, deploy.delete_group),
    }
    for name, (create, delete) in types.items():
        provisioners._RESOURCE_HANDLERS[name] = {"create": create, "delete": delete}
    endpoint = provisioners._RESOURCE_HANDLERS["AWS::SageMaker::Endpoint"]
    endpoint["update"] = sagemaker.update_endpoint
    provisioners._REPLACING_PROPERTIES["AWS::SageMaker::Endpoint"] = ("EndpointName",)
    # These wait for containers and traffic, so they must not run on the event loop.
    waits = stacks._runs_on_worker_thread
    slow = {"AWS::SageMaker::Endpoint", corrections.ALIAS, corrections.FUNCTION}
    stacks._runs_on_worker_thread = lambda name: name in slow or waits(name)
    corrections.install(account, deploy)
    controls = {
        "hour": corrections.let_an_hour_pass,
        "take-back": lambda: sagemaker.take_updates_back(True),
        "keep": lambda: sagemaker.take_updates_back(False),
        "skew": lambda: sagemaker.skew_answers(True),
        "mend": lambda: sagemaker.skew_answers(False),
    }
    return gateway(ministack, account, sagemaker, scaling, deploy, controls=controls)


def _lambda_aliases() -> frozenset[str]:
    return frozenset(
        f"function:{name}:{alias}"
        for name, function in lambda_svc._functions.items()
        for alias in function["aliases"]
    )


async def main() -> None:
    port, address, folder = sys.argv[1:]
    config = Config()
    config.bind = [f"127.0.0.1:{port}", f"{address}:{port}"]
    config.keep_alive_timeout = 75
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    custom_resource._HOST = address  # containers answer CloudFormation there
    application = build(f"127.0.0.1:{port}", Path(folder))
    await serve(application, config, shutdown_trigger=stop.wait)


if __name__ == "__main__":
    asyncio.run(main())
