"""The function, its alias and its URL."""

from typing import Any

from support.templates import GROUPS, SUBNETS, canonical


def test_the_function_runs_the_images_own_command(both: Any) -> None:
    _, function = both.only("AWS::Lambda::Function")
    assert (function["PackageType"], function["Architectures"]) == ("Image", ["x86_64"])
    assert not function.keys() & {"ReservedConcurrentExecutions", "VpcConfig", "ImageConfig"}


def test_the_functions_keys(synthesize: Any) -> None:
    sizes = {"lambda_memory_mb": "3008", "lambda_ephemeral_mb": "4096"}
    limits = {"lambda_timeout_seconds": "60", "lambda_reserved_concurrency": "7"}
    stack = synthesize(mode="lambda", **sizes, **limits)
    _, function = stack.only("AWS::Lambda::Function")
    assert (function["MemorySize"], function["Timeout"]) == (3008, 60)
    assert function["EphemeralStorage"] == {"Size": 4096}
    assert function["ReservedConcurrentExecutions"] == 7
    log_group, _ = stack.only("AWS::Logs::LogGroup")
    assert function["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": {"Ref": log_group}}


def test_the_function_joins_the_vpc(configured: Any) -> None:
    _, function = configured("everything").only("AWS::Lambda::Function")
    vpc = {"SubnetIds": SUBNETS.split(","), "SecurityGroupIds": GROUPS.split(",")}
    assert function["VpcConfig"] == vpc


def test_the_url_is_the_live_alias_and_signed(both: Any) -> None:
    function, _ = both.only("AWS::Lambda::Function")
    version, _ = both.only("AWS::Lambda::Version")
    alias_id, alias = both.only("AWS::Lambda::Alias")
    url_id, url = both.only("AWS::Lambda::Url")
    assert alias["Name"] == url["Qualifier"] == "live"
    assert canonical(alias["FunctionName"]) == f"${{{function}}}"
    assert canonical(alias["FunctionVersion"]) == f"${{{version}.Version}}"
    assert canonical(url["TargetFunctionArn"]) == f"${{{function}.Arn}}"
    assert alias_id in both.dependencies()[url_id]
    assert url["AuthType"] == "AWS_IAM"
    assert "Cors" not in url
    assert "ProvisionedConcurrencyConfig" not in alias
    assert not both.resources("AWS::Lambda::Permission")
    assert canonical(both.outputs["FunctionName"]["Value"]) == f"${{{alias_id}}}"
    assert canonical(both.outputs["FunctionUrl"]["Value"]) == f"${{{url_id}.FunctionUrl}}"


def test_everybody_may_call_a_public_url_and_nothing_else(configured: Any) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html: both, since October 2025."""
    stack = configured("public")
    alias, _ = stack.only("AWS::Lambda::Alias")
    assert stack.only("AWS::Lambda::Url")[1]["AuthType"] == "NONE"
    found = stack.resources("AWS::Lambda::Permission").values()
    permissions = {p["Properties"]["Action"]: p["Properties"] for p in found}
    assert permissions.keys() == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
    for permission in permissions.values():
        assert permission["Principal"] == "*"
        assert canonical(permission["FunctionName"]) == f"${{{alias}}}"
    assert permissions["lambda:InvokeFunctionUrl"]["FunctionUrlAuthType"] == "NONE"
    assert permissions["lambda:InvokeFunction"]["InvokedViaFunctionUrl"] is True


def test_pages_of_the_origins_may_call_the_url(configured: Any) -> None:
    _, url = configured("public").only("AWS::Lambda::Url")
    cors = url["Cors"]
    assert cors["AllowOrigins"] == ["https://a.example", "http://localhost:3000"]
    assert {"GET", "POST"} <= {*cors["AllowMethods"]}  # /ping and /invocations
    assert {"content-type", "authorization"} <= {*cors["AllowHeaders"]}
    exposed = {"x-amzn-sagemaker-custom-attributes", "x-image-id", "x-model-id", "x-served-by"}
    assert {*cors["ExposeHeaders"]} == exposed
    assert not cors.get("AllowCredentials")


def test_url_auth_off_leaves_the_url_out_for_regions_without_any(configured: Any) -> None:
    stack = configured("without_url")
    assert not stack.resources("AWS::Lambda::Url")
    assert "Url" not in str(stack.outputs.keys())
    assert "InvokeLambda" in stack.outputs
    assert not [n for n in ("UrlRequestCount", "Url5xxCount") if n in str(stack.template)]
    assert len(stack.gates("AWS::Lambda::Alias")) == 3


def test_provisioned_concurrency_is_fixed_without_a_cap_to_scale_to(synthesize: Any) -> None:
    stack = synthesize(mode="lambda", lambda_provisioned_concurrency="3")
    _, alias = stack.only("AWS::Lambda::Alias")
    assert alias["ProvisionedConcurrencyConfig"] == {"ProvisionedConcurrentExecutions": 3}
    assert not stack.resources("AWS::ApplicationAutoScaling::ScalableTarget")
