"""What figures are labelled with: names and texts in any script, as they are."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from asr_lab.system.visible_text import one_line

_USUAL = "DejaVu Sans"  # comes with matplotlib
_PREFERRED = ("Noto Sans CJK", "Noto Sans", "NanumGothic", "Nanum", "Malgun", "Apple SD", "AppleGothic", "Source Han")
_TICK = r"\mathdefault"  # in the labels that matplotlib writes itself, such as powers of ten
_NO_FONT = "Last Resort"  # a box for every character


def figure_text(value: object) -> str:
    """Return a text as matplotlib shows it in a legend; `fitted` sees to its characters."""
    text = one_line(value)
    return f" {text}" if text.startswith("_") else text


def fitted(figure: Figure) -> Figure:
    """Return a figure, before it is saved, with fonts of this machine that have the characters of its texts.

    Where no font has some of them, they are replaced by their code points, and a line below the figure says so.
    """
    texts = [text for text in figure.findobj(Text) if text.get_text()]
    for text in texts:
        text.set_parse_math(_TICK in text.get_text())  # a dollar in a name begins no formula
    needed = {sign for text in texts for sign in text.get_text() if not sign.isspace()} - _characters(_path(_USUAL))
    if needed:
        families, lacking = _families(frozenset(needed))
        for text in texts:
            text.set_fontfamily([_USUAL, *families])
            text.set_text("".join(_code_point(sign) if sign in lacking else sign for sign in text.get_text()))
        if lacking:
            figure.supxlabel("no font here has all characters of these texts: their code points are shown", size=7)
    return figure


def _code_point(sign: str) -> str:
    return f"U+{ord(sign):04X} "


@cache
def _families(needed: frozenset[str]) -> tuple[list[str], set[str]]:
    """Return the families of fonts that together have most of the characters, and those that none has."""
    families, lacking = [], set(needed)
    for family, path in _fonts():
        if here := lacking & _characters(path):
            families.append(family)
            lacking -= here
        if not lacking:
            break
    return families, lacking


@cache
def _fonts() -> list[tuple[str, str]]:
    """(Family, file) of every font but the usual one, preferred ones first; also of those matplotlib has not seen."""
    manager = font_manager.fontManager
    known = {entry.fname for entry in manager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - known):
        try:
            manager.addfont(path)
        except (OSError, RuntimeError):  # no font, or one that cannot be drawn with
            continue
    entries = [entry for entry in manager.ttflist if entry.style == "normal" and int(entry.weight) == 400]
    entries = [entry for entry in entries if not entry.name.startswith((_USUAL, _NO_FONT))]
    return [(entry.name, entry.fname) for entry in sorted(entries, key=lambda entry: (_rank(entry.name), entry.name))]


def _rank(family: str) -> int:
    return next((place for place, name in enumerate(_PREFERRED) if family.startswith(name)), len(_PREFERRED))


@cache
def _characters(path: str) -> frozenset[str]:
    try:
        return frozenset(map(chr, font_manager.get_font(path).get_charmap()))
    except (OSError, RuntimeError):
        return frozenset()


def _path(family: str) -> str:
    return str(Path(font_manager.findfont(family)))
