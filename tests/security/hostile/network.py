"""Run a test in an isolated network in which the test owns every address.

Connections to loopback, a metadata address or any host of the internet end at the test's servers,
and the kernel reports every attempt.
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
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from http.server import ThreadingHTTPServer
from importlib import import_module
from ipaddress import ip_address
from pathlib import Path
from typing import Any, NamedTuple

import trustme
from dnslib import QTYPE, RR, DNSRecord
from dnslib.server import BaseResolver, DNSLogger, DNSServer

from ops.local_servers import ROOT
from support.upstream import PictureHandler

PUBLIC = ("93.184.216.34", "2606:2800:220:1:248:1893:25c8:1946")
PICTURES = "pictures.example"
NAME_SERVER = "127.0.0.53"
PORTS = (80, 443, 8080, 8443, 9001)
TLS_PORTS = (443, 8443)
# Constants that Python's socket module lacks: asm-generic/socket.h, linux/if_packet.h, if_ether.h
_SO_ATTACH_FILTER, _SO_RCVBUFFORCE = 26, 33
_SOL_PACKET, _PACKET_OUTGOING, _PACKET_STATISTICS = 263, 4, 6
_ETH_P_ALL = 3
# A BPF program that keeps the first packet of each TCP connection and every packet of other
# protocols: a packet socket cannot hold all that a busy server sends. Each instruction is an
# operation, two relative jumps (if true, if false) and an operand: linux/bpf_common.h.
_FIRST_PACKETS = (
    (0x30, 0, 0, 0),  # A = first byte
    (0x74, 0, 0, 4),  # A >>= 4
    (0x15, 0, 5, 4),  # not IPv4: go to IPv6
    (0x30, 0, 0, 9),  # A = protocol
    (0x15, 0, 8, socket.IPPROTO_TCP),  # not TCP: keep
    (0xB1, 0, 0, 0),  # X = length of the header
    (0x50, 0, 0, 13),  # A = TCP flags
    (0x05, 0, 0, 3),  # go to the flags
    (0x30, 0, 0, 6),  # IPv6: A = next header
    (0x15, 0, 3, socket.IPPROTO_TCP),  # not TCP: keep
    (0x30, 0, 0, 40 + 13),  # A = TCP flags
    (0x54, 0, 0, 0x12),  # the flags: SYN and ACK
    (0x15, 0, 1, 0x02),  # not SYN alone: drop
    (0x06, 0, 0, 0x40000),  # keep
    (0x06, 0, 0, 0),  # drop
)


class Dial(NamedTuple):
    """The start of a connection, or a datagram, that a process asked the kernel to send."""

    protocol: str
    address: str
    port: int


def astray(dials: Iterable[Sequence[Any]]) -> set[tuple[Any, ...]]:
    """Return the dials that reach a canary: anything but the public web servers."""
    web = {("tcp", address, port) for address in PUBLIC for port in (80, 443)}
    return {tuple(dial) for dial in dials} - web


def inside(task: Callable[..., Any], *arguments: Any, of_process: int = 0) -> Any:
    """Call `task`, a module's function, in a process in a new network; return its result.

    `of_process`: use that process's network, which must be new. Arguments and result are JSON. An
    ordinary user becomes root inside. Processes that the task starts end with it. The environment
    is bare, since a CI's variables keep ONNX Runtime from calling home. Raise RuntimeError with the
    end of the error output.
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
    kept = ("PATH", "HOME", "TMPDIR", "DOCKER_HOST")
    environment = {name: os.environ[name] for name in kept if name in os.environ}
    done = subprocess.run(
        [*command, sys.executable, "-c", "from security.hostile.network import run; run()"],
        input=json.dumps([task.__module__, task.__qualname__, arguments]),
        env={**environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def run() -> None:
    module, name, arguments = json.load(sys.stdin)
    print(json.dumps(getattr(import_module(module), name)(*arguments)))


Zone = Mapping[str, Sequence[Any] | Iterator[Sequence[str]] | None]


class Names(BaseResolver):  # type: ignore[misc]
    """A name server. Its zone maps a name to addresses, `CNAME other`, an iterator of answers, or
    None for no answer.
    """

    def __init__(self, zone: Zone) -> None:
        self.asked: list[str] = []
        self._zone = zone

    def resolve(self, request: DNSRecord, _handler: object) -> DNSRecord:
        name = str(request.q.qname).rstrip(".").lower()
        self.asked.append(name)
        reply = request.reply()
        for owner, kind, value in self._records(name, QTYPE[request.q.qtype]):
            reply.add_answer(*RR.fromZone(f"{owner}. 0 IN {kind} {value}"))
        return reply

    def _records(self, name: str, kind: str) -> Iterator[tuple[str, str, str]]:
        found = self._zone.get(name, ())
        if found is None:
            raise TimeoutError
        if not isinstance(found, Sequence):
            found = next(found) if kind == "A" else ()
        for value in found:
            if value.startswith("CNAME "):
                other = value.removeprefix("CNAME ")
                yield name, "CNAME", f"{other}."
                yield from self._records(other, kind)
            elif kind == ("AAAA" if ":" in value else "A"):
                yield name, kind, value


class _Handler(PictureHandler):
    other_paths = "cat.jpg"


class _Everywhere(ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    tls: ssl.SSLContext | None = None

    def finish_request(self, request: Any, client_address: Any) -> None:
        if self.tls:
            request = self.tls.wrap_socket(request, server_side=True)
        super().finish_request(request, client_address)

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass  # many cases break the connection off


@dataclass(frozen=True)
class Network:
    """The network seen from inside. `environment` leads a face to its certificate authority."""

    names: Names
    environment: Mapping[str, str]
    _packets: socket.socket

    @classmethod
    @contextmanager
    def up(cls, zone: Zone, ports: Sequence[int] = PORTS) -> Iterator["Network"]:
        """Make every address local. Call it in a process that `inside` started."""
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
                if Path(place).exists():  # the C library does not need it
                    subprocess.run(["mount", "--bind", stand_in, place], check=True)
                    stack.callback(subprocess.run, ["umount", place], check=True)
            kind = (socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_ALL))
            packets = stack.enter_context(socket.socket(*kind))
            with suppress(PermissionError):  # an ordinary user keeps the default buffer
                packets.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, 2**26)
            code = b"".join(struct.pack("HBBI", *step) for step in _FIRST_PACKETS)
            held = ctypes.create_string_buffer(code)
            program = struct.pack("HP", len(_FIRST_PACKETS), ctypes.addressof(held))
            packets.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
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
            resolver = DNSServer(names, address=NAME_SERVER, logger=DNSLogger(logf=lambda _: None))
            resolver.start_thread()
            stack.callback(resolver.server.server_close)
            stack.callback(resolver.stop)
            yield cls(names, {"SSL_CERT_FILE": str(folder / "authority.pem")}, packets)

    def dialled(self) -> list[Dial]:
        """Return what was dialled since the last call, except for DNS queries."""
        dials = []
        while True:
            try:
                packet, (_, _, kind, *_) = self._packets.recvfrom(128)
            except BlockingIOError:
                break
            if kind == _PACKET_OUTGOING and (dial := _dial(packet)):
                dials.append(dial)
        statistics = self._packets.getsockopt(_SOL_PACKET, _PACKET_STATISTICS, 8)
        if lost := struct.unpack("II", statistics)[1]:
            raise RuntimeError(f"{lost} packets were not seen")
        return [dial for dial in dials if dial != Dial("udp", NAME_SERVER, 53)]


def _dial(packet: bytes) -> Dial | None:
    """Return the dial that an IP packet starts, or None for a name server's answer."""
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
