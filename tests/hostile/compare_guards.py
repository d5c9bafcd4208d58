"""Our guard beside the kept libraries that guard requests, as a table.

    PYTHONPATH=.:tests .venv/bin/python -c 'from hostile.compare_guards import main; main()'

Each gets the URIs of the tests in a network of its own, set up as its documentation says that it is
safest. No test: it installs them, and shows once which one to use.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hostile.network import Network, astray, inside
from hostile.test_addresses import SILENT, groups
from hostile.uris import zone
from ops.faces import ROOT

SECONDS = 3
LOOP = """
import json, sys
for line in sys.stdin:
    try:
        body = fetch(json.loads(line))
        answer = len(body)
    except Exception as error:
        answer = type(error).__name__
    print(json.dumps(answer), flush=True)
"""
OURS = f"""
sys = __import__("sys"); sys.path.append({str(ROOT / "container")!r})
from serving.fetch import Fetcher
fetch = Fetcher(4 * 1024**2, {SECONDS})
"""
REQUESTS = """
def fetch(uri):
    response = get(uri, timeout=3)
    response.raise_for_status()
    return response.content
"""
GUARDS: Mapping[str, tuple[str, str]] = {
    "ours": ("", OURS),
    "ssrfguard": (
        "ssrfguard==0.4.1 requests==2.34.2",
        "from ssrfguard import Policy\nfrom ssrfguard.requests import Session\n"
        "get = Session(policy=Policy(max_redirects=3)).get" + REQUESTS,
    ),
    "microsoft-antissrf": (
        "microsoft-antissrf==1.0.0",
        "from AntiSSRF import AntiSSRFPolicy, PolicyConfigOptions\n"
        "policy = AntiSSRFPolicy(PolicyConfigOptions.EXTERNAL_ONLY_LATEST)\n"
        "policy.allow_plain_text_http = True\n"
        "get = policy.get_antissrf_session().get" + REQUESTS,
    ),
    "requests-hardened": (
        "requests-hardened==1.3.0",
        "from functools import partial\nfrom requests_hardened import Config, Manager\n"
        "config = Config(ip_filter_enable=True, ip_filter_allow_loopback_ips=False,\n"
        "                never_redirect=False, default_timeout=(2, 3))\n"
        "get = partial(Manager(config).send_request, 'GET')" + REQUESTS,
    ),
    "drawbridge": (
        "drawbridge==0.1.2",
        "import drawbridge\n"
        "client = drawbridge.SyncClient(drawbridge.Policy(timeout=3, max_redirects=3,\n"
        "                                                 allow_ports={80, 443}))\n"
        "def fetch(uri):\n    response = client.get(uri)\n"
        "    assert response.status_code == 200\n    return response.content\n",
    ),
    "httpx-secure": (
        "httpx-secure==2.0.0",
        "import asyncio, httpx, httpx_secure\n"
        "async def get(uri):\n"
        "    client = httpx.AsyncClient(timeout=3, follow_redirects=True, max_redirects=3)\n"
        "    async with httpx_secure.httpx_ssrf_protection(client) as client:\n"
        "        response = await client.get(uri)\n"
        "        response.raise_for_status()\n        return response.content\n"
        "fetch = lambda uri: asyncio.run(get(uri))\n",
    ),
    "safehttpx": (
        "safehttpx==0.2.0",
        "import asyncio, safehttpx\n"
        "async def get(uri):\n    response = await safehttpx.get(uri, timeout=3)\n"
        "    response.raise_for_status()\n    return response.content\n"
        "fetch = lambda uri: asyncio.run(get(uri))\n",
    ),
    "advocate": ("advocate==1.0.0", "from advocate import get\n" + REQUESTS),
}


def attacked(python: str, program: str, uris: Mapping[str, list[str]]) -> dict[str, Any]:
    """To be called inside: what a guard says of each URI, what it dialled, and for how long."""
    found: dict[str, Any] = {}
    with Network.up({**zone(), SILENT: None}) as network:
        authority = network.environment["SSL_CERT_FILE"]
        guard = subprocess.Popen(
            [python, "-c", program + LOOP],
            env={"SSL_CERT_FILE": authority, "REQUESTS_CA_BUNDLE": authority},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert guard.stdin and guard.stdout
        for group, members in uris.items():
            found[group] = []
            for uri in members:
                started = time.monotonic()
                guard.stdin.write(json.dumps(uri) + "\n")
                guard.stdin.flush()
                answer = json.loads(guard.stdout.readline())
                seconds = time.monotonic() - started
                found[group].append((uri, answer, network.dialled(), seconds))
        guard.kill()
    return found


def main() -> None:
    uris = groups()
    columns = "hostile URIs that reach a canary, redirects, names bound anew, public URIs fetched, "
    columns += "name server silent, body trickles, 50 MB"
    print("| |", " | ".join(columns.split(", ")), "|")
    print("| ---" * (columns.count(",") + 2), "|")
    with tempfile.TemporaryDirectory() as folder:
        for name, (packages, program) in GUARDS.items():
            python = sys.executable
            if packages:
                uv, place = f"{Path(sys.executable).parent}/uv", f"{folder}/{name}"
                subprocess.run([uv, "venv", "--quiet", "--python", python, place], check=True)
                python = f"{place}/bin/python"
                install = [uv, "pip", "install", "--quiet", "--python", python]
                subprocess.run([*install, *packages.split()], check=True)
            found = inside(attacked, python, program, uris)
            print("|", name, packages, "|", " | ".join(verdicts(found)), "|", flush=True)


def verdicts(found: Mapping[str, list[Any]]) -> list[str]:
    """One cell for each question."""

    def led(*groups: str) -> str:
        all_of = [one for group in groups for one in found[group]]
        return f"{sum(bool(astray(one[2])) for one in all_of)} of {len(all_of)}"

    public = [one for one in found["public"] if isinstance(one[1], int)]
    return [
        led("hostile"),
        led("redirects", "every status"),
        led("mixed", "rebinding", "rebinding redirect"),
        f"{len(public)} of {len(found['public'])}",
        *(f"{found[group][0][3]:.1f} s" for group in ("silent name server", "trickle")),
        "read" if isinstance(found["large"][0][1], int) else "refused",
    ]
