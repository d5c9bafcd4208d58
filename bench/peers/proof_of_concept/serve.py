"""The proof of concept's HTTP face: Flask's development server."""

import argparse
import os
from pathlib import Path

import inference
from flask import Flask, Response, jsonify, request
from pasted import ready

app = Flask(__name__)
net = inference.load_model()


@app.route("/ping")
def ping() -> Response:
    return Response(status=200)


@app.route("/invocations", methods=["POST"])
def invocations() -> Response:
    return jsonify(inference.infer(request.get_data(), net))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8080)
    options = parser.parse_args()
    inference.infer(Path(os.environ["BENCH_PHOTO"]).read_bytes(), net)
    ready()
    app.run(host=options.host, port=options.port)
