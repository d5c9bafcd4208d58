"""A network of the test's own, in which every address there is belongs to the test.

Whatever a process in it dials, loopback, metadata or any host of the internet, lands on servers of
the test, and the kernel shows each dial. So a hole in a guard is seen, and leads nowhere else.
"""

import ctypes
import json
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import parse_qs, urlsplit

import trustme
from dnslib import QTYPE, RR, DNSRecord
from dnslib.server import BaseResolver, DNSServer

from cases import PHOTOS
from ops.faces import ROOT

PUBLIC = ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946")
PICTURES = "pictures.example"
NAME_SERVER = "127.0.0.53"
PORTS = (80, 443, 8080, 8443, 9001)
TLS_PORTS = (443, 8443)
# What Python's socket module does not name: asm-generic/socket.h, linux/if_packet.h, if_ether.h
_SO_ATTACH_FILTER = 26
_SO_RCVBUFFORCE = 33
_SOL_PACKET = 263
_PACKET_OUTGOING = 4
_PACKET_STATISTICS = 6
_ETH_P_ALL = 3
# Of TCP what begins a connection, of other protocols everything: a packet socket has no room for
# what a busy server says. (code, where to if so, if not, operand) of linux/bpf_common.h.
_BEGINNINGS = (
    (0x30, 0, 0, 0),  # A = first byte
    (0x74, 0, 0, 4),  # A >>= 4
    (0x15, 0, 5, 4),  # not version 4: to version 6
    (0x30, 0, 0, 9),  # A = protocol
    (0x15, 0, 8, socket.IPPROTO_TCP),  # another one: keep
    (0xB1, 0, 0, 0),  # X = length of the header
    (0x50, 0, 0, 13),  # A = TCP's flags
    (0x05, 0, 0, 3),  # to the flags
    (0x30, 0, 0, 6),  # version 6: A = next header
    (0x15, 0, 3, socket.IPPROTO_TCP),  # another one: keep
    (0x30, 0, 0, 40 + 13),  # A = TCP's flags
    (0x54, 0, 0, 0x12),  # the flags: SYN and ACK
    (0x15, 0, 1, 0x02),  # not SYN alone: drop
    (0x06, 0, 0, 0x40000),  # keep
    (0x06, 0, 0, 0),  # drop
)


class Dial(NamedTuple):
    """What a process asked the kernel to send: the begin of a connection, or a datagram."""

    protocol: str
    address: str
    port: int


def astray(dials: Iterable[Sequence[Any]]) -> set[tuple[Any, ...]]:
    """Those that reach a canary: anything but the web servers that are public."""
    web = {("tcp", address, port) for address in PUBLIC for port in (80, 443)}
    return {tuple(dial) for dial in dials} - web


