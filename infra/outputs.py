"""Outputs of the stack: names, and a command that calls each target."""

import json
from collections.abc import Iterator, Mapping

from aws_cdk import Aws, CfnMapping, Stack

from infra.image.asset import Image
from infra.lambda_target.target import LambdaTarget
from infra.monitoring import Monitoring
from infra.sagemaker_target.model import BatchJobs
from infra.sagemaker_target.target import SageMakerTarget

# A red square, which is small enough for a command. The other commands send a photo.
SQUARE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVQI12P8z4AdMDEMKQkA"
    "zUEBD9aGuoAAAAAASUVORK5CYII="
)
PHOTO = "container/photos/cat.jpg"
_CONSOLES = {
    "aws": {"Domain": "console.aws.amazon.com"},
    "aws-cn": {"Domain": "console.amazonaws.cn"},
    "aws-us-gov": {"Domain": "console.amazonaws-us-gov.com"},
    "aws-eusc": {"Domain": "console.amazonaws-eusc.eu"},
}

Outputs = Iterator[tuple[str, str, str]]  # name, value, description


def of_stack(
    stack: Stack,
    keys: Mapping[str, str],
    image: Image,
    monitoring: Monitoring,
    *,
    on_lambda: LambdaTarget | None,
    on_sagemaker: SageMakerTarget | None,
    jobs: BatchJobs | None,
) -> Outputs:
    yield "ContextKeys", json.dumps(keys), "the context keys without defaults, for ops plan"
    yield "ImageUri", image.asset.image_uri, "the image that every target runs"
    if on_lambda:
        yield from _of_lambda(on_lambda, stack.region)
    if on_sagemaker:
        yield from _of_sagemaker(on_sagemaker, stack.region)
    if jobs:
        model = jobs.model.attr_model_name
        yield "BatchModelName", model, "the model of transform jobs: python -m ops batch"
        yield "BatchInput", f"{jobs.data_in}/", "the folder that transform jobs may read"
        yield "BatchOutput", f"{jobs.data_out}/", "the folder that transform jobs may write"
    mapping = CfnMapping(stack, "Console", mapping=_CONSOLES)
    domain = mapping.find_in_map(Aws.PARTITION, "Domain")
    console = f"https://{stack.region}.{domain}/cloudwatch/home"
    name = f"#dashboards/dashboard/{monitoring.dashboard.dashboard_name}"
    yield "Dashboard", f"{console}?region={stack.region}{name}", "both targets side by side"


def _of_lambda(target: LambdaTarget, region: str) -> Outputs:
    name = target.alias.function_arn
    yield "FunctionName", name, "the live alias, for --function-name"
    command = (
        f"aws lambda invoke --region {region} --function-name {name} "
        "--cli-binary-format raw-in-base64-out "
        f'--payload \'{{"uri": "{SQUARE}"}}\' /dev/stdout'
    )
    yield "InvokeLambda", command, "invoke the function"
    if not target.url:
        return
    url = target.url.url
    yield "FunctionUrl", url, "POST invocations, signed for lambda"
    # The subshell keeps the credentials out of the user's shell. Only temporary ones have a token;
    # curl would sign an empty header but not send it. `-H` and its value are one word, because zsh
    # does not split the expansion.
    command = (
        '(eval "$(aws configure export-credentials --format env)"; '
        f"curl -sS {url}invocations --aws-sigv4 aws:amz:{region}:lambda "
        '--user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" '
        "${AWS_SESSION_TOKEN:+-Hx-amz-security-token:$AWS_SESSION_TOKEN} "
        f"-H 'content-type: image/jpeg' --data-binary @{PHOTO})"
    )
    yield "InvokeUrl", command, "call the function's URL"


def _of_sagemaker(target: SageMakerTarget, region: str) -> Outputs:
    # With the resource's attribute, the output waits for the endpoint.
    name = target.endpoint.attr_endpoint_name
    yield "EndpointName", name, "the endpoint, for --endpoint-name"
    runtime = f"aws sagemaker-runtime --region {region}"
    command = (
        f"{runtime} invoke-endpoint --endpoint-name {name} "
        f"--content-type image/jpeg --body fileb://{PHOTO} /dev/stdout"
    )
    if target.work:
        folder = target.work.bucket.s3_url_for_object("input")
        yield "AsyncInput", f"{folder}/", "the folder for requests of the endpoint"
        yield "AsyncAnswered", target.work.answered.topic_arn, "the topic of every answer"
        yield "AsyncFailed", target.work.failed.topic_arn, "the topic of every failure"
        command = (
            f"aws s3 cp --region {region} {PHOTO} {folder}/cat.jpg && "
            f"{runtime} invoke-endpoint-async --endpoint-name {name} "
            f"--content-type image/jpeg --input-location {folder}/cat.jpg"
        )
    yield "InvokeEndpoint", command, "invoke the endpoint"
