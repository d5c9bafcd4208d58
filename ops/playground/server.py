"""The page's server on 127.0.0.1. Only its own page can use it.

Host and Origin must be this server's: a page that reaches it by DNS rebinding sends its own name as
Host, and a page of another origin sends its Origin with each POST. Other accounts on this machine
can send any header, but they lack the printed address's token, which the page keeps as a cookie.
"""

import json
from collections.abc import Sequence
from secrets import compare_digest

from flask import Flask, Response, abort, request

from ops.inputs import Input, picture_of
from ops.playground.exchange import Playground
from ops.playground.shown import about

HOST = "127.0.0.1"
MAX_BODY_BYTES = 64 * 1024**2  # more than any target accepts, so that the targets' limits apply
HEADERS = {
    # The page runs only its own script, which cannot turn text into markup.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def create_app(playground: Playground, examples: Sequence[Input], port: int, token: str) -> Flask:
    """Return the app that serves the page on this port."""
    app = Flask(__name__, static_url_path="/static")
    app.config["MAX_CONTENT_LENGTH"] = MAX_BODY_BYTES
    hosts = {f"{name}:{port}".removesuffix(":80") for name in (HOST, "localhost")}
    origins = {f"http://{host}" for host in hosts}
    cookie = f"playground-{port}"  # a browser sends a cookie to all ports of its host

    @app.before_request
    def refuse_others() -> None:
        if request.method == "POST" and request.headers.get("Origin") not in origins:
            abort(403, "only the playground's own page may ask")
        given = request.args.get("token") or request.cookies.get(cookie, "")
        if request.host not in hosts or not compare_digest(given.encode(), token.encode()):
            abort(403, "open the address that the playground printed in its terminal")

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    @app.get("/")
    def page() -> Response:
        response = app.send_static_file("index.html")
        response.set_cookie(cookie, token, httponly=True, samesite="Strict")
        return response

    @app.get("/about")
    def describe() -> dict[str, object]:
        return {
            "targets": [about(facts) for facts in playground.targets],
            "parity": playground.parity,
            "examples": [
                {"name": item.name, "type": item.content_type, "picture": bool(picture_of(item))}
                for item in examples
            ],
        }

    @app.get("/examples/<int:number>")
    def example(number: int) -> Response:
        if number >= len(examples):
            abort(404)
        return Response(examples[number].body, content_type=examples[number].content_type)

    @app.post("/ask")
    def ask() -> Response:
        """Stream JSON lines, one for each reply as it arrives."""
        content_type = request.headers.get("Content-Type", "")
        item = Input(request.args.get("name", "input"), content_type, request.get_data())

        lines = (json.dumps(told) + "\n" for told in playground.ask(item))
        return Response(lines, content_type="application/x-ndjson")

    return app
