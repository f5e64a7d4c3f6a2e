"""Figures show the names they are labelled with, whatever their script, or say that they cannot."""

import io
import warnings

import pytest
from matplotlib import font_manager
from matplotlib.figure import Figure
from matplotlib.text import Text

from asr_lab.reports import fonts


@pytest.fixture(autouse=True)
def _fresh():
    for cached in (fonts._families, fonts._fonts):
        cached.cache_clear()
    yield
    for cached in (fonts._families, fonts._fonts):
        cached.cache_clear()


def figure(title: str) -> Figure:
    made = Figure(layout="constrained")
    axes = made.subplots()
    axes.plot([1, 10, 100])
    axes.set_yscale("log")
    axes.set_title(title)
    return made


def drawn(made: Figure) -> Figure:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fonts.fitted(made).savefig(io.BytesIO())
    return made


def title_of(made: Figure) -> Text:
    return made.axes[0].title


def test_latin_needs_no_other_font():
    made = drawn(figure("john's WER ± 1 %"))
    assert title_of(made).get_fontfamily() == figure("").axes[0].title.get_fontfamily()


def test_a_dollar_begins_no_formula():
    assert title_of(drawn(figure("$x$ and $"))).get_text() == "$x$ and $"


def test_without_a_font_the_figure_says_so(monkeypatch):
    monkeypatch.setattr(font_manager, "findSystemFonts", list)
    usual = [entry for entry in font_manager.fontManager.ttflist if entry.name.startswith("DejaVu")]
    monkeypatch.setattr(font_manager.fontManager, "ttflist", usual)
    made = drawn(figure("김 a"))
    assert title_of(made).get_text() == "U+AE40  a"
    assert made.get_supxlabel()


def test_korean_is_drawn_where_a_font_has_it():
    if not any("가" in fonts._characters(path) for _, path in fonts._fonts()):
        pytest.skip("no font with Korean here")
    made = drawn(figure("김철수 ±"))
    assert title_of(made).get_text() == "김철수 ±"
    assert not made.get_supxlabel()
