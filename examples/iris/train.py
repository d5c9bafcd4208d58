"""Train a scikit-learn pipeline on its own data and export it as ONNX; README.md has the command.

Another estimator, or a whole pipeline of your own, goes the same way, if skl2onnx knows its parts:
https://onnx.ai/sklearn-onnx/supported.html. A pickle would run code when it is loaded, and want
this scikit-learn where it serves; this wants ONNX Runtime, which the image has.
"""

import sys
from pathlib import Path

import sklearn
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from serving.artifact import manifest


def main(artifact: Path) -> None:
    """Write `model.onnx`, (N, 4) float32 -> (N, 3) probabilities, its labels and the manifest."""
    iris = load_iris()
    pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    accuracy = cross_val_score(pipeline, iris.data, iris.target, cv=10).mean()
    print(f"accuracy {accuracy:.3f}, the mean of 10 folds")
    pipeline.fit(iris.data, iris.target)
    graph = to_onnx(
        pipeline,
        initial_types=[("features", FloatTensorType([None, 4]))],
        options={"zipmap": False},
        target_opset=17,
    )
    del graph.graph.output[0]  # the class: the server takes a graph of one output
    artifact.mkdir(exist_ok=True)
    (artifact / "model.onnx").write_bytes(graph.SerializeToString())
    (artifact / "labels.txt").write_text("".join(f"{name}\n" for name in iris.target_names))
    facts = {"name": "iris", "framework": f"scikit-learn {sklearn.__version__}"}
    manifest.write(artifact, {**facts, "accuracy": round(float(accuracy), 4)})


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).with_name("artifact"))
