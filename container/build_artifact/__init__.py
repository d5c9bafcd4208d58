"""Build the model's artifact: export it with MXNet, and compare it on the engine that serves.

`python -m build_artifact NAME OUTPUT_DIR`. Two environments take part, since their pins exclude
each other: the exporter's (MXNet, GluonCV, onnx) and the serving one, which runs the command.
"""