def inside(task: Callable[..., Any], *arguments: Any, of_process: int = 0) -> Any:
    """What `task`, a function of a module, returns in a process in a network of its own.

    Or in the network of another process, which must be a new one. Arguments and result are JSON. An
    ordinary user becomes root in there. The processes that it started end with it. Its environment
    is bare: a variable of a CI, say, keeps ONNX Runtime from calling home. Raises RuntimeError with
    the last words of what went wrong.
    """
    for program in ("unshare", "nsenter", "mount", "ip"):
        if not shutil.which(program):
            raise RuntimeError(f"there is no {program}: install util-linux, mount and iproute2")
    command = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid():
        command.append("--map-root-user")
    if of_process:
        command = ["nsenter", f"--net=/proc/{of_process}/ns/net", *command]
    else:
        command.append("--net")
    program = "from hostile.network import run; run()"
    kept = ("PATH", "HOME", "TMPDIR", "DOCKER_HOST")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    done = subprocess.run(
        [*command, sys.executable, "-c", program],
        input=json.dumps([task.__module__, task.__qualname__, arguments]),
        env={**environment, "PYTHONPATH": ":".join(map(str, (ROOT, ROOT / "tests")))},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run() -> None:
    """The other side of `inside`."""
    module, name, arguments = json.load(sys.stdin)
    print(json.dumps(getattr(import_module(module), name)(*arguments)))


Zone = Mapping[str, Sequence[Any] | Iterator[Sequence[str]] | None]


class Names(BaseResolver):  # type: ignore[misc]
    """A name server. A name has addresses, or `CNAME other`, or an iterator of such answers.

    Of a name that has None there is no answer at all.
    """

    def __init__(self, zone: Zone) -> None:
        self.asked: list[str] = []
        self._zone = zone

    def resolve(self, request: DNSRecord, _handler: object) -> DNSRecord:
        name = str(request.q.qname).rstrip(".").lower()
        kind = QTYPE[request.q.qtype]
        self.asked.append(name)
        reply = request.reply()
        found = self._zone.get(name, ())
        if found is None:
            raise TimeoutError  # no answer
        if not isinstance(found, Sequence):
            found = next(found) if kind == "A" else ()
        for text in found:
            if text.startswith("CNAME "):
                other = text.removeprefix("CNAME ")
                reply.add_answer(*RR.fromZone(f"{name}. 0 IN CNAME {other}."))
                for address in self._zone.get(other) or ():
                    if _kind(address) == kind:
                        reply.add_answer(*RR.fromZone(f"{other}. 0 IN {kind} {address}"))
            elif _kind(text) == kind:
                reply.add_answer(*RR.fromZone(f"{name}. 0 IN {kind} {text}"))
        return reply


def _kind(address: Any) -> str:
    return "AAAA" if ":" in address else "A"


class _Handler(BaseHTTPRequestHandler):
    """A picture, whatever is asked for; or `/redirect?to=URI&status=302`, `/trickle`, `/large`."""

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = parse_qs(parts.query)
        if parts.path == "/redirect":
            self.send_response(int(query.get("status", ["302"])[0]))
            self.send_header("Location", query["to"][0])
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        body = (PHOTOS / "cat.jpg").read_bytes()
        if parts.path == "/trickle":
            self.wfile.write(b"HTTP/1.0 200 OK\r\n\r\n")
            for byte in body[:60]:  # half a minute, which nobody should wait for
                self.wfile.write(bytes([byte]))
                time.sleep(0.5)
            return
        if parts.path == "/large":
            body *= 1000  # 50 MB
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Everywhere(ThreadingHTTPServer):
    """Answers on every address, as there is none that is not this machine's."""

    address_family = socket.AF_INET6
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls:
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # a client that breaks off is what many cases are about


class Network:
    """The inside: its addresses, its name server, its servers, and what was dialled."""

    def __init__(
        self, names: Names, environment: Mapping[str, str], packets: socket.socket
    ) -> None:
        self.names = names
        self.environment = environment
        """Leads a face to the network's certificate authority."""
        self._packets = packets

    @classmethod
    @contextmanager
    def up(cls, zone: Zone, ports: Sequence[int] = PORTS) -> Iterator["Network"]:
        """Everything is local from here on. To be called in a process that `inside` started."""
        Path("/proc/sys/net/ipv6/conf/all/disable_ipv6").write_text("0")
        for command in (
            "ip link set lo up",
            "ip route add local 0.0.0.0/0 dev lo",
            "ip -6 route add local ::/0 dev lo",
            "ip -6 address add fe80::1/64 dev lo nodad",
        ):
            subprocess.run(command.split(), check=True)
        with ExitStack() as stack:
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            for place, text in {
                "/etc/resolv.conf": f"nameserver {NAME_SERVER}\n",
                "/etc/nsswitch.conf": "hosts: files dns\n",
            }.items():
                stand_in = folder / Path(place).name
                stand_in.write_text(text)
                if Path(place).exists():  # the C library does without it
                    subprocess.run(["mount", "--bind", stand_in, place], check=True)
                    stack.callback(subprocess.run, ["umount", place], check=True)
            packets = stack.enter_context(
                socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
            )
            with suppress(PermissionError):  # an ordinary user has the usual buffer
                packets.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 2**26)
            _attach(packets, _BEGINNINGS)
            packets.bind(("lo", _ETH_P_ALL))
            packets.setblocking(False)
            authority = trustme.CA()
            authority.cert_pem.write_to_path(str(folder / "authority.pem"))
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            authority.issue_cert(PICTURES, *PUBLIC).configure_cert(context)
            for port in ports:
                server = stack.enter_context(_Everywhere(("::", port), _Handler))
                server.tls = context if port in TLS_PORTS else None
                threading.Thread(target=server.serve_forever, daemon=True).start()
                stack.callback(server.shutdown)
            names = Names({PICTURES: PUBLIC, "localhost": ("127.0.0.1", "::1"), **zone})
            resolver = DNSServer(names, address=NAME_SERVER, logger=_Silent())
            resolver.start_thread()
            stack.callback(resolver.server.server_close)
            stack.callback(resolver.stop)
            yield cls(names, {"SSL_CERT_FILE": str(folder / "authority.pem")}, packets)

    def dialled(self) -> list[Dial]:
        """What was dialled since the last call, but for questions to the name server."""
        dials = []
        while True:
            try:
                packet, (_, _, kind, *_) = self._packets.recvfrom(128)
            except BlockingIOError:
                break
            if kind == _PACKET_OUTGOING and (dial := _dial(packet)):
                dials.append(dial)
        statistics = self._packets.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        _, lost = struct.unpack("II", statistics)
        if lost:
            raise RuntimeError(f"{lost} packets were not seen")
        return [dial for dial in dials if dial != Dial("udp", NAME_SERVER, 53)]


class _Silent:
    """A DNSServer's logger that says nothing."""

    def __getattr__(self, _: str) -> Callable[..., None]:
        return lambda *_: None


def _attach(packets: socket.socket, program: Sequence[tuple[int, int, int, int]]) -> None:
    """Has the kernel give the socket just what the program keeps."""
    code = b"".join(struct.pack("HBBI", *instruction) for instruction in program)
    held = ctypes.create_string_buffer(code)
    fprog = struct.pack("HP", len(program), ctypes.addressof(held))
    packets.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, fprog)


def _dial(packet: bytes) -> Dial | None:
    """What an IP packet begins: None for a name server's answer."""
    if packet[0] >> 4 == 4:
        protocol, to = packet[9], packet[16:20]
        rest = packet[(packet[0] & 15) * 4 :]
    else:
        protocol, to, rest = packet[6], packet[24:40], packet[40:]
    address = str(ip_address(to))
    if protocol == socket.IPPROTO_TCP:
        return Dial("tcp", address, int.from_bytes(rest[2:4], "big"))
    if protocol == socket.IPPROTO_UDP:
        answer = rest[:2] == b"\0\x35"
        return None if answer else Dial("udp", address, int.from_bytes(rest[2:4], "big"))
    return Dial(f"protocol {protocol}", address, 0)
