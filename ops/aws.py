"""This account and region as boto3 clients, and what AWS's refusals mean to an operator."""

import argparse
import os
from collections.abc import Mapping
from functools import cached_property
from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    CredentialRetrievalError,
    HTTPClientError,
    NoCredentialsError,
    PartialCredentialsError,
    ProfileNotFound,
    SSOError,
    TokenRetrievalError,
)
from botocore.exceptions import ConnectionError as NotConnected
from botocore.parsers import ResponseParserError

STACK_NAME = "DualInferenceStack"  # the default of the context key `stack_name`
FALLBACK_REGION = "us-east-1"  # what the CDK CLI takes where none is set
# The last is a page where an answer should be: something between here and AWS sent it.
UNREACHABLE = (HTTPClientError, NotConnected, ResponseParserError)
AWS_ERRORS = (BotoCoreError, ClientError, ResponseParserError)
# An operator waits: the default is a minute for a connection.
_CONFIG = {"connect_timeout": 5, "retries": {"mode": "standard", "total_max_attempts": 3}}
_LOGIN = "log in again (`aws sso login`, `aws configure`), or set AWS_PROFILE"
_LOGIN_ERRORS = (CredentialRetrievalError, PartialCredentialsError, SSOError, TokenRetrievalError)
_MOST_SAID = 300  # characters; a page is longer
_AGAIN = "correct that, or try again"
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
_STALE = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_UNKNOWN_KEY = {"InvalidClientTokenId", "UnrecognizedClientException", "InvalidAccessKeyId"}


class CannotAsk(Exception):
    """AWS could not be asked: why, in one line, and what to do next."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(f"{why}; {fix}")
        self.why, self.fix = why, fix


class NoStack(CannotAsk):
    """There is no such stack, or it has no outputs yet."""


class Aws:
    """One region of the account that the environment's credentials belong to.

    The region is found in the CDK CLI's order, so that the tools ask where it deploys to:
    AWS_REGION, which boto3 alone does not read, comes first and us-east-1 last.
    """

    def __init__(self, region: str | None = None) -> None:
        self._given = region or os.environ.get("AWS_REGION") or None

    @property
    def chosen_region(self) -> str | None:
        """The region that an option, the environment or the profile names."""
        return self._given or self.session.region_name

    @property
    def region(self) -> str:
        return self.chosen_region or FALLBACK_REGION

    @cached_property
    def _core(self) -> Any:
        return botocore.session.get_session()

    @cached_property
    def session(self) -> Any:
        """boto3's. Raises ProfileNotFound."""
        return boto3.Session(botocore_session=self._core, region_name=self._given)

    @property
    def ca_bundle(self) -> str | bool:
        """Whose certificates are trusted, for a request that no client makes: as clients do it."""
        bundle = self._core.get_config_variable("ca_bundle")
        return bundle or os.environ.get("REQUESTS_CA_BUNDLE") or True

    def credentials(self) -> Any:
        """botocore's, frozen. Raises NoCredentialsError or another of AWS_ERRORS."""
        if self._credentials is None:
            raise NoCredentialsError
        return self._credentials.get_frozen_credentials()

    @cached_property
    def _credentials(self) -> Any:
        return self.session.get_credentials()

    def client(self, service: str, **config: Any) -> Any:
        """A client, with botocore's Config of `config`. Raises one of AWS_ERRORS."""
        self.credentials()  # where there are none, each client would look for them again
        settings = Config(**{**_CONFIG, **config})
        return self.session.client(service, region_name=self.region, config=settings)


def add_stack_arguments(parser: argparse.ArgumentParser) -> None:
    """Which stack, and where: the same for every tool that asks AWS."""
    parser.add_argument("--stack", default=STACK_NAME, help="the stack (default: %(default)s)")
    parser.add_argument("--region", help="default: AWS_REGION, the profile's, or us-east-1")


def explain(error: Exception, action: str) -> CannotAsk:
    """What to do about one of AWS_ERRORS; `action` is the IAM action that the call needs."""
    if isinstance(error, NoCredentialsError):
        return CannotAsk("no AWS credentials were found", "run `aws configure`, or set AWS_PROFILE")
    if isinstance(error, ProfileNotFound):
        return CannotAsk(_one_line(error), "`aws configure list-profiles` names those there are")
    if isinstance(error, ClientError):
        code, message = code_of(error), error.response.get("Error", {}).get("Message", "")
        if code in _DENIED:
            return CannotAsk(
                f"these credentials may not {action}", f"ask for a policy that allows {action}"
            )
        if code in _STALE:
            return CannotAsk("the AWS credentials have expired", _LOGIN)
        if code in _UNKNOWN_KEY or code == "SignatureDoesNotMatch":
            return CannotAsk("AWS does not accept these credentials", _LOGIN)
        return CannotAsk(f"AWS refused {action}: {code}: {_one_line(message)}", _AGAIN)
    if isinstance(error, UNREACHABLE):
        return CannotAsk(
            f"AWS cannot be reached: {_one_line(error)}",
            "check the network, the proxy (HTTPS_PROXY) and the region (--region)",
        )
    return CannotAsk(_one_line(error), _LOGIN if isinstance(error, _LOGIN_ERRORS) else _AGAIN)


def code_of(error: ClientError) -> str:
    """The error's code; for a HEAD, which has no body, its HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def stack_outputs(aws: Aws, stack_name: str) -> Mapping[str, str]:
    """The stack's outputs. Raises CannotAsk, and NoStack for one that is not there or has none."""
    action = "cloudformation:DescribeStacks"
    try:
        found = aws.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"][0]
    except AWS_ERRORS as error:
        if isinstance(error, ClientError) and "does not exist" in str(error):
            raise NoStack(
                f"there is no stack {stack_name} in {aws.region}",
                "`cdk deploy` makes it; --stack and --region name another",
            ) from None
        raise explain(error, action) from error
    outputs = {item["OutputKey"]: item["OutputValue"] for item in found.get("Outputs", [])}
    if not outputs:
        raise NoStack(
            f"stack {stack_name} is {found['StackStatus']} and has no outputs",
            "wait until its deployment is done, or run `cdk deploy`",
        )
    return outputs


def _one_line(said: object) -> str:
    return " ".join(str(said).split())[:_MOST_SAID].rstrip(".")
