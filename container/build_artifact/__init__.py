"""Builds the model's artifact: exported by MXNet, verified on the engine that serves it.

`python -m build_artifact NAME OUTPUT_DIR`. Two environments take part, since their pins exclude
each other: the exporter's (MXNet, GluonCV, onnx) and the serving one, which runs the command.
"""
