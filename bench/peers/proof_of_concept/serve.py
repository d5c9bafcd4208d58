"""The proof of concept's HTTP face: Flask's development server."""

import os
import sys
from pathlib import Path

import inference
from flask import Flask, Response, jsonify, request
from pasted import ready

app = Flask(__name__)
net = inference.load_model()


@app.route("/invocations", methods=["POST"])
def invocations() -> Response:
    return jsonify(inference.infer(request.get_data(), net))


if __name__ == "__main__":
    inference.infer(Path(os.environ["BENCH_PHOTO"]).read_bytes(), net)
    ready()
    app.run(host="127.0.0.1", port=int(sys.argv[1]))
