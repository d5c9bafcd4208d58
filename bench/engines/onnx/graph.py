"""Count a graph's operations and free its batch dimension: `graph.py MODEL FREED`.

Prints the operations of a forward of one picture: two for each multiply-add of its convolutions and
fully connected layers, which are all of them but a few in a thousand. FREED is the same graph for
any number of pictures, its weights inside.
"""

import math
import sys
from pathlib import Path

import onnx


def operations(model: onnx.ModelProto) -> int:
    """Raises KeyError at a layer whose weight or output has no shape."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    weights = {one.name: list(one.dims) for one in graph.initializer}
    outputs = {
        one.name: [size.dim_value for size in one.type.tensor_type.shape.dim]
        for one in [*graph.value_info, *graph.output]
    }
    total = 0
    for node in graph.node:
        if node.op_type in ("Conv", "Gemm"):
            weight, output = weights[node.input[1]], outputs[node.output[0]]
            # Multiply-adds of an output value: a Conv's weight is (out, in / groups, ...), a
            # Gemm's has the output's last dimension as one of its two.
            each = math.prod(weight) // (weight[0] if node.op_type == "Conv" else output[-1])
            total += 2 * math.prod(output) * each
    return total


def free_batch(model: onnx.ModelProto) -> None:
    for value in (model.graph.input[0], model.graph.output[0]):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    del model.graph.value_info[:]  # which would still say 1


def main(source: str, freed: str) -> None:
    model = onnx.load(source)
    print(operations(model))
    free_batch(model)
    Path(freed).write_bytes(model.SerializeToString())


if __name__ == "__main__":
    main(*sys.argv[1:])
