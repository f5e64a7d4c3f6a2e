"""Colours of runs in the MLflow UI: a hue for each family, a shade for each signature."""

from __future__ import annotations

import colorsys
import zlib

from asr_lab.families import FAMILIES

TAG = "mlflow.runColor"
_SHADES = 16


def run_color(family: str, signature: str) -> str:
    """Return the colour of a run, such as `#2f7fb5`: runs of one family are alike, and can be told apart."""
    names = list(FAMILIES)
    place = names.index(family) if family in FAMILIES else zlib.crc32(family.encode()) % len(names)
    shade = zlib.crc32(signature.encode()) % _SHADES / (_SHADES - 1)
    hue = (place / len(names) + (shade - 0.5) * 0.04) % 1
    red, green, blue = colorsys.hls_to_rgb(hue, 0.3 + 0.35 * shade, 0.75 - 0.3 * shade)
    return "#" + "".join(f"{round(part * 255):02x}" for part in (red, green, blue))
