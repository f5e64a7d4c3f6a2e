"""No measured figure is typed by hand: the page of results draws them from studies, other pages quote them."""

import re
from functools import cache

import pytest
from documents import GUIDE, ROOT

from asr_lab.reports.studies import TEMPLATE, quotes, read_studies

FOLDER = ROOT / "experiments" / "results"
NOT_PROSE = re.compile(r"\{[{%].*?[%}]\}|^```.*?^```|`[^`\n]*`", re.DOTALL | re.MULTILINE)
"""Placeholders, examples of what commands print, and inline code."""
RESULT = re.compile(r"\d[\d.,]*\s?(?:%|(?:µs|MB|GB|times)\b)")
DURATION = re.compile(r"\d[\d.,]*\s?(?:ms|s|minutes|hours)\b")
OF_METHOD = {"95 %", "100 %"}
"""Intervals, and what a recogniser that says nothing gets."""
SETUPS = {
    *("17.8 minutes", "32 minutes", "21 minutes", "27 minutes"),  # corpora
    *("1.5 s", "0.9 s", "0.06 s", "10 s", "1 s", "0.1 s", "0.2 s", "12 s"),  # pauses and pieces
    *("150 ms", "170 ms", "100 ms"),  # windows and steps
}
"""Durations in the page of results that say how something was measured."""
LIMITS = {
    "pronunciation.md": {"25 %", "2 %"},
    "registry.md": {"2 GB"},
    "scale.md": {"403 GB", "360 MB", "120 MB", "1 GB", "298 times"},  # arithmetic, and a figure of others
    "serve.md": {"50 %", "8 times", "1 MB"},
    "train.md": {"1 MB"},
}
"""What is no result in other pages: properties of corpora and limits of commands."""


def typed(text: str, pattern: re.Pattern[str]) -> set[str]:
    """The figures of a page that stand in its prose."""
    return set(pattern.findall(NOT_PROSE.sub(" ", text)))


@cache
def quoted() -> dict[str, list[str]]:
    return quotes(FOLDER, read_studies(FOLDER))


def test_the_page_of_results_has_no_typed_figure():
    text = (FOLDER / TEMPLATE).read_text(encoding="utf-8")
    assert typed(text, RESULT) <= OF_METHOD
    assert typed(text, DURATION) == SETUPS


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted(GUIDE.glob("*.md"))], ids=lambda page: page.name)
def test_other_pages_quote_figures(page):
    text = page.read_text(encoding="utf-8")
    for line in quoted().get(str(page.relative_to(ROOT)), []):
        text = text.replace(line, "")
    assert typed(text, RESULT) <= OF_METHOD | LIMITS.get(page.name, set())


@pytest.mark.parametrize("sentence", ["WER 3.5 % with pauses", "took 185 s, 6,523 MB", "1.8 times the speed", "22 µs"])
def test_a_typed_figure_is_noticed(sentence):
    assert typed(sentence, RESULT)
    assert not typed(f"```text\n{sentence}\n```\n`{sentence}` {{{{ a['{sentence}'] }}}}", RESULT)
