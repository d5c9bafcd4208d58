"""LitServe: a worker process per CPU, as its documentation advises, and no batches.

Adapted from https://lightning.ai/docs/litserve (Apache-2.0). A FastAPI dependency reads the raw
body, because LitServe itself reads only JSON and forms.
"""

import sys
from typing import Annotated, Any

import litserve
from fastapi import Depends, Request
from pasted import load


async def read(request: Request) -> bytes:
    return await request.body()


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:  # noqa: ARG002 - LitServe's signature
        self.classify = load()

    def decode_request(self, request: Annotated[bytes, Depends(read)]) -> bytes:
        return request

    def predict(self, image: bytes) -> dict[str, Any]:
        return self.classify(image)

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    port, workers = map(int, sys.argv[1:])
    api = Classifier(api_path="/invocations")
    pool = {"accelerator": "cpu", "devices": 1, "workers_per_device": workers}
    server = litserve.LitServer(api, **pool, fast_queue=True, timeout=False)
    quiet = {"log_level": "warning", "access_log": False, "generate_client_file": False}
    server.run(host="127.0.0.1", port=port, num_api_servers=1, **quiet)
