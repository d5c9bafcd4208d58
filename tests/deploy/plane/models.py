"""What an endpoint's containers are started with: image, environment, model data."""

import io
import os
import secrets
import tarfile
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from ministack.core.container_reaper import instance_id
from ministack.core.responses import get_region

from deploy.plane import containers
from deploy.plane.account import Account
from deploy.plane.rules import Properties, model_data_url


class Launcher:
    """Starts the containers of one account's models, each with the model's folder mounted."""

    def __init__(self, account: Account, folder: Path) -> None:
        self._account = account
        self._folder = folder

    def __call__(
        self, endpoint_name: str, variant_name: str, model: Properties
    ) -> containers.Container:
        container = primary(model)
        for unsupported in ("VpcConfig", "EnableNetworkIsolation", "Containers"):
            if model.get(unsupported):
                raise NotImplementedError(f"{unsupported} is not emulated")
        name = f"i-{secrets.token_hex(8)}"
        started = containers.start(
            self._account.local(self._account.resolve(container["Image"])),
            instance=instance_id(),
            environment={**_surroundings(), **container.get("Environment", {})},
            model=self._unpacked(model_data_url(container)),
            name=name,
        )
        group = f"/aws/sagemaker/Endpoints/{endpoint_name}"
        role = model["ExecutionRoleArn"]

        def keep_logs(text: str) -> None:
            # As on AWS: a role that may not write them loses them.
            if self._account.may_log(role, group):
                self._account.write_logs(group, f"{variant_name}/{name}", text)

        return replace(
            started,
            image=self._account.public(started.image),
            specified=container["Image"],
            keep_logs=keep_logs,
        )

    def _unpacked(self, url: str | None) -> Path:
        """A folder of its own; empty where the model has no data, as SageMaker mounts it then."""
        folder = Path(tempfile.mkdtemp(dir=self._folder))
        folder.chmod(0o755)  # whatever user the container runs as
        if url:
            archive = self._account.read_object(url)
            if archive is None:
                raise RuntimeError(f"{url} is gone")
            with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
                tar.extractall(folder, filter="data")
        return folder


def primary(model: Properties) -> Properties:
    container = model.get("PrimaryContainer")
    if container is None:
        raise NotImplementedError("a model of several containers is not emulated")
    return dict(container)


def _surroundings() -> Mapping[str, str]:
    """The region, and this control plane in the role of AWS with its credentials."""
    return {
        "AWS_REGION": get_region(),
        "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
    }
