"""MLServer: a parallel worker per CPU, adaptive batching off, a custom HTTP endpoint.

Adapted from https://mlserver.readthedocs.io (Apache-2.0). MLServer's usual Open Inference Protocol
would carry the picture as base64 in JSON, which is more work for the same answer.
"""

from typing import Annotated, Any

from fastapi import Depends, Request
from mlserver import MLModel
from mlserver.handlers import custom_handler
from pasted import load


async def read(request: Request) -> bytes:
    return await request.body()


class Classifier(MLModel):
    async def load(self) -> bool:
        self.classify = load()
        return True

    @custom_handler(rest_path="/invocations")
    async def invocations(self, image: Annotated[bytes, Depends(read)]) -> dict[str, Any]:
        return self.classify(image)
