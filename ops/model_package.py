"""What SageMaker's Model Registry says today of the package that `model_package_arn` names.

`cdk synth` keeps what it once said in cdk.context.json.
"""

from botocore.exceptions import ClientError

from ops import model_data
from ops.aws import Aws, code_of, explain
from ops.findings import Finding, State

_ACTION = "sagemaker:DescribeModelPackage"


def probe(aws: Aws, arn: str, account: str, *, on_sagemaker: bool) -> Finding:
    """The package, and then its artifact. Raises one of AWS_ERRORS or CannotAsk."""
    region = (arn.split(":") + [""] * 4)[3]
    if on_sagemaker and region != aws.region:
        fix = f"deploy to {region}, or register it in {aws.region}"
        return Finding(State.FAILS, f"{arn} is a package of {region or 'no region'}", fix)
    try:
        found = Aws(region).client("sagemaker").describe_model_package(ModelPackageName=arn)
    except ClientError as error:
        if code_of(error) == "ValidationException":
            fix = "`aws sagemaker list-model-packages` names those there are"
            return Finding(State.FAILS, f"there is no {arn}", fix)
        raise explain(error, _ACTION) from error
    status = found.get("ModelApprovalStatus")
    if status != "Approved":
        fix = (
            f"aws sagemaker update-model-package --model-package-arn {arn} "
            "--model-approval-status Approved"
        )
        return Finding(State.FAILS, f"{arn} is {status}, not Approved", fix)
    containers = found.get("InferenceSpecification", {}).get("Containers", [])
    if len(containers) != 1:
        fix = "register a package with the one container whose artifact is served"
        return Finding(State.FAILS, f"{arn} has {len(containers)} containers", fix)
    uri = containers[0].get("ModelDataUrl", "")
    return model_data.probe(aws, uri, account, on_sagemaker=on_sagemaker)
