"""The peers: how each is started, what its answers look like and how it was configured."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench.answers import TOLERANCE, Classes, Envelope, results
from bench.environments import PEERS


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A server to compare with. `command` gets its interpreter, its port and how many workers."""

    name: str
    title: str
    folder: str
    command: Callable[[Path, int, int], Sequence[str]]
    settings: Callable[[int, int], Mapping[str, str]] = lambda _port, _workers: {}
    files: Callable[[int, int], Mapping[str, str]] = lambda _port, _workers: {}
    processes: Callable[[int], int] = lambda workers: workers  # that load the model
    envelope: Envelope = results
    tolerance: float = TOLERANCE
    packages: tuple[str, ...] = ()
    variables_left: tuple[str, ...] = field(default=())  # that it runs without
    largest_concurrency: int = 256  # of the sweep
    note: str = ""


def by_class(document: Any) -> Classes:
    """Of multi-model-server's own vision service."""
    return [(one["class"], one["probability"]) for one in document]


def _model_server(handler: str) -> Callable[[Path, int, int], Sequence[str]]:
    def command(python: Path, _port: int, _workers: int) -> Sequence[str]:
        return [
            str(python.with_name("multi-model-server")),
            *("--start", "--foreground", "--mms-config", "config.properties"),
            *("--model-store", str(PEERS / "multi_model_server")),
            *("--models", f"classifier={handler}"),
        ]

    return command


def _model_server_files(port: int, workers: int) -> Mapping[str, str]:
    """What the SageMaker inference toolkit sets, and one worker a CPU."""
    lines = {
        "vmargs": "-XX:-UseContainerSupport",
        "inference_address": f"http://127.0.0.1:{port}",
        "management_address": f"http://127.0.0.1:{port}",
        "default_workers_per_model": workers,
        "default_response_timeout": 300,
        "async_logging": "true",
        "decode_input_request": "false",
    }
    return {"config.properties": "".join(f"{key}={value}\n" for key, value in lines.items())}


def _program(name: str, *more: str) -> Callable[[Path, int, int], Sequence[str]]:
    def command(python: Path, port: int, workers: int) -> Sequence[str]:
        program = [str(python), str(PEERS / name / "server.py")]
        return [*program, "--port", str(port), "--workers", str(workers), *more]

    return command


def _proof_of_concept(python: Path, port: int, _workers: int) -> Sequence[str]:
    return [str(python), str(PEERS / "proof_of_concept" / "serve.py"), "--port", str(port)]


def _bentoml(python: Path, port: int, _workers: int) -> Sequence[str]:
    return [
        *(str(python.with_name("bentoml")), "serve", "service:Classifier"),
        *("--working-dir", str(PEERS / "bentoml"), "--host", "127.0.0.1", "--port", str(port)),
    ]


def _mlserver(python: Path, _port: int, _workers: int) -> Sequence[str]:
    return [str(python.with_name("mlserver")), "start", str(PEERS / "mlserver")]


PEERS_BY_NAME = {
    peer.name: peer
    for peer in (
        Peer(
            name="proof_of_concept",
            title="proof of concept (Flask's development server, SymbolBlock, transform_eval)",
            folder="proof_of_concept",
            command=_proof_of_concept,
            processes=lambda _workers: 1,
            packages=("flask", "werkzeug", "mxnet", "gluoncv", "numpy"),
            variables_left=("OMP_NUM_THREADS",),
            largest_concurrency=32,  # a thread a request, and about 100 MB for each
            note="one process, as that server is; MXNet chooses its threads itself, as it did "
            "there; the picture is posted as bytes, so that it fetches nothing",
        ),
        *(
            Peer(
                name=f"multi_model_server_{handler}",
                title=f"multi-model-server 1.1.11, {title}",
                folder="multi_model_server",
                command=_model_server(handler),
                files=_model_server_files,
                envelope=by_class,
                packages=("multi-model-server", "mxnet", "numpy"),
                note="SageMaker's own settings of it; this model's preprocessing in MXNet's "
                "operators; MXNet with one thread a worker",
            )
            for handler, title in (
                ("gluon", "a Gluon handler, the simplest"),
                ("module", "an MXNet module as in its own examples"),
            )
        ),
        Peer(
            name="multi_model_server",
            title="multi-model-server 1.1.11, same graph, engine and decode",
            folder="multi_model_server",
            command=_model_server("onnx"),
            files=_model_server_files,
            packages=("multi-model-server", "onnxruntime", "numpy"),
            note="SageMaker's own settings of it",
        ),
        Peer(
            name="litserve",
            title="LitServe",
            folder="litserve",
            command=_program("litserve"),
            packages=("litserve", "fastapi", "uvicorn", "onnxruntime", "numpy"),
            note="one API server and the fast queue, the best of its four combinations",
        ),
        Peer(
            name="bentoml",
            title="BentoML",
            folder="bentoml",
            command=_bentoml,
            settings=lambda _port, workers: {"BENCH_WORKERS": str(workers)},
            packages=("bentoml", "uvicorn", "onnxruntime", "numpy"),
            note="a mounted ASGI application, which cost less than an API method; access log and "
            "metrics off; the newest release whose dependencies PyPI has",
        ),
        Peer(
            name="mlserver",
            title="MLServer",
            folder="mlserver",
            command=_mlserver,
            settings=lambda port, workers: {
                "MLSERVER_HTTP_PORT": str(port),
                "MLSERVER_PARALLEL_WORKERS": str(workers),
            },
            packages=("mlserver", "fastapi", "uvicorn", "onnxruntime", "numpy"),
            note="parallel workers and a custom endpoint; metrics, compression and debug off",
        ),
    )
}
