"""The proof of concept's Lambda face. The event contains the picture as a data URI."""

import base64
import json
import time
from datetime import UTC, datetime
from typing import Any

import inference

_started = time.perf_counter()
net = inference.load_model()
# The same line as in our log, so the benchmark finds the stages of both.
_ready = {
    "timestamp": datetime.now(UTC).isoformat(),
    "message": "ready",
    "seconds": time.perf_counter() - _started,
}
print(json.dumps(_ready), flush=True)


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    data = base64.b64decode(event["uri"].partition(",")[2])
    return inference.infer(data, net, event["uri"][:30])
