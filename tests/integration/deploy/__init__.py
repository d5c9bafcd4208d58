"""The deploy test: the real CDK CLI against a local control plane that runs the image."""
