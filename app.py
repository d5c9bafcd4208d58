"""The CDK app: context -> one stack. `cdk deploy -c mode=lambda|sagemaker|both`."""

import sys

from aws_cdk import App

from infra.config.context import ConfigError, read_config
from infra.stack import DualInferenceStack

app = App()
try:
    DualInferenceStack(app, read_config(app.node.get_all_context()))
except ConfigError as error:
    sys.exit(str(error))
app.synth()
