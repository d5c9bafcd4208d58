"""`python -m deploy.plane PORT ADDRESS FOLDER`: serve on loopback and on ADDRESS until SIGTERM.

ADDRESS is what containers reach this machine at; FOLDER takes what is unpacked for them. The
environment has to say what MiniStack reads: see `deploy.cloud`.
"""

import asyncio
import signal
import sys
from pathlib import Path

from hypercorn.asyncio import serve
from hypercorn.config import Config
from ministack.app import app as ministack
from ministack.services import ecr, lambda_svc
from ministack.services.cloudformation import provisioners, stacks

from deploy.plane import alarms, functions
from deploy.plane.account import Account
from deploy.plane.asynchronous import Asynchronous
from deploy.plane.codedeploy import CodeDeploy
from deploy.plane.gateway import Application, gateway
from deploy.plane.models import Launcher
from deploy.plane.sagemaker import SageMaker
from deploy.plane.scaling import Scaling


def build(registry: str, folder: Path) -> Application:
    """MiniStack with the missing resource types, its services and its corrections."""
    account = Account(registry)
    scaling = Scaling(_lambda_aliases)
    sagemaker = SageMaker(account, scaling, Launcher(account, folder))
    scaling.endpoint_variants = sagemaker.variants
    codedeploy = CodeDeploy(account.alarms_in_alarm)
    types = {
        "AWS::SageMaker::Model": (sagemaker.create_model, sagemaker.delete_model),
        "AWS::SageMaker::EndpointConfig": (sagemaker.create_config, sagemaker.delete_config),
        "AWS::SageMaker::Endpoint": (sagemaker.create_endpoint, sagemaker.delete_endpoint),
        "AWS::ApplicationAutoScaling::ScalableTarget": (
            scaling.create_target,
            scaling.delete_target,
        ),
        "AWS::ApplicationAutoScaling::ScalingPolicy": (
            scaling.create_policy,
            scaling.delete_policy,
        ),
        "AWS::CodeDeploy::Application": (
            codedeploy.create_application,
            codedeploy.delete_application,
        ),
        "AWS::CodeDeploy::DeploymentGroup": (codedeploy.create_group, codedeploy.delete_group),
    }
    for name, (create, delete) in types.items():
        provisioners._RESOURCE_HANDLERS[name] = {"create": create, "delete": delete}
    endpoint = provisioners._RESOURCE_HANDLERS["AWS::SageMaker::Endpoint"]
    endpoint["update"] = sagemaker.update_endpoint
    provisioners._REPLACING_PROPERTIES["AWS::SageMaker::Endpoint"] = ("EndpointName",)
    # They wait for containers and for traffic; the event loop must not.
    waits = stacks._runs_on_worker_thread
    slow = {"AWS::SageMaker::Endpoint", functions.ALIAS, functions.FUNCTION}
    stacks._runs_on_worker_thread = lambda name: name in slow or waits(name)
    functions.install(account, codedeploy)
    alarms.install()
    _answer_unknown_tags()
    asynchronous = Asynchronous(account, sagemaker)
    return gateway(ministack, sagemaker, asynchronous, scaling, codedeploy)


def _lambda_aliases() -> frozenset[str]:
    return frozenset(
        f"function:{name}:{alias}"
        for name, function in lambda_svc._functions.items()
        for alias in function["aliases"]
    )


def _answer_unknown_tags() -> None:
    """ECR refuses to describe an image that is not there; by that the CDK knows it has to push."""
    describe = ecr._describe_images

    def describing(data: dict[str, object]) -> object:
        name = data.get("repositoryName", "")
        identifiers = data.get("imageIds") or []
        if name in ecr._repositories and isinstance(identifiers, list):
            for identifier in identifiers:
                if not ecr._find_image(name, identifier):
                    return ecr.error_response_json(
                        "ImageNotFoundException", f"no image {identifier} in {name}", 400
                    )
        return describe(data)

    ecr._describe_images = describing


async def main() -> None:
    port, address, folder = sys.argv[1:]
    config = Config()
    config.bind = [f"127.0.0.1:{port}", f"{address}:{port}"]
    config.keep_alive_timeout = 75
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)

    async def stopped() -> None:
        await stop.wait()

    application = build(f"127.0.0.1:{port}", Path(folder))
    await serve(application, config, shutdown_trigger=stopped)


if __name__ == "__main__":
    asyncio.run(main())
