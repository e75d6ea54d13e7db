"""A headless Chromium that is spoken to by its DevTools protocol: every console message and request is seen."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from websockets.sync.client import connect

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-sandbox", "--hide-scrollbars",
    "--disable-background-networking", "--no-first-run", "--remote-debugging-port=0",
)  # fmt: skip
PATIENCE = 60.0  # seconds
READY = "'ready' in document.documentElement.dataset"


@dataclass
class Page:
    """One tab."""

    connection: Any
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    last: int = 0

    def ask(self, method: str, **params: object) -> dict[str, Any]:
        """Send a command, and wait for its answer."""
        self.last += 1
        self.connection.send(json.dumps({"id": self.last, "method": method, "params": params}))
        while (message := json.loads(self.connection.recv(timeout=PATIENCE))).get("id") != self.last:
            self._note(message)
        assert "error" not in message, message
        return message["result"]

    def _note(self, event: dict[str, Any]) -> None:
        params = event.get("params", {})
        match event.get("method"):
            case "Network.requestWillBeSent":
                self.requests.append(params["request"]["url"][:200])
            case "Runtime.exceptionThrown":
                self.errors.append(params["exceptionDetails"].get("exception", {}).get("description", "exception"))
            case "Runtime.consoleAPICalled" if params["type"] in ("error", "warning", "assert"):
                self.errors.append(str(params["args"]))
            case "Log.entryAdded" if params["entry"]["level"] in ("error", "warning"):
                self.errors.append(params["entry"]["text"])

    def run(self, expression: str) -> Any:
        """The value of a JavaScript expression."""
        answer = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait for a JavaScript expression to become true."""
        end = time.monotonic() + PATIENCE
        while not self.run(f"Boolean({expression})"):
            assert time.monotonic() < end, f"never true: {expression}; {self.errors}"
            time.sleep(0.02)

    def size(self, width: int, height: int, ratio: float = 1, touch: bool = False) -> None:
        """Of the window, in CSS pixels."""
        metrics = {"width": width, "height": height, "deviceScaleFactor": ratio, "mobile": touch}
        self.ask("Emulation.setDeviceMetricsOverride", **metrics)
        self.ask("Emulation.setTouchEmulationEnabled", enabled=touch, maxTouchPoints=2 if touch else 1)

    def open(self, path: Path, hash: str = "", until: str = READY) -> None:
        """Open a file anew, and wait until it shows what was asked for."""
        self.ask("Page.navigate", url="about:blank")
        self.ask("Page.navigate", url=f"{path.resolve().as_uri()}#{hash}")
        self.until(f"document.readyState == 'complete' && {until}")

    def go(self, hash: str) -> None:
        """Ask the open page for another picture."""
        self.run(f"location.hash = {json.dumps(hash)}; new Promise(done => addEventListener('hashchange', done))")
        self.settle()

    def settle(self) -> None:
        """Wait until the page shows what it was last told to."""
        self.run("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        self.until(READY)

    @contextmanager
    def instead(self, script: str) -> Iterator[None]:
        """Run a script before those of the pages that are opened meanwhile."""
        identifier = self.ask("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
        try:
            yield
        finally:
            self.ask("Page.removeScriptToEvaluateOnNewDocument", identifier=identifier)

    @contextmanager
    def emulating(self, what: str, on: dict[str, object], off: dict[str, object]) -> Iterator[None]:
        """Another kind of browser meanwhile."""
        self.ask(f"Emulation.{what}", **on)
        try:
            yield
        finally:
            self.ask(f"Emulation.{what}", **off)

    def picture(self) -> Tensor:
        """[h, w, 3] of what the window shows, in [0, 1]."""
        shot = self.ask("Page.captureScreenshot", format="png")["data"]
        pixels = np.asarray(Image.open(io.BytesIO(base64.b64decode(shot))).convert("RGB"))
        return torch.tensor(pixels).float() / 255

    def mouse(self, kind: str, x: float, y: float, **more: object) -> None:
        self.ask("Input.dispatchMouseEvent", type=f"mouse{kind}", x=x, y=y, **more)

    def drag(self, begin: tuple[float, float], end: tuple[float, float], button: str = "left") -> None:
        """Press, move, release."""
        held = {"button": button, "buttons": {"left": 1, "right": 2}[button], "clickCount": 1}
        self.mouse("Pressed", *begin, **held)
        self.mouse("Moved", *end, **held)
        self.mouse("Released", *end, **{**held, "buttons": 0})

    def key(self, code: str, held: float = 0, number: int = 0) -> None:
        """Hold a key for some seconds. Controls of the browser's own know it by its number."""
        key = {"code": code, "key": code, "windowsVirtualKeyCode": number}
        self.ask("Input.dispatchKeyEvent", type="rawKeyDown", **key)
        time.sleep(held)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **key)

    def fingers(self, *ways: tuple[tuple[float, float], tuple[float, float]], steps: int = 10) -> None:
        """Fingers go straight ways together, each from a place to another, and are lifted."""
        for step in range(steps + 1):
            share = step / steps
            points = [(a + (c - a) * share, b + (d - b) * share) for (a, b), (c, d) in ways]
            touched = [{"x": x, "y": y, "id": i + 1} for i, (x, y) in enumerate(points)]
            self.ask("Input.dispatchTouchEvent", type="touchMove" if step else "touchStart", touchPoints=touched)
        self.ask("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A browser with one tab, its profile in a folder; skips the test where there is none."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(PROGRAMS)} is installed")
    with open(folder / "log", "w") as log:
        process = subprocess.Popen([program, *FLAGS, f"--user-data-dir={folder}"], stdout=log, stderr=log)
    try:
        port = folder / "DevToolsActivePort"
        end = time.monotonic() + PATIENCE
        while not (port.is_file() and port.read_text().count("\n")):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{program} did not start: {(folder / 'log').read_text()}")
            time.sleep(0.05)
        number, place = port.read_text().splitlines()
        with connect(f"ws://127.0.0.1:{number}{place}", max_size=None, open_timeout=PATIENCE) as browser:
            tab = Page(browser).ask("Target.createTarget", url="about:blank")["targetId"]
            address = f"ws://127.0.0.1:{number}/devtools/page/{tab}"
            with connect(address, max_size=None, open_timeout=PATIENCE) as connection:
                page = Page(connection)
                for domain in ("Page", "Runtime", "Network", "Log"):
                    page.ask(f"{domain}.enable")
                yield page
            Page(browser, last=100).ask("Browser.close")
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
