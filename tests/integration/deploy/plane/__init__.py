"""The local control plane: MiniStack with SageMaker, scaling and CodeDeploy added.

`python -m integration.deploy.plane` starts it in MiniStack's own environment. `shapes` and `rules`
need only botocore, so tests can call them without MiniStack or Docker.
"""
