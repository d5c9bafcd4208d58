"""The object that `model_data` names: storing it, and whether the stack's roles could read it."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Aws, CannotAsk, code_of, explain
from ops.findings import Finding, State

_STORED_AS = "model-id"  # in the object's metadata: an archive's bytes may vary with zlib's version
_OTHER_ACCOUNT = "is in a bucket of another account, which the stack's roles may not read"


@dataclass(frozen=True)
class Stored:
    """What S3 and KMS say of an object of this account; None where they may not be asked."""

    uri: str
    bucket_region: str | None
    key_arn: str | None
    """The KMS key of its encryption, None for S3's own."""
    key_manager: str | None
    """AWS or CUSTOMER."""


def conclude(stored: Stored, region: str, *, on_sagemaker: bool) -> Finding:
    where = stored.bucket_region or region
    if on_sagemaker and where != region:
        return Finding(
            State.FAILS,
            f"{stored.uri} is in {where}, and SageMaker reads model data of its own region only",
            f"copy it to a bucket in {region}",
        )
    if stored.key_arn and stored.key_manager != "AWS":
        kind = "customer key" if stored.key_manager else "key"
        return Finding(
            State.WARNING,
            f"{stored.uri} is encrypted with the {kind} {stored.key_arn}; the stack grants its "
            "roles no key",
            "let the key's policy give the stack's roles kms:Decrypt, or copy the object with "
            "`aws s3 cp --sse AES256`",
        )
    return Finding(State.OK, f"{stored.uri} is in this account and readable")


def probe(aws: Aws, uri: str, account: str, *, on_sagemaker: bool) -> Finding:
    """Raises one of AWS_ERRORS or CannotAsk."""
    match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]+)/(.+\.tar\.gz)", uri)
    if not match:
        return Finding(
            State.FAILS, f"{uri} is no model artifact in S3", "name it s3://BUCKET/KEY.tar.gz"
        )
    place = {"Bucket": match[1], "Key": match[2]}
    s3 = aws.client("s3")
    try:
        head = s3.head_object(**place, ExpectedBucketOwner=account)
    except ClientError as error:
        if code_of(error) in ("404", "NoSuchKey"):
            fix = f"upload it: aws s3 cp model.tar.gz {uri}"
            return Finding(State.FAILS, f"there is no {uri}", fix)
        if code_of(error) == "403" and _anybody_answers(s3, place):
            fix = "copy it to a bucket of this account"
            return Finding(State.FAILS, f"{uri} {_OTHER_ACCOUNT}", fix)
        # S3 refuses alike what is not there, what is another account's and what may not be read.
        action = f"s3:GetObject on {uri} and s3:ListBucket on its bucket"
        raise explain(error, action) from error
    key_arn = head.get("SSEKMSKeyId")
    stored = Stored(uri, _region_of(s3, match[1]), key_arn, _manager_of(aws, key_arn))
    return conclude(stored, aws.region, on_sagemaker=on_sagemaker)


def store(aws: Aws, path: Path, uri: str, model_id: str, advance: Callable[[int], None]) -> bool:
    """Put an archive where `uri` says, under its model id; False where it is there already.

    `advance` is told of bytes as they are sent. Raises one of AWS_ERRORS or CannotAsk, also for
    another object there and for a bucket of another account.
    """
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    place = {"Bucket": bucket, "Key": key}
    account = aws.client("sts").get_caller_identity()["Account"]
    s3 = aws.client("s3")
    try:
        head = s3.head_object(**place, ExpectedBucketOwner=account)
        if head["Metadata"].get(_STORED_AS) == model_id:
            return False
        why = f"{uri} is there and was not stored by this command"
        raise CannotAsk(why, "delete it, or name another prefix")
    except ClientError as error:
        if code_of(error) == "403" and _anybody_answers(s3, place):
            raise CannotAsk(f"{uri} {_OTHER_ACCOUNT}", "name a bucket of this account") from None
        if code_of(error) != "404":
            action = f"s3:GetObject on {uri} and s3:ListBucket on its bucket"
            raise explain(error, action) from error
    extra = {"Metadata": {_STORED_AS: model_id}, "ExpectedBucketOwner": account}
    try:
        with path.open("rb") as file:
            s3.upload_fileobj(file, bucket, key, ExtraArgs=extra, Callback=advance)
    except ClientError as error:
        if code_of(error) == "NoSuchBucket":
            fix = f"aws s3 mb s3://{bucket} --region {aws.region}"
            raise CannotAsk(f"there is no bucket {bucket}", fix) from None
        raise explain(error, f"s3:PutObject on {uri}") from error
    return True


def _anybody_answers(s3: Any, place: Mapping[str, str]) -> bool:
    """Whether S3 answers once no owner is expected: then it was the owner that it refused."""
    try:
        s3.head_object(**place)
    except ClientError as error:
        return code_of(error) == "404"
    return True


def _region_of(s3: Any, bucket: str) -> str | None:
    try:
        region: str | None = s3.head_bucket(Bucket=bucket).get("BucketRegion")
    except ClientError:  # needs s3:ListBucket, which the deployment does not
        return None
    return region


def _manager_of(aws: Aws, key_arn: str | None) -> str | None:
    if not key_arn:
        return None
    try:
        key = aws.client("kms").describe_key(KeyId=key_arn)["KeyMetadata"]
    except ClientError:  # needs kms:DescribeKey; or the key is gone, or another account's
        return None
    return str(key["KeyManager"])
