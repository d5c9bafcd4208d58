"""Build the model's artifact: export it with MXNet, and compare it on the engine that serves.

Two environments take part, since their pins conflict: the exporter's (MXNet, GluonCV, onnx) and the
serving one, which runs `python -m build_artifact NAME OUTPUT_DIR`.
"""
