"""The local control plane: MiniStack, and what it lacks of SageMaker, scaling and CodeDeploy.

`python -m integration.deploy.plane` starts it in MiniStack's own environment. `shapes` and `rules`
need botocore alone, so that tests can call them without MiniStack or Docker.
"""
