"""BentoML: a worker process per CPU, an ASGI application mounted in the service, no batches.

Adapted from https://docs.bentoml.com (Apache-2.0). A BentoML API method would get the body as a
temporary file.
"""

import os
from collections.abc import Callable
from typing import Any

import bentoml
from pasted import load
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

_loaded: list[Callable[[bytes], Any]] = []


async def invocations(request: Request) -> JSONResponse:
    return JSONResponse(await run_in_threadpool(_loaded[0], await request.body()))


app = Starlette(routes=[Route("/invocations", invocations, methods=["POST"])])


@bentoml.asgi_app(app)
@bentoml.service(
    workers=int(os.environ["BENCH_WORKERS"]),
    traffic={"timeout": 300},
    logging={"access": {"enabled": False}},
    metrics={"enabled": False},
)
class Classifier:
    def __init__(self) -> None:
        _loaded.append(load())
