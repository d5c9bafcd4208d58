"""Make a second model artifact: the default one with other class names, which change answers."""

import shutil
from pathlib import Path

from integration.deploy.cloud import Cloud
from ops.commands.package import pack
from serving.artifact.manifest import digests, model_id, read, write

PREFIX = "another "
BUCKET = "models-of-the-deploy-test"


def upload(plane: Cloud, source: Path, folder: Path) -> dict[str, str]:
    """Upload the other artifact to a new bucket, and return the context that names it."""
    unpacked = shutil.copytree(source, folder / "artifact")
    labels = (source / "labels.txt").read_text().splitlines()
    (unpacked / "labels.txt").write_text("".join(f"{PREFIX}{label}\n" for label in labels))
    write(unpacked, read(source))
    archive = folder / "model.tar.gz"
    pack(unpacked, sorted(digests(unpacked)), archive)
    s3 = plane.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    s3.put_object(Bucket=BUCKET, Key=archive.name, Body=archive.read_bytes())
    identifier = model_id(digests(unpacked))
    return {"model_data": f"s3://{BUCKET}/{archive.name}", "model_id": identifier}


def delete_bucket(plane: Cloud, bucket: str) -> None:
    s3 = plane.client("s3")
    for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", []):
        s3.delete_object(Bucket=bucket, Key=entry["Key"])
    s3.delete_bucket(Bucket=bucket)
