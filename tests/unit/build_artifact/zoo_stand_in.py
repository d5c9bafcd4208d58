"""Run the exporter with a GluonCV zoo that holds the tests' own weights.

The zoo's bucket is unreliable, and we may not copy its trained weights. A local HTTP server serves
random weights under the zoo's paths, and this script replaces `--exporter`: it sets GluonCV's SHA-1
sums to those of the random weights and runs the real exporter.

    zoo_stand_in.py make WWW NAME...   write weights into WWW/gluon/models, and WWW/sha1.json
    zoo_stand_in.py WWW -m build_artifact.export ...   as `python -m build_artifact.export ...`
"""

import hashlib
import json
import runpy
import sys
import warnings
import zipfile
from pathlib import Path

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import gluoncv
    import mxnet as mx
    from gluoncv.model_zoo import model_store


def make(www: Path, names: list[str]) -> None:
    """Write weights with which each layer affects the answer: no mean of 0, no variance of 1."""
    sums = {}
    folder = www / "gluon" / "models"
    folder.mkdir(parents=True)
    for name in names:
        mx.random.seed(1)
        net = gluoncv.model_zoo.get_model(name)
        net.initialize(mx.init.MSRAPrelu(slope=0))
        image = mx.nd.random.normal(shape=(1, 3, 32, 32))  # determines the weights' shapes
        net(image)
        for parameter in net.collect_params(".*(gamma|running_var)").values():
            parameter.set_data(mx.nd.random.uniform(0.7, 1.3, parameter.shape))
        for parameter in net.collect_params(".*(beta|running_mean)").values():
            parameter.set_data(mx.nd.random.uniform(-0.3, 0.3, parameter.shape))
        # Scale the logits so that the classes differ, but none dominates.
        last = list(net.collect_params(".*weight").values())[-1]
        last.set_data(last.data() * 3 / net(image).asnumpy().std())
        net.save_parameters(str(folder / "weights"))
        sums[name] = hashlib.sha1((folder / "weights").read_bytes()).hexdigest()  # noqa: S324
        file = f"{name}-{sums[name][:8]}"
        with zipfile.ZipFile(folder / f"{file}.zip", "w") as archive:
            archive.write(folder / "weights", f"{file}.params")
        (folder / "weights").unlink()
    (www / "sha1.json").write_text(json.dumps(sums))


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]), sys.argv[3:])
    else:
        www, _, module, *arguments = sys.argv[1:]
        model_store._model_sha1.update(json.loads(Path(www, "sha1.json").read_text()))
        sys.argv = [module, *arguments]
        runpy.run_module(module, run_name="__main__", alter_sys=True)
