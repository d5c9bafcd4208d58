"""The interface between the service and a model."""

from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from serving.core.contract import Record


class Model(Protocol):
    """A model as the service uses it; `custom_model.adapt` makes one from a module.

    `Net` below is whatever `load_model` returns. The service passes it to every other function.
    """

    def load_model(self, folder: Path, /) -> Any:
        """Load the artifact in a folder and return the Net. Called once in each process."""

    def infer(self, record: Record, net: Any, /) -> object:
        """Answer one request. Raise a ServingError to refuse it; any other exception is a 500."""

    infer_batch: Callable[[Sequence[Record], Any], Iterable[object]] | None
    """Answer two or more requests in order, with an exception where `infer` would raise one.
    None: the service calls `infer` for each of them."""
    warm_up: Callable[[Any], object] | None
    """Run one inference, at start and to prove health. None: health is not proved."""
    payload_types: Collection[str]
    """The media types whose bytes `infer` takes as a `Payload`."""
