"""Open a page in the user's browser, where there is one."""

from __future__ import annotations

import os
import sys
import webbrowser

_SCREENS = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")


def open_page(address: str) -> bool:
    """Open a page; return False without a screen: a browser in the terminal would take its place."""
    if sys.platform.startswith("linux") and not any(map(os.environ.get, _SCREENS)):
        return False
    return webbrowser.open(address)
