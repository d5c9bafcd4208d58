"""Clients for one account and region, and explanations of AWS's errors."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from copy import copy
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import botocore.session
from botocore import exceptions
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ProfileNotFound
from botocore.parsers import ResponseParserError

STACK_NAME = "DualInferenceStack"  # the default of the context key `stack_name`
FALLBACK_REGION = "us-east-1"  # the CDK CLI's default
# A ResponseParserError means that a proxy answered with a web page.
UNREACHABLE = (exceptions.HTTPClientError, exceptions.ConnectionError, ResponseParserError)
AWS_ERRORS = (BotoCoreError, ClientError, ResponseParserError)
_RETRIES = {"mode": "standard", "total_max_attempts": 3}
_LOGIN = "log in again (`aws sso login`, `aws configure`), or set AWS_PROFILE"
_LOGIN_ERRORS = (
    *(exceptions.CredentialRetrievalError, exceptions.PartialCredentialsError),
    *(exceptions.SSOError, exceptions.TokenRetrievalError),
)
_MAX_CHARACTERS = 300  # a message may be a whole web page
_AGAIN = "correct that, or try again"
_DENIED = {"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"}
_STALE = {"ExpiredToken", "ExpiredTokenException", "RequestExpired"}
_REJECTED = {"InvalidClientTokenId", "UnrecognizedClientException"}
_REJECTED |= {"InvalidAccessKeyId", "SignatureDoesNotMatch"}


class CannotAsk(Exception):
    """Say in one line why a target or AWS could not be asked, and what to do next."""

    def __init__(self, why: str, fix: str) -> None:
        super().__init__(f"{why}; {fix}")
        self.why, self.fix = why, fix


class NoStack(CannotAsk):
    """The stack does not exist or has no outputs yet."""


class Aws:
    """One region of the account of the environment's credentials.

    The region is chosen as the CDK CLI chooses it: AWS_REGION first, which boto3 does not read,
    then boto3's own rules, then us-east-1.
    """

    def __init__(self, region: str | None = None) -> None:
        self._core = botocore.session.get_session()
        self._given = region or os.environ.get("AWS_REGION") or None
        if self._given:
            self._core.set_config_variable("region", self._given)

    @property
    def chosen_region(self) -> str | None:
        """Return the region from an option, the environment or the profile, if there is one."""
        return self._given or self.session.region_name

    @property
    def region(self) -> str:
        return self.chosen_region or FALLBACK_REGION

    def at(self, region: str) -> "Aws":
        """Return the same account and session in another region."""
        other = copy(self)
        other._given = region or self._given
        return other

    @cached_property
    def session(self) -> Any:
        """Return the boto3 session. Raise ProfileNotFound."""
        return boto3.Session(botocore_session=self._core)

    @property
    def ca_bundle(self) -> str | bool:
        """Return the `verify` argument for requests that no boto3 client sends."""
        bundle = self._core.get_config_variable("ca_bundle")
        return bundle or os.environ.get("REQUESTS_CA_BUNDLE") or True

    def credentials(self) -> Any:
        """Return frozen credentials; boto3 asks for a code if the profile names an MFA device.

        Raise one of AWS_ERRORS, or CannotAsk if there is no terminal to ask for the code.
        """
        if self._credentials is None:
            raise NoCredentialsError
        try:
            if self._credentials.method == "assume-role" and self._mfa_device:
                try:
                    Path("/dev/tty").open("rb").close()
                except OSError as error:
                    raise EOFError from error
            return self._credentials.get_frozen_credentials()
        except EOFError:
            device = self._mfa_device or "an MFA device"
            why = f"the profile asks for the code of {device}, and there is no terminal"
            fix = "run it in one, or export temporary credentials of the role"
            raise CannotAsk(why, fix) from None

    def sign_in(self) -> None:
        """Let boto3 ask for an MFA code before a spinner hides the question."""
        # The first call reports an unknown profile.
        with explained("sts:AssumeRole"), suppress(ProfileNotFound):
            if self._mfa_device:
                self.credentials()

    @property
    def _mfa_device(self) -> str:
        return str(self._core.get_scoped_config().get("mfa_serial", ""))

    @cached_property
    def _credentials(self) -> Any:
        return self.session.get_credentials()

    def client(self, service: str, **config: Any) -> Any:
        """Return a client; `config` is for botocore's Config. Raise one of AWS_ERRORS."""
        self.credentials()  # if there are none, stop before each client looks for them again
        # An operator is waiting: botocore's default timeout for a connection is a minute.
        config = {"connect_timeout": 5, "retries": _RETRIES, **config}
        return self.session.client(service, region_name=self.region, config=Config(**config))


