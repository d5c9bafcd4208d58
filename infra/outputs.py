"""What an operator pastes: names, and one call of each target."""

from aws_cdk import CfnOutput, Stack
from constructs import Construct

from infra.batch import BatchJobs
from infra.image import Image
from infra.lambda_target import LambdaTarget
from infra.monitoring import Monitoring
from infra.sagemaker_target import SageMakerTarget

# A red square, small enough to paste; the others send a photograph of this repository.
SQUARE = (
    "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAgAAAAICAIAAABLbSncAAAAEUlEQVQI12P8z4AdMDEMKQkA"
    "zUEBD9aGuoAAAAAASUVORK5CYII="
)
PHOTO = "container/photos/cat.jpg"


def describe(
    scope: Construct,
    image: Image,
    on_lambda: LambdaTarget | None,
    on_sagemaker: SageMakerTarget | None,
    monitoring: Monitoring,
) -> None:
    """Declare the outputs of what there is."""
    _output(scope, "ImageUri", image.uri, "the image that every target runs")
    if on_lambda:
        _describe_lambda(scope, on_lambda)
    if on_sagemaker:
        _describe_sagemaker(scope, on_sagemaker)
    _describe_monitoring(scope, monitoring)


def _describe_lambda(scope: Construct, target: LambdaTarget) -> None:
    region = Stack.of(scope).region
    name = target.alias.function_arn
    _output(scope, "FunctionUrl", target.url.url, "POST invocations, signed for lambda")
    _output(scope, "FunctionName", name, "the live alias, as --function-name takes it")
    _output(
        scope,
        "InvokeUrl",
        # In a subshell, which forgets the credentials again. Only temporary ones have a token:
        # curl would sign an empty header and not send it. One word, for zsh does not split.
        '(eval "$(aws configure export-credentials --format env)"; '
        f"curl -sS {target.url.url}invocations --aws-sigv4 aws:amz:{region}:lambda "
        '--user "$AWS_ACCESS_KEY_ID:$AWS_SECRET_ACCESS_KEY" '
        "${AWS_SESSION_TOKEN:+-Hx-amz-security-token:$AWS_SESSION_TOKEN} "
        f"-H 'content-type: image/jpeg' --data-binary @{PHOTO})",
        "call the function's URL",
    )
    _output(
        scope,
        "InvokeLambda",
        f"aws lambda invoke --region {region} --function-name {name} "
        "--cli-binary-format raw-in-base64-out "
        f'--payload \'{{"uri": "{SQUARE}"}}\' /dev/stdout',
        "invoke the function",
    )


def _describe_sagemaker(scope: Construct, target: SageMakerTarget) -> None:
    region = Stack.of(scope).region
    # The resource's own attribute: as an output it waits for the endpoint.
    name = target.endpoint.attr_endpoint_name
    runtime = f"aws sagemaker-runtime --region {region}"
    _output(scope, "EndpointName", name, "the endpoint, as --endpoint-name takes it")
    if target.work is None:
        command = (
            f"{runtime} invoke-endpoint --endpoint-name {name} "
            f"--content-type image/jpeg --body fileb://{PHOTO} /dev/stdout"
        )
    else:
        folder = target.work.bucket.s3_url_for_object("input")
        _output(scope, "AsyncInput", f"{folder}/", "where requests of the endpoint are put")
        _output(scope, "AsyncAnswered", target.work.answered.topic_arn, "hears of every answer")
        _output(scope, "AsyncFailed", target.work.failed.topic_arn, "hears of every failure")
        command = (
            f"aws s3 cp --region {region} {PHOTO} {folder}/cat.jpg && "
            f"{runtime} invoke-endpoint-async --endpoint-name {name} "
            f"--content-type image/jpeg --input-location {folder}/cat.jpg"
        )
    _output(scope, "InvokeEndpoint", command, "invoke the endpoint")


def describe_jobs(scope: Construct, jobs: BatchJobs) -> None:
    """Declare what starts a transform job."""
    name = jobs.model.attr_model_name
    _output(scope, "BatchModelName", name, "the model of transform jobs: python -m ops batch")
    _output(scope, "BatchInput", f"{jobs.data_in}/", "what they may read")
    _output(scope, "BatchOutput", f"{jobs.data_out}/", "where they may write")


def _describe_monitoring(scope: Construct, monitoring: Monitoring) -> None:
    region = Stack.of(scope).region
    _output(
        scope,
        "Dashboard",
        f"https://{region}.console.aws.amazon.com/cloudwatch/home?region={region}"
        f"#dashboards/dashboard/{monitoring.dashboard.dashboard_name}",
        "both targets side by side",
    )


def _output(scope: Construct, name: str, value: str, description: str) -> None:
    CfnOutput(scope, name, value=value, description=description)
