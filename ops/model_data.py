"""Store the object that `model_data` names, and check that the stack's roles can read it."""

import re
import shlex
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from ops.aws import Aws, CannotAsk, code_of, explain, split_s3
from ops.findings import Finding, failure, ok, warning

# The key of the object's metadata. The archive's bytes may vary with zlib's version.
_STORED_AS = "model-id"
_OTHER_ACCOUNT = "is in a bucket of another account, which the stack's roles may not read"


def check(aws: Aws, uri: str, account: str, *, on_sagemaker: bool) -> Finding:
    """Check that the stack can read the object. Raise one of AWS_ERRORS or CannotAsk."""
    match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]+)/(.+\.tar\.gz)", uri)
    if not match:
        fix = "use a URI of the form s3://BUCKET/KEY.tar.gz"
        return failure(f"{uri} is not a model artifact in S3", fix)
    place = {"Bucket": match[1], "Key": match[2]}
    s3 = aws.client("s3")
    try:
        head = s3.head_object(**place, ExpectedBucketOwner=account)
    except ClientError as error:
        if code_of(error) in ("404", "NoSuchKey"):
            fix = f"upload it: {shlex.join(['aws', 's3', 'cp', 'model.tar.gz', uri])}"
            return failure(f"there is no {uri}", fix)
        if code_of(error) == "403" and _owner_was_refused(s3, place):
            return failure(f"{uri} {_OTHER_ACCOUNT}", "copy it to a bucket of this account")
        # This 403 may mean a missing object or one that these credentials may not read.
        raise explain(error, _reading(uri)) from error
    region, manager = aws.region, None  # if these credentials may not ask
    with suppress(ClientError):
        region = s3.head_bucket(Bucket=match[1]).get("BucketRegion") or region
    if on_sagemaker and region != aws.region:
        says = f"{uri} is in {region}, but SageMaker reads model data only from its own region"
        return failure(says, f"copy it to a bucket in {aws.region}")
    if key_arn := head.get("SSEKMSKeyId"):
        with suppress(ClientError):
            manager = aws.client("kms").describe_key(KeyId=key_arn)["KeyMetadata"].get("KeyManager")
        if manager != "AWS":
            kind = "customer key" if manager else "key"
            says = f"{uri} is encrypted with the {kind} {key_arn}; the stack's roles may not use it"
            fix = "let the key's policy allow kms:Decrypt, or copy it with `aws s3 cp --sse AES256`"
            return warning(says, fix)
    return ok(f"{uri} is in this account and readable")


def store(aws: Aws, path: Path, uri: str, model_id: str) -> bool:
    """Upload an archive with its model id; return False if it is there already.

    Raise one of AWS_ERRORS, or CannotAsk, also for another object at `uri` and for a bucket of
    another account.
    """
    bucket, key = split_s3(uri)
    place = {"Bucket": bucket, "Key": key}
    account = aws.client("sts").get_caller_identity()["Account"]
    s3 = aws.client("s3")
    try:
        head = s3.head_object(**place, ExpectedBucketOwner=account)
        if head["Metadata"].get(_STORED_AS) == model_id:
            return False
        why = f"{uri} exists and was not stored by this command"
        raise CannotAsk(why, "delete it, or choose another prefix")
    except ClientError as error:
        if code_of(error) == "403" and _owner_was_refused(s3, place):
            raise CannotAsk(f"{uri} {_OTHER_ACCOUNT}", "choose a bucket of this account") from None
        if code_of(error) != "404":
            raise explain(error, _reading(uri)) from error
    extra = {"Metadata": {_STORED_AS: model_id}, "ExpectedBucketOwner": account}
    try:
        with path.open("rb") as file:
            s3.upload_fileobj(file, bucket, key, ExtraArgs=extra)
    except ClientError as error:
        if code_of(error) == "NoSuchBucket":
            make = f"aws s3 mb s3://{bucket} --region {aws.region}"
            raise CannotAsk(f"there is no bucket {bucket}", make) from None
        raise explain(error, f"s3:PutObject on {uri}") from error
    return True


def _reading(uri: str) -> str:
    return f"s3:GetObject on {uri} and s3:ListBucket on its bucket"


def _owner_was_refused(s3: Any, place: Mapping[str, str]) -> bool:
    """Check whether S3 answers if the request names no expected owner."""
    try:
        s3.head_object(**place)
    except ClientError as error:
        return code_of(error) == "404"
    return True
