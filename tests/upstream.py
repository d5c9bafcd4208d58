"""What a `uri` may point to, served on this machine: pictures over http, https and S3.

It stands for the internet and for AWS: the certificate is of an authority made here, S3 is moto's
server behind the real boto3.
"""

import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_network
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import boto3
import trustme
from moto.server import ThreadedMotoServer

from cases import PHOTOS

BUCKET = "photos"


def bridge_address() -> str:
    """The address under which containers on Docker's default network reach this machine."""
    template = "{{(index .IPAM.Config 0).Subnet}}"
    subnet = subprocess.run(
        ["docker", "network", "inspect", "bridge", "--format", template],
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    return str(ip_network(subnet)[1])


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        photo = PHOTOS / parts.path.removeprefix("/")
        if parts.path == "/redirect":
            self._answer(302, b"", Location=parse_qs(parts.query)["to"][0])
        elif parts.path == "/loop":
            self._answer(302, b"", Location="loop")
        elif parts.path == "/page":
            self._answer(200, b"<p>a page")
        elif parts.path == "/large":
            self._answer(200, bytes(4 * 1024 * 1024 + 1))
        elif photo.is_file():
            self._answer(200, photo.read_bytes())
        else:
            self._answer(404, b"")

    def _answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with suppress(ConnectionError):  # a client that has read enough
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@dataclass(frozen=True)
class Upstream:
    """The addresses for a case's placeholders, and the environment that leads a face there."""

    places: Mapping[str, str]
    environment: Mapping[str, str]
    authority: Path


@contextmanager
def upstream(host: str, folder: Path) -> Iterator[Upstream]:
    """Serve on `host`, an address of this machine; `folder` takes the authority's certificate."""
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(folder / "authority.pem"))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(host).configure_cert(context)
    plain = ThreadingHTTPServer((host, 0), _Handler)
    secure = ThreadingHTTPServer((host, 0), _Handler)
    secure.socket = context.wrap_socket(secure.socket, server_side=True)
    s3 = ThreadedMotoServer(ip_address=host, port=0, verbose=False)
    for server in (plain, secure):
        threading.Thread(target=server.serve_forever, daemon=True).start()
    s3.start()
    try:
        environment = {
            "FETCH_PRIVATE_ADDRESSES": "1",
            "URI_ALLOWLIST": f"{host}, s3://{BUCKET}",
            "AWS_ENDPOINT_URL_S3": "http://{}:{}".format(*s3.get_host_and_port()),
            "AWS_ACCESS_KEY_ID": "testing",
            "AWS_SECRET_ACCESS_KEY": "testing",
            "AWS_DEFAULT_REGION": "us-east-1",
            "SSL_CERT_FILE": str(folder / "authority.pem"),
        }
        client = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL_S3"],
            aws_access_key_id="testing",
            aws_secret_access_key="testing",  # noqa: S106 - moto takes any
            region_name="us-east-1",
        )
        client.create_bucket(Bucket=BUCKET)
        for photo in PHOTOS.glob("*.jpg"):
            client.put_object(Bucket=BUCKET, Key=photo.name, Body=photo.read_bytes())
        places = {
            "http": f"http://{host}:{plain.server_port}",
            "https": f"https://{host}:{secure.server_port}",
            "host": host,
        }
        yield Upstream(places, environment, folder / "authority.pem")
    finally:
        s3.stop()
        for server in (plain, secure):
            server.shutdown()
            server.server_close()


@contextmanager
def answering(answer: Callable[[socket.socket, bytes], object], most: int = 1) -> Iterator[int]:
    """A server for `most` connections at a time: `answer` gets each, with the first bytes it sent.

    For answers that no HTTP server gives. Yields its port on 127.0.0.1.
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
