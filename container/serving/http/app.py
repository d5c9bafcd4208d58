"""The HTTP contract as a Flask application."""

import uuid

from flask import Flask, Response, request
from werkzeug.datastructures import Headers

from serving.core import logs
from serving.core.contract import Request
from serving.core.errors import ServingError, TooLarge
from serving.service import METHODS, Service

INFERENCE_ID = "X-Amzn-SageMaker-Inference-Id"


def create_app(service: Service, max_body_bytes: int) -> Flask:
    """Return an application that passes each request to `service.respond`, which answers 404s."""
    app = Flask(__name__, static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = max_body_bytes

    def respond(problem: ServingError | None = None) -> Response:
        logs.request_id.set(request.headers.get(INFERENCE_ID) or uuid.uuid4().hex)
        reply = service.respond(
            Request(
                request.method,
                request.environ["PATH_INFO"],  # as sent: `request.path` has merged slashes
                {name.lower(): value for name, value in request.headers},
                b"" if problem else request.get_data(),
                problem,
            )
        )
        response = Response(reply.body, reply.status)
        response.headers = Headers(list(reply.headers))  # without Flask's default media type
        return response

    for path, methods in METHODS.items():
        app.add_url_rule(
            path, path, respond, methods=list(methods), provide_automatic_options=False
        )
    # nginx refuses such bodies; gunicorn alone does not.
    too_large = TooLarge(f"the body is larger than {max_body_bytes} bytes")
    app.register_error_handler(413, lambda _error: respond(too_large))
    for status in (404, 405):
        app.register_error_handler(status, lambda _error: respond())
    return app
