"""Chromium without a window, driven by WebDriver: what a person sees on a page."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from servers import free_port

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(not CHROMIUM, reason="Chromium is not installed")
needs_browser = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium or its driver is not installed")
_ARGUMENTS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run")
_PATIENCE_S = 60


def drawn(file: Path, fragment: str = "") -> str:
    """Return the document of a page on disk once its scripts have run, without a driver."""
    printing = ("--dump-dom", "--disable-background-networking", "--virtual-time-budget=3000")
    profile = f"--user-data-dir={file.with_name('profile')}"
    words = [str(CHROMIUM), *_ARGUMENTS, *printing, profile, f"file://{file}#{fragment}"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert done.stdout, done.stderr[-500:]
    return done.stdout


class Browser:
    """One page."""

    def __init__(self, driver: str, width: int, height: int, profile: Path) -> None:
        size = (f"--window-size={width},{height}", f"--user-data-dir={profile}", "--disable-background-networking")
        options = {"binary": CHROMIUM, "args": [*_ARGUMENTS, *size]}
        self.session = f"{driver}/session"
        made = self._post("", capabilities={"alwaysMatch": {"goog:chromeOptions": options}})
        self.session += f"/{made['sessionId']}"

    def _post(self, path: str, **content: Any) -> Any:
        request = urllib.request.Request(self.session + path, json.dumps(content).encode())
        with urllib.request.urlopen(request, timeout=_PATIENCE_S) as answer:
            return json.load(answer)["value"]

    def open(self, address: str, *expected: str) -> str:
        """The text of a page, once it has all that is expected."""
        self._post("/url", url="about:blank")
        self._post("/url", url=address)
        return self.wait_for(*expected)

    def wait_for(self, *expected: str) -> str:
        deadline, text = time.monotonic() + _PATIENCE_S, self.text()
        while missing := [one for one in expected if one not in text]:
            assert time.monotonic() < deadline, f"not seen within {_PATIENCE_S} s: {missing}\n{text[-3000:]}"
            time.sleep(0.3)
            text = self.text()
        return text

    def text(self) -> str:
        return str(self.run("return document.body ? document.body.innerText : ''"))

    def run(self, script: str) -> Any:
        return self._post("/execute/sync", script=script, args=[])

    def wait_until(self, script: str, value: Any) -> None:
        """Return once the script returns the value: pages hear of a new screen a moment later."""
        deadline = time.monotonic() + _PATIENCE_S
        while (seen := self.run(script)) != value:
            assert time.monotonic() < deadline, f"not {value} within {_PATIENCE_S} s but {seen}:\n{script}"
            time.sleep(0.1)

    def emulate(self, width: int, *, dark: bool) -> None:
        """Be a screen of this width, in CSS pixels, whose user prefers dark or light pages."""
        screen = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": False}
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._post("/goog/cdp/execute", cmd="Emulation.setDeviceMetricsOverride", params=screen)
        self._post("/goog/cdp/execute", cmd="Emulation.setEmulatedMedia", params={"features": [scheme]})

    def close(self) -> None:
        urllib.request.urlopen(urllib.request.Request(self.session, method="DELETE"), timeout=_PATIENCE_S).close()


@contextmanager
def browser(folder: Path, width: int = 2600, height: int = 1600) -> Iterator[Browser]:
    """A browser that ends with the block; its profile lies in the folder."""
    port = free_port()
    driver = subprocess.Popen([DRIVER, f"--port={port}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        address = f"http://127.0.0.1:{port}"
        for _ in range(100):
            try:
                urllib.request.urlopen(f"{address}/status", timeout=5).close()
                break
            except OSError:
                time.sleep(0.1)
        page = Browser(address, width, height, folder / "profile")
        try:
            yield page
        finally:
            page.close()
    finally:
        driver.terminate()
        driver.wait()
