"""The page's server. It answers on 127.0.0.1 only, and no page but its own can drive it.

A page of another origin that a name server leads here (DNS rebinding) sends its own name as Host,
and every page's POST has its Origin: both have to be this server's. Another account of this machine
can send any header: it lacks the token of the printed address, which the page keeps as a cookie.
"""

import json
from collections.abc import Iterator, Sequence
from secrets import compare_digest

from flask import Flask, Response, abort, request

from ops.inputs import Input, picture_of
from ops.playground.exchange import Playground
from ops.playground.shown import about

HOST = "127.0.0.1"
MAX_BODY_BYTES = 64 * 1024**2  # more than any target takes: each refuses what is too large for it
HEADERS = {
    # The page runs its own script only, and that cannot make markup of a text.
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
    """Return the server of a page that asks these targets, on that port."""
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
        """Answer in JSON lines, one as soon as each target has replied."""
        content_type = request.headers.get("Content-Type", "")
        item = Input(request.args.get("name", "input"), content_type, request.get_data())

        def lines() -> Iterator[str]:
            for told in playground.ask(item):
                yield json.dumps(told) + "\n"

        return Response(lines(), content_type="application/x-ndjson")

    return app