def split_s3(location: str) -> tuple[str, str]:
    """Return bucket and key of an s3:// URI; the key may have any characters."""
    bucket, _, key = location.removeprefix("s3://").partition("/")
    return bucket, key


def explain(error: Exception, action: str) -> CannotAsk:
    """Explain one of AWS_ERRORS; `action` is the IAM action that the call needs."""
    if isinstance(error, NoCredentialsError):
        return CannotAsk("no AWS credentials were found", "run `aws configure`, or set AWS_PROFILE")
    if isinstance(error, ProfileNotFound):
        return CannotAsk(_one_line(error), "`aws configure list-profiles` lists the profiles")
    if isinstance(error, ClientError):
        code, message = code_of(error), error.response.get("Error", {}).get("Message", "")
        if "MultiFactorAuthentication failed" in message:
            return CannotAsk("AWS refused the MFA code", "type the code that the device shows now")
        if code in _DENIED:
            fix = f"ask for a policy that allows {action}"
            return CannotAsk(f"these credentials may not {action}", fix)
        if code in _STALE:
            return CannotAsk("the AWS credentials have expired", _LOGIN)
        if code in _REJECTED:
            return CannotAsk("AWS does not accept these credentials", _LOGIN)
        return CannotAsk(f"AWS refused {action}: {code}: {_one_line(message)}", _AGAIN)
    if isinstance(error, UNREACHABLE):
        fix = "check the network, the proxy (HTTPS_PROXY) and the region (--region)"
        return CannotAsk(f"AWS cannot be reached: {_one_line(error)}", fix)
    return CannotAsk(_one_line(error), _LOGIN if isinstance(error, _LOGIN_ERRORS) else _AGAIN)


@contextmanager
def explained(action: str) -> Iterator[None]:
    """Turn AWS_ERRORS into CannotAsk; `action` is the IAM action that the calls need."""
    try:
        yield
    except AWS_ERRORS as error:
        raise explain(error, action) from error


def code_of(error: ClientError) -> str:
    """Return the error's code; for a HEAD request, this is the HTTP status."""
    return str(error.response.get("Error", {}).get("Code", ""))


def stack_outputs(aws: Aws, stack_name: str) -> Mapping[str, str]:
    """Return the stack's outputs. Raise NoStack if there are none, or CannotAsk."""
    with explained("cloudformation:DescribeStacks"):
        try:
            found = aws.client("cloudformation").describe_stacks(StackName=stack_name)["Stacks"][0]
        except ClientError as error:
            if "does not exist" not in str(error):
                raise
            fix = "`cdk deploy` makes it; --stack and --region name another"
            raise NoStack(f"there is no stack {stack_name} in {aws.region}", fix) from None
    outputs = {item["OutputKey"]: item["OutputValue"] for item in found.get("Outputs", [])}
    if not outputs:
        fix = "wait until its deployment is done, or run `cdk deploy`"
        raise NoStack(f"stack {stack_name} is {found['StackStatus']} and has no outputs", fix)
    return outputs


def _one_line(message: object) -> str:
    return " ".join(str(message).split())[:_MAX_CHARACTERS].rstrip(".")
