"""The local control plane: MiniStack, and what it lacks of SageMaker, scaling and CodeDeploy.

`python -m deploy.plane` starts it in MiniStack's own environment. What only judges (`shapes`,
`rules`) needs botocore alone, so that the tests can call it without MiniStack or Docker.
"""
