"""Run a real headless browser: Debian's `chromium`.

It runs without its sandbox, which root may not use and our own pages do not need, with its own
profile and only the loopback network. The DevTools protocol drives a page over a pipe, without
another package: https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"),
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
_CAMERA = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
_SECONDS = 60
_KEYS = {"Tab": ("\t", 9), "Enter": ("\r", 13), " ": (" ", 32)}
_KEYS |= {"ArrowRight": ("", 39), "ArrowDown": ("", 40)}


@dataclass
class Page:
    """An open page. `complaints` are its exceptions and the browser's logged errors."""

    commands: int  # file descriptors
    events: int
    complaints: list[str] = field(default_factory=list)
    _session: str = ""
    _number: int = 0
    _read: bytes = b""

    def send(self, method: str, **parameters: Any) -> Any:
        """Send a command of the protocol and return its result."""
        self._number += 1
        command = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            command["sessionId"] = self._session
        os.write(self.commands, json.dumps(command).encode() + b"\0")
        while (message := self._next()).get("id") != self._number:
            self._note(message)
        assert "error" not in message, (method, message["error"])
        return message["result"]

    def _next(self) -> Any:
        while b"\0" not in self._read:
            assert select.select([self.events], [], [], _SECONDS)[0], "the browser is silent"
            self._read += os.read(self.events, 1 << 20)
        message, _, self._read = self._read.partition(b"\0")
        return json.loads(message)

    def _note(self, message: Any) -> None:
        if message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(message["params"]["exceptionDetails"]))
        elif message["method"] == "Log.entryAdded":
            entry = message["params"]["entry"]
            if entry["level"] == "error":
                self.complaints.append(entry["text"])

    def attach(self) -> None:
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        found = self.send("Target.attachToTarget", targetId=target, flatten=True)
        self._session = found["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def go(self, url: str) -> None:
        self.complaints.clear()
        self.send("Page.navigate", url=url)

    def look(self, width: int, height: int, scheme: str = "light") -> None:
        """Set the window's size and the colour scheme."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **size)
        self.send("Emulation.setScrollbarsHidden", hidden=True)
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.send("Emulation.setEmulatedMedia", features=[feature])

    def evaluate(self, expression: str) -> Any:
        """Return the value of an expression, after its promise if it is one."""
        options = {"awaitPromise": True, "returnByValue": True}
        done = self.send("Runtime.evaluate", expression=expression, **options)
        assert "exceptionDetails" not in done, done["exceptionDetails"]
        return done["result"].get("value")

    def wait_for(self, expression: str) -> Any:
        """Return the expression's value as soon as it is true."""
        deadline = time.monotonic() + _SECONDS
        while not (value := self.evaluate(expression)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"{expression}: {self.evaluate('document.body?.innerText')}")
            time.sleep(0.05)
        return value

    def press(self, key: str, modifiers: int = 0) -> None:
        """Press and release a key: a character, or one of Tab, Enter and the arrows."""
        text, code = _KEYS.get(key, (key, ord(key[0])))
        event = {"key": key, "modifiers": modifiers, "windowsVirtualKeyCode": code}
        self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **event)
        self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def drop(self, path: Path, selector: str) -> None:
        """Drag a file from the desktop to an element."""
        box = f"document.querySelector({selector!r}).getBoundingClientRect()"
        x, y = self.evaluate(f"[{box}.x + {box}.width / 2, {box}.y + {box}.height / 2]")
        data = {"items": [], "files": [str(path)], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.send("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)

    def screenshot(self, path: Path) -> None:
        shot = self.send("Page.captureScreenshot", format="png")["data"]
        path.write_bytes(base64.b64decode(shot))


@contextmanager
def open_browser(downloads: Path) -> Iterator[Page]:
    """Yield an empty page in its own browser, whose camera sends a test picture."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program, "there is no browser on the PATH; `apt-get install chromium` brings one"
    command_end, commands = os.pipe()
    events, event_end = os.pipe()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        # The browser reads commands from descriptor 3, and writes events to 4.
        shell = ["bash", "-c", f'exec "$@" 3<&{command_end} 4>&{event_end}', "browser"]
        options = [*_OPTIONS, *_CAMERA, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        command, pipes = [*shell, program, *options], (command_end, event_end)
        with subprocess.Popen(command, pass_fds=pipes, stderr=subprocess.DEVNULL) as browser:
            try:
                page = Page(commands, events)
                page.attach()
                place = {"behavior": "allow", "downloadPath": str(downloads)}
                page.send("Browser.setDownloadBehavior", **place)
                yield page
            finally:
                browser.kill()
                for descriptor in (command_end, commands, events, event_end):
                    os.close(descriptor)
