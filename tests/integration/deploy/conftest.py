"""One bootstrapped control plane for all deployment tests."""

from collections.abc import Iterator

import pytest

from integration.deploy.cloud import Cdk, Cloud, cloud


@pytest.fixture(scope="session")
def plane(
    image: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cloud]:
    """Start the control plane. The CDK builds the image again, from the layers of `image`."""
    with cloud() as running:
        Cdk(running, tmp_path_factory.mktemp("bootstrap")).run("bootstrap", mode="lambda")
        yield running
        if request.session.testsfailed:
            print(running.process.output[-8000:])
