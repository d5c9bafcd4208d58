"""The function, its alias and its URL."""

from typing import Any

import pytest

from templates import GROUPS, SUBNETS, canonical


def test_the_function(both: Any) -> None:
    _, function = both.only("AWS::Lambda::Function")
    assert function["Architectures"] == ["x86_64"]
    assert function["MemorySize"] == 1769
    assert function["Timeout"] == 30
    assert function["EphemeralStorage"] == {"Size": 512}
    assert "ReservedConcurrentExecutions" not in function
    assert "VpcConfig" not in function
    # The entrypoint and its command stay the image's own.
    assert function["PackageType"] == "Image"
    assert "ImageConfig" not in function


def test_the_functions_keys(synthesize: Any) -> None:
    stack = synthesize(
        mode="lambda",
        lambda_memory_mb="3008",
        lambda_timeout_seconds="60",
        lambda_ephemeral_mb="4096",
        lambda_reserved_concurrency="7",
    )
    _, function = stack.only("AWS::Lambda::Function")
    assert (function["MemorySize"], function["Timeout"]) == (3008, 60)
    assert function["EphemeralStorage"] == {"Size": 4096}
    assert function["ReservedConcurrentExecutions"] == 7


def test_the_function_writes_json_to_its_own_log_group(configured: Any) -> None:
    stack = configured("lambda")
    log_group, _ = stack.only("AWS::Logs::LogGroup")
    _, function = stack.only("AWS::Lambda::Function")
    assert function["LoggingConfig"] == {"LogFormat": "JSON", "LogGroup": {"Ref": log_group}}


def test_the_function_joins_the_vpc(configured: Any) -> None:
    _, function = configured("everything").only("AWS::Lambda::Function")
    assert function["VpcConfig"] == {
        "SubnetIds": SUBNETS.split(","),
        "SecurityGroupIds": GROUPS.split(","),
    }


def test_versions_are_kept_to_go_back_to(both: Any) -> None:
    (version,) = both.resources("AWS::Lambda::Version").values()
    assert version["UpdateReplacePolicy"] == "Retain"
    # One that a failed deployment has made is not left behind.
    assert version["DeletionPolicy"] == "RetainExceptOnCreate"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("lambda_memory_mb", "1024"),
        ("lambda_timeout_seconds", "59"),
        ("lambda_ephemeral_mb", "1024"),
        ("model_name", "mobilenetv3_large"),
    ],
)
def test_what_changes_the_function_is_a_new_version(
    synthesize: Any, configured: Any, key: str, value: str
) -> None:
    before, _ = configured("lambda").only("AWS::Lambda::Version")
    changed = synthesize(mode="lambda", **{key: value})
    assert changed.only("AWS::Lambda::Version")[0] != before


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
    assert not both.resources("AWS::Lambda::Permission")
    assert canonical(both.outputs["FunctionName"]["Value"]) == f"${{{alias_id}}}"
    assert canonical(both.outputs["FunctionUrl"]["Value"]) == f"${{{url_id}.FunctionUrl}}"


def test_everybody_may_call_a_public_url_and_nothing_else(configured: Any) -> None:
    """https://docs.aws.amazon.com/lambda/latest/dg/urls-auth.html: both, since October 2025."""
    stack = configured("public")
    alias, _ = stack.only("AWS::Lambda::Alias")
    assert stack.only("AWS::Lambda::Url")[1]["AuthType"] == "NONE"
    permissions = {
        permission["Properties"]["Action"]: permission["Properties"]
        for permission in stack.resources("AWS::Lambda::Permission").values()
    }
    assert permissions.keys() == {"lambda:InvokeFunctionUrl", "lambda:InvokeFunction"}
    for permission in permissions.values():
        assert permission["Principal"] == "*"
        assert canonical(permission["FunctionName"]) == f"${{{alias}}}"
    assert permissions["lambda:InvokeFunctionUrl"]["FunctionUrlAuthType"] == "NONE"
    assert permissions["lambda:InvokeFunction"]["InvokedViaFunctionUrl"] is True


def test_a_public_url_is_warned_of_with_its_cap(configured: Any) -> None:
    (warning,) = configured("public").warnings
    assert "url_auth=none" in warning
    assert "5 at once" in warning


def test_pages_of_the_origins_may_call_the_url(configured: Any) -> None:
    _, url = configured("public").only("AWS::Lambda::Url")
    cors = url["Cors"]
    assert cors["AllowOrigins"] == ["https://a.example", "http://localhost:3000"]
    assert {"GET", "POST"} <= {*cors["AllowMethods"]}  # /ping and /invocations
    assert {"content-type", "authorization"} <= {*cors["AllowHeaders"]}
    assert "x-amzn-sagemaker-custom-attributes" in cors["ExposeHeaders"]
    assert not cors.get("AllowCredentials")


def test_provisioned_concurrency_is_fixed_without_a_cap_to_scale_to(synthesize: Any) -> None:
    stack = synthesize(mode="lambda", lambda_provisioned_concurrency="3")
    _, alias = stack.only("AWS::Lambda::Alias")
    assert alias["ProvisionedConcurrencyConfig"] == {"ProvisionedConcurrentExecutions": 3}
    assert not stack.resources("AWS::ApplicationAutoScaling::ScalableTarget")


def test_no_execution_is_kept_warm_unasked(both: Any) -> None:
    assert "ProvisionedConcurrencyConfig" not in both.only("AWS::Lambda::Alias")[1]
