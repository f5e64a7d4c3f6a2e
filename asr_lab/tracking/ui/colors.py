"""Colours of runs in the MLflow UI: a hue for each family, a shade for each signature."""

from __future__ import annotations

import colorsys
import zlib

from asr_lab.families import FAMILIES

TAG = "mlflow.runColor"
_HUES, _SHADES = 7, 5


def run_color(family: str, signature: str) -> str:
    """Return the colour of a run, such as `#2f7fb5`: a hue for a family, a shade of it for a run."""
    names = list(FAMILIES)
    place = names.index(family) if family in FAMILIES else zlib.crc32(family.encode()) % len(names)
    shade, number = divmod(zlib.crc32(signature.encode()) % (_HUES * _SHADES), _HUES)
    hue = (place + 0.7 * (number / (_HUES - 1) - 0.5)) / len(names) % 1  # 1: from one family to the next
    lightness = 0.27 + 0.38 * shade / (_SHADES - 1)
    red, green, blue = colorsys.hls_to_rgb(hue, lightness, 0.6)
    return "#" + "".join(f"{round(part * 255):02x}" for part in (red, green, blue))
