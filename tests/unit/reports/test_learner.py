"""The learner's page: what it holds, what is advised, that it filters in a browser and loads nothing."""

import json
import re

import pandas as pd
from browser import drawn, needs_chromium
from made_l2 import at_random, by_hand

from asr_lab.data.arpabet import PHONEMES
from asr_lab.metrics.pronunciation import (
    Calibration,
    flagged,
    hierarchy,
    legacy,
    parts,
    score_figures,
    scored,
    trivial,
    with_phone_errors,
)
from asr_lab.reports.confusions import confusions, lined_up
from asr_lab.reports.learner import learner_page
from asr_lab.reports.pronunciation_advice import _advice, advice, sound

AS_IT_IS = Calibration("error_score", -1.0, 0.0, "right", 100)


def assessed(table=None):
    return flagged(by_hand() if table is None else table, "error_score", 0.5)


def content_of(page):
    return json.loads(page.split('id="data">')[1].split("</script>")[0])


def test_canonical_phonemes_are_aligned_with_recognised_and_perceived_ones():
    row = scored(assessed(), AS_IT_IS).to_dict("records")[0]
    cells = lined_up(row)
    assert [(cell["kind"], cell["canonical"], cell["recognised"], cell["word"]) for cell in cells] == [
        ("substitute", "DH", "D", 0), ("equal", "AH", "AH", 0), ("equal", "K", "K", 1), ("equal", "AE", "AE", 1),
        ("equal", "T", "T", 1),
    ]  # fmt: skip
    assert [(cell["flag"], cell["error"], cell["perceived"], cell["points"]) for cell in cells] == [
        (1, 1, "D", 10), (0, 0, "AH", 80), (1, 0, "K", 40), (0, 1, "<del>", 60), (0, 0, "T", 90)
    ]  # fmt: skip
    added = lined_up({**row, "recognised": ["S", "DH", "AH", "K", "T", "T"]})
    assert [(cell["kind"], cell["canonical"] or cell["recognised"]) for cell in added] == [
        ("insert", "S"), ("equal", "DH"), ("equal", "AH"), ("equal", "K"), ("substitute", "AE"), ("equal", "T")
    ]  # fmt: skip
    left_out = lined_up({**row, "recognised": ["AH", "K", "AE", "T"]})
    assert (left_out[0]["kind"], left_out[0]["recognised"]) == ("delete", "")


def test_confusions_are_those_that_were_flagged():
    table = scored(assessed(), AS_IT_IS)
    rows = confusions(table).set_index(["canonical", "produced"])
    assert rows["times"].to_dict() == {("AA", "AH"): 1, ("DH", "D"): 1, ("K", "T"): 1}
    assert rows.loc[("DH", "D"), "words"] == ["the"]
    assert rows.loc[("K", "T"), "of"] == 3
    silent = table.drop(columns="diagnosis").assign(
        recognised=[["DH", "AH", "K", "AE", "T", "S", "S"], ["K", "K", "AA"]]
    )
    rows = confusions(silent)[["canonical", "produced", "times"]].to_numpy().tolist()
    assert ["DH", "", 1] in rows  # flagged without a diagnosis
    assert ["", "S", 2] in rows


def test_every_phoneme_and_confusion_has_advice():
    assert set(_advice()["phonemes"]) == set(PHONEMES)
    for phoneme in PHONEMES:
        assert sound(phoneme).how.endswith(".")
    for pair, sentence in _advice()["confusions"].items():
        canonical, produced = pair.split(">")
        assert {canonical, produced} <= set(PHONEMES)
        assert advice(canonical, produced) == sentence
    assert "between the teeth" in advice("DH", "D")
    assert advice("K", "<del>").endswith(sound("K").how)
    assert advice("SH", "L") == sound("SH").how
    assert sound("<unk>") is None
    assert advice("", "AH")


def test_the_page_holds_the_learner_and_runs_nothing_of_them():
    evil = by_hand().assign(text=["</script><script>alert(1)</script>", "$title <b>"], id=["cat", "<i>"])
    page = learner_page(
        assessed(evil), AS_IT_IS, learner="Ana <b>", audio={"cat": "data:audio/ogg;base64,AA", "x": "no"}
    )
    assert page.count("<script") == 2
    assert "Ana &lt;b&gt;" in page
    content = content_of(page)
    assert content["audio"] == {"cat": "data:audio/ogg;base64,AA"}
    assert [row["points"] for row in content["rows"]] == [56, 70]
    assert "http://" not in page
    assert "https://" not in page
    assert "canonical-anchored" in page
    assert "precision 33%" in page


def test_words_are_spelled_and_have_scores():
    words = content_of(learner_page(assessed(), AS_IT_IS, learner="ana"))["rows"][0]["words"]
    assert [(word["text"], word["points"], len(word["phonemes"])) for word in words] == [("the", 45, 2), ("cat", 63, 3)]


def test_a_learner_without_annotation_or_words_has_a_page():
    table = assessed().drop(columns=["errors", "perceived", "insertions", "words", "l1"])
    page = learner_page(table, AS_IT_IS, learner="ana")
    content = content_of(page)
    assert content["known"] is False
    assert len(content["rows"][0]["words"]) == 1
    assert "annotation" not in page.split("<script")[0].split('class="known"')[0]
    quiet = learner_page(flagged(by_hand(), "error_score", 2.0), AS_IT_IS, learner="ana")
    assert "No phoneme was flagged" in quiet
    assert "precision undefined (nothing was flagged)" in quiet


def test_a_saved_table_makes_the_same_page_and_figures(tmp_path):
    table = with_phone_errors(assessed())
    table.to_parquet(tmp_path / "test.parquet")
    saved = pd.read_parquet(tmp_path / "test.parquet")
    assert learner_page(saved, AS_IT_IS, learner="ana") == learner_page(table, AS_IT_IS, learner="ana")
    for figures in (hierarchy, trivial, score_figures, legacy):
        assert figures(saved) == figures(table)
    assert flagged(saved, "error_score", 0.5)["flags"].tolist() == table["flags"].tolist()
    pd.testing.assert_frame_equal(parts(saved), parts(table))


@needs_chromium
def test_the_page_shows_and_filters_in_a_browser(tmp_path):
    file = tmp_path / "page.html"
    file.write_text(learner_page(assessed(at_random(20, skill=0.5)), AS_IT_IS, learner="ana"), encoding="utf-8")
    page = drawn(file, "text=utt000&sort=order")
    shown = page.split('<div id="rows">')[1].split("<script")[0]
    assert "10 of 20 utterances" in page
    assert re.findall(r"utt\d{4}", re.sub(r"<audio.*?>", "", shown)) == [f"utt{n:04d}" for n in range(10)]
    first = at_random(20).iloc[0]
    assert len(re.findall(r'class="p (?:equal|substitute|delete)', shown.split("</article>")[0])) == len(
        first["canonical"]
    )
    for kind in ("right", "false", "missed"):
        assert f" {kind}" in shown
