"""List prices for the dashboard's estimate, US dollars, of one region and one day."""

REGION = "us-east-1"
DATE = "2026-09-27"

# https://aws.amazon.com/lambda/pricing/ (x86, first tier)
LAMBDA_GB_SECOND = 0.0000166667
LAMBDA_REQUEST = 0.20 / 1_000_000
PROVISIONED_GB_SECOND = 0.0000041667
PROVISIONED_DURATION_GB_SECOND = 0.0000097222

# https://aws.amazon.com/sagemaker/ai/pricing/
SERVERLESS_GB_SECOND = 0.00002
INSTANCE_HOUR = {
    "ml.t2.medium": 0.056,
    "ml.m5.large": 0.115,
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.m5.4xlarge": 0.922,
    "ml.m6i.large": 0.115,
    "ml.m6i.xlarge": 0.23,
    "ml.m6i.2xlarge": 0.461,
    "ml.m6i.4xlarge": 0.922,
    "ml.m7i.large": 0.121,
    "ml.m7i.xlarge": 0.242,
    "ml.m7i.2xlarge": 0.484,
    "ml.m7i.4xlarge": 0.968,
    "ml.c5.large": 0.102,
    "ml.c5.xlarge": 0.204,
    "ml.c5.2xlarge": 0.408,
    "ml.c5.4xlarge": 0.816,
    "ml.c6i.large": 0.102,
    "ml.c6i.xlarge": 0.204,
    "ml.c6i.2xlarge": 0.408,
    "ml.c6i.4xlarge": 0.816,
    "ml.c7i.large": 0.107,
    "ml.c7i.xlarge": 0.214,
    "ml.c7i.2xlarge": 0.428,
    "ml.c7i.4xlarge": 0.857,
    "ml.g4dn.xlarge": 0.7364,
    "ml.g5.xlarge": 1.408,
}
