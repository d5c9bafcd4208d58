"""A second model artifact: the default one with other class names, so that answers change."""

import shutil
import tarfile
from pathlib import Path

from serving.manifest import digests, model_id, read, write

PREFIX = "another "


def make(source: Path, folder: Path) -> tuple[Path, str]:
    """The packed archive, made in `folder`, and its model id."""
    unpacked = folder / "artifact"
    shutil.copytree(source, unpacked)
    labels = (source / "labels.txt").read_text().splitlines()
    (unpacked / "labels.txt").write_text("".join(f"{PREFIX}{label}\n" for label in labels))
    write(unpacked, read(source))
    archive = folder / "model.tar.gz"
    # The weights hardly compress.
    with tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for path in sorted(unpacked.iterdir()):
            tar.add(path, path.name)
    return archive, model_id(digests(unpacked))
