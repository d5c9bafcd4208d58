"""Serve what a `uri` may name: pictures over http, https (of our own authority) and moto's S3."""

import os
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch
from urllib.parse import parse_qs, urlsplit

import boto3
import trustme
from moto.server import ThreadedMotoServer

from support.cases import PHOTOS
from support.docker import docker

BUCKET = "photos"
BROKEN = ("/trickle", "/endless", "/hang", "/hang-up", "/rubbish", "/truncated")


def bridge_address() -> str:
    """Return the address at which containers on Docker's default network reach this machine."""
    template = "{{(index .IPAM.Config 0).Subnet}}"
    return str(ip_network(docker("network", "inspect", "bridge", "--format", template))[1])


class Asked(NamedTuple):
    """A request. Header names are in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Handler(BaseHTTPRequestHandler):
    """Answer requests of any method by `reply`, and log nothing."""

    def do_POST(self) -> None:
        self.reply(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    do_GET = do_HEAD = do_OPTIONS = do_PUT = do_POST  # noqa: N815 - http.server's names

    def reply(self, body: bytes) -> None:
        raise NotImplementedError

    def asked(self, body: bytes) -> Asked:
        headers = {name.lower(): value for name, value in self.headers.items()}
        return Asked(self.command, self.path, headers, body)

    def answer(self, status: int, body: bytes, headers: Mapping[str, str] = {}) -> None:
        """Send an answer. `headers` may give a false Content-Length."""
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # a client that has read enough
            self.wfile.write(b"" if self.command == "HEAD" else body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def listening(
    handler: Callable[..., BaseHTTPRequestHandler],
    host: str = "127.0.0.1",
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    with ThreadingHTTPServer((host, 0), handler) as server:
        if tls:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        server.daemon_threads, server.block_on_close = True, False  # some answers hang
        server.socket.listen(64)  # several fetches connect at once
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield f"http{'s' if tls else ''}://{host}:{server.server_port}"
        finally:
            server.shutdown()


class PictureHandler(Handler):
    """Serve photographs by their names, and answers that a client must handle.

    These are `/redirect?to=URI&status=302`, `/loop`, `/page`, `/large` and BROKEN.
    """

    other_paths = "none"  # the photograph at all other paths; if there is none, they are 404

    def reply(self, body: bytes) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        photo = PHOTOS / parts.path.removeprefix("/")
        if not photo.is_file():
            photo = PHOTOS / self.other_paths
        if parts.path == "/redirect":
            status = int(query.get("status", ["302"])[0])
            self.answer(status, b"", {"Location": query["to"][0]})
        elif parts.path == "/loop":
            self.answer(302, b"", {"Location": "loop"})
        elif parts.path == "/page":
            self.answer(200, b"<p>a page")
        elif parts.path == "/large":
            self.answer(200, bytes(4 * 1024 * 1024 + 1))
        elif parts.path in BROKEN:
            with suppress(OSError):  # a client that has had enough
                self._misbehave(parts.path)
        elif photo.is_file():
            self.answer(200, photo.read_bytes())
        else:
            self.answer(404, b"")

    def _misbehave(self, path: str) -> None:
        if path == "/trickle":
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
            for byte in bytes(60):  # half a minute
                self.wfile.write(bytes([byte]))
                time.sleep(0.5)
        elif path == "/endless":
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
            while True:
                self.wfile.write(bytes(65536))
        elif path == "/hang":
            self.rfile.read(1)
        elif path == "/rubbish":
            self.wfile.write(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        elif path == "/truncated":
            self.answer(200, bytes(1000), {"Content-Length": "100000"})


@dataclass(frozen=True)
class Upstream:
    """The addresses for a case's placeholders, and the environment of a face that may use them."""

    places: Mapping[str, str]
    environment: Mapping[str, str]
    authority: Path


@contextmanager
def upstream(host: str, folder: Path) -> Iterator[Upstream]:
    """Serve at `host`, an address of this machine; `folder` gets the authority's certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    s3 = ThreadedMotoServer(ip_address=host, port=0, verbose=False)
    s3.start()
    environment = {
        "FETCH_PRIVATE_ADDRESSES": "1",
        "URI_ALLOWLIST": f"{host}, s3://{BUCKET}",
        "AWS_ENDPOINT_URL_S3": "http://{}:{}".format(*s3.get_host_and_port()),
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "SSL_CERT_FILE": str(folder / "authority.pem"),
    }
    try:
        with patch.dict(os.environ, environment):
            client = boto3.Session().client("s3")
        client.create_bucket(Bucket=BUCKET)
        for photo in PHOTOS.glob("*.jpg"):
            client.put_object(Bucket=BUCKET, Key=photo.name, Body=photo.read_bytes())
        with (
            listening(PictureHandler, host) as http,
            listening(PictureHandler, host, context) as https,
        ):
            places = {"http": http, "https": https, "host": host}
            yield Upstream(places, environment, folder / "authority.pem")
    finally:
        s3.stop()


@contextmanager
def answering(answer: Callable[[socket.socket, bytes], object], most: int = 1) -> Iterator[int]:
    """Yield the port on 127.0.0.1 of a server that sends arbitrary answers.

    `answer` gets each connection and its first bytes; `most` connections run at a time.
    """

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return  # the test is over
            with peer, suppress(OSError):  # the client has had enough
                answer(peer, peer.recv(65536))

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threads = [threading.Thread(target=serve, daemon=True) for _ in range(most)]
        for thread in threads:
            thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            for thread in threads:
                thread.join(10)
