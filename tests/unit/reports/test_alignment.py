"""The page that aligns references with hypotheses: what it holds, and that it filters in a browser."""

import json

import pytest
from browser import drawn, needs_chromium

from asr_lab.metrics import error_rates
from asr_lab.metrics.significance import Interval
from asr_lab.metrics.slices import slices
from asr_lab.reports.alignment import alignment_page


def test_a_corpus_without_slices_has_a_page():
    table = error_rates.score({"a": "x"}, {"a": "x"})
    assert alignment_page(table, "t", Interval(0, 0, 0), slices=slices(table)).startswith("<!doctype html>")


def content_of(page: str):
    return json.loads(page.split('id="data">')[1].split("</script>")[0])


def test_the_page_holds_every_utterance_and_runs_nothing_of_them(scored):
    evil = scored.assign(hypothesis=["</script><script>alert(1)</script>", "$title", "c", "d"])
    page = alignment_page(evil, "a <b> title", Interval(0.5, 0.2, 0.8), slices=slices(scored))
    assert page.count("<script") == 2
    assert "alert(1)</script>" not in page.split('id="data">')[0]
    assert "a &lt;b&gt; title" in page
    rows = {row["id"]: row for row in content_of(page)["rows"]}
    assert set(rows) == set(scored["id"])
    assert rows["b"]["errors"] == 2
    assert rows["b"]["slices"]["age"] == "7-9"
    assert "http://" not in page
    assert "https://" not in page


def test_audio_is_in_the_page_only_where_given(scored):
    page = alignment_page(scored, "t", Interval(0, 0, 0), audio={"a": "data:audio/ogg;base64,AAAA"})
    assert content_of(page)["audio"] == {"a": "data:audio/ogg;base64,AAAA"}
    assert "data:audio" not in alignment_page(scored, "t", Interval(0, 0, 0))


@needs_chromium
@pytest.mark.parametrize(
    ("asked", "found", "ids"),
    [
        ("", "4 of 4 utterances, WER 54.5% (6 errors, 11 words)", {"a", "b", "c", "d"}),
        ("slice:gender=male", "2 of 4 utterances, WER 66.7% (4 errors, 6 words)", {"b", "d"}),
        ("text=dog&wrong=1", "1 of 4 utterances, WER 66.7% (2 errors, 3 words)", {"b"}),
        ("slice:age=0-6&wrong=1", "0 of 4 utterances, no words", set()),
    ],
)
def test_the_page_filters_in_a_browser(scored, asked, found, ids, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(alignment_page(scored, "t", Interval(0.5, 0.2, 0.8), slices=slices(scored)), encoding="utf-8")
    page = drawn(file, asked)
    assert found in page
    shown = page.split('<tbody id="rows">')[1].split("</tbody>")[0]
    assert {id for id in "abcd" if f'<td class="id">{id}</td>' in shown} == ids
