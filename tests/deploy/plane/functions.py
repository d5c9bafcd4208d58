"""Lambda image functions as AWS has them, where MiniStack differs.

An image is resolved to its digest when the function's code is set; each version runs that digest
in containers of its own, which a later update leaves alone, on a read-only root.
"""

import json
from collections.abc import Callable
from typing import Any

from ministack.services import lambda_svc
from ministack.services.cloudformation import _stacks, provisioners

from deploy.plane import rules
from deploy.plane.account import Account
from deploy.plane.codedeploy import CodeDeploy
from deploy.plane.rules import Properties

FLAGS = "--read-only --tmpfs /tmp"
FUNCTION = "AWS::Lambda::Function"
ALIAS = "AWS::Lambda::Alias"


def install(account: Account, codedeploy: CodeDeploy) -> None:
    """Replace what MiniStack does."""
    lambda_svc.LAMBDA_DOCKER_FLAGS = FLAGS
    _resolve_images(account)
    _keep_versions_apart(account)
    _shift_aliases(codedeploy)


def _resolve_images(account: Account) -> None:
    """CreateFunction and UpdateFunctionCode look the image up; GetFunction tells its digest."""
    handlers = provisioners._RESOURCE_HANDLERS[FUNCTION]
    create, update, get = handlers["create"], handlers["update"], lambda_svc._get_function

    def checked(props: Properties) -> str:
        uri = props["Code"]["ImageUri"]
        rules.check_lambda_image(uri, account)
        variables = props.get("Environment", {}).get("Variables", {})
        rules.check_lambda_environment(variables)
        rules.check_lambda_model_data(props["Role"], variables.get("MODEL_DATA_URL"), account)
        return account.resolve(uri)

    def creating(logical_id: str, props: Properties, stack: str) -> Any:
        resolved = checked(props)
        created = create(logical_id, props, stack)
        _set_resolved(created[0], resolved)
        return created

    def updating(name: str, old: Properties, new: Properties, stack: str, logical_id: str) -> Any:
        resolved = checked(new)
        updated = update(name, old, new, stack, logical_id)
        _set_resolved(name, resolved)
        return updated

    def getting(name: str, qualifier: str | None = None) -> Any:
        status, headers, body = get(name, qualifier)
        answer = json.loads(body)
        if status == 200 and "ImageUri" in answer["Code"]:
            answer["Code"]["ResolvedImageUri"] = answer["Configuration"].pop("ResolvedImageUri")
        return status, headers, json.dumps(answer).encode()

    handlers.update(create=creating, update=updating)
    lambda_svc._get_function = getting


def _set_resolved(name: str, resolved: str) -> None:
    config = lambda_svc._functions[name]["config"]
    config["ResolvedImageUri"] = resolved
    config["CodeSha256"] = resolved.rsplit(":", 1)[-1]  # as AWS has it for images


def _keep_versions_apart(account: Account) -> None:
    """MiniStack keys containers by image alone, and kills them in the middle of a request."""
    spawn, kill = lambda_svc._spawn_lambda_container, lambda_svc._pool_kill_function
    delete = provisioners._RESOURCE_HANDLERS[FUNCTION]["delete"]

    def key(name: str, config: dict[str, Any]) -> str:
        owner = ":".join(lambda_svc._account_region_from_function_config(config))
        return f"{owner}:{name}:{config['Version']}:{config['RevisionId']}"

    def spawning(config: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        local = account.local(config["ResolvedImageUri"])
        return spawn({**config, "ImageUri": local}, *arguments, **options)

    def deleting(name: str, props: Properties) -> None:
        kill(lambda_svc.get_account_id(), name)
        delete(name, props)

    lambda_svc._warm_pool_key = key
    lambda_svc._spawn_lambda_container = spawning
    lambda_svc._pool_kill_function = lambda *_: None
    provisioners._RESOURCE_HANDLERS[FUNCTION]["delete"] = deleting


def _shift_aliases(codedeploy: CodeDeploy) -> None:
    """An alias whose template says so moves by CodeDeploy."""
    handlers = provisioners._RESOURCE_HANDLERS[ALIAS]
    update: Callable[..., Any] = handlers["update"]

    def updating(
        physical_id: str, old: Properties, new: Properties, stack: str, logical_id: str
    ) -> Any:
        policy = _update_policy(stack, logical_id)
        if not policy or old["FunctionVersion"] == new["FunctionVersion"]:
            return update(physical_id, old, new, stack, logical_id)

        codedeploy.shift(
            policy["ApplicationName"],
            policy["DeploymentGroupName"],
            move=lambda: update(physical_id, old, new, stack, logical_id),
            back=lambda: update(physical_id, new, old, stack, logical_id),
        )
        return physical_id, {"AliasArn": physical_id}

    handlers["update"] = updating


def _update_policy(stack_name: str, logical_id: str) -> dict[str, str]:
    """CodeDeployLambdaAliasUpdate of the template that is being deployed, its Refs resolved."""
    stack = _stacks[stack_name]
    definition = json.loads(stack["_template_body"])["Resources"][logical_id]
    policy = definition.get("UpdatePolicy", {}).get("CodeDeployLambdaAliasUpdate", {})
    resources = stack["_resources"]
    return {
        name: resources[value["Ref"]]["PhysicalResourceId"]
        for name, value in policy.items()
        if name in ("ApplicationName", "DeploymentGroupName")
    }
