import pytest

from bench.servers import FOLDER, PEERS
from ops.local_servers import ROOT
from support.locks import pins


@pytest.mark.parametrize("name", [name for name in PEERS if name != "proof_of_concept"])
def test_every_peer_serves_with_our_engine_and_decode(name: str) -> None:
    """The peers' lock files pin the image's versions."""
    locked = pins(FOLDER / name / "requirements.txt")
    theirs = {pin.name: pin.version for pin in locked}
    ours = {pin.name: pin.version for pin in pins(ROOT / "container" / "requirements.txt")}
    for package in ("onnxruntime", "numpy", "opencv-python-headless", "simplejpeg"):
        assert theirs[package] == ours[package]
    assert all(pin.hashes for pin in locked)
