"""Ours: what the image serves with."""

from serving.engines import load  # before onnxruntime: it switches the telemetry off

import onnxruntime  # noqa: F401 # isort: skip - with the imports, as the others' are

__all__ = ["load"]
