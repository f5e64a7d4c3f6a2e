"""Fine-tuning methods compared with the first: tables, added parameters, figures."""

import numpy as np
import pandas as pd
import pytest
from encoders import recognizer, speech, tuned

from asr_lab.metrics import error_rates
from asr_lab.recipes.comparison.measure import Measurement, Variant, sentences, table
from asr_lab.recipes.comparison.speed import Speed
from asr_lab.reports.methods_figure import methods_figure

NAN = float("nan")
REFERENCES = {str(number): "a b c d" for number in range(40)}


def arm(wrong: int, share: float = 1.0, merged: float = NAN, added: int = 0, text: str = "nfc-lower") -> Measurement:
    """One that takes the first word of so many of forty utterances for another."""
    said = {id: "x b c d" if int(id) < wrong else text for id, text in REFERENCES.items()}
    speed = Speed(share, share - 0.05, share + 0.05)
    scores = error_rates.score(REFERENCES, said)
    return Measurement(scores, speed, Speed(merged, merged, merged), 20.0, 1.5, added, text)


@pytest.fixture
def rows() -> pd.DataFrame:
    costs = {"model/trainable_params": 4000.0, "perf/seconds": 61.0, "perf/peak_memory_mb": 900.0}
    arms = [
        Variant("base", "models:/b/1"),
        Variant("r16", "models:/m-1", "id1", "ways-r16", costs),
        Variant("full", "models:/m-2"),
    ]
    return table(arms, [arm(40), arm(10, 0.9, 1.01, 3000), arm(40)])


def test_differences_are_to_the_first_and_corrected_for_their_number(rows):
    by_arm = rows.set_index("arm")
    assert by_arm["wer"].tolist() == [0.25, 0.0625, 0.25]
    assert by_arm.loc["r16", "difference"] == pytest.approx(-0.1875)
    assert by_arm.loc["r16", "difference_low"] < -0.1875 < by_arm.loc["r16", "difference_high"] < 0
    assert by_arm.loc["r16", "p"] < 0.001
    assert by_arm.loc["full", "p"] == 1.0
    assert by_arm.loc["base", ["difference", "p"]].isna().all()
    assert by_arm["trainable_params"].tolist() == [0, 4000, 0]
    assert "**r16**: test/wer 6.2%" in sentences(rows)[1]
    assert "untouched" in sentences(rows)[0]


def test_arms_of_other_text_normalisers_have_no_difference():
    arms = [Variant(name, "models:/m-1") for name in ("base", "raw", "r16")]
    rows = table(arms, [arm(40), arm(10, text="nfc"), arm(10)]).set_index("arm")
    assert rows.loc["raw", ["difference", "difference_low", "difference_high", "p"]].isna().all()
    assert rows.loc["raw", "wer"] == 0.0625
    alone = table([arms[0], arms[2]], [arm(40), arm(10)]).set_index("arm")
    assert rows.loc["r16", "p"] == alone.loc["r16", "p"]  # corrected for the comparisons that were made
    assert "difference" not in sentences(rows.reset_index())[1]


def test_added_counts_parameters_added_in_training():
    costs = {"model/trainable_params": 9843.0, "model/added_params": 9216.0}
    arms = [Variant("base", "models:/b/1"), Variant("merged", "models:/m-1", "id1", "ways-merged", costs)]
    assert table(arms, [arm(40, added=96), arm(10)])["added_params"].tolist() == [96, 9216]


def test_a_figure_has_a_line_per_method_and_a_bar_for_merged_adapters(rows):
    figure = methods_figure(rows)
    wer, speed, trained, *_ = figure.axes
    assert [label.get_text() for label in wer.get_yticklabels()] == ["base", "r16", "full"]
    widths = [bar.get_width() for bar in speed.patches]
    np.testing.assert_allclose(widths[:3], [100, 90, 100])
    assert 101 in np.round(widths)
    assert trained.get_xscale() == "log"


@pytest.mark.parametrize(("method", "added"), [("lora", 768), ("dora", 960), ("ia3", 192)])
def test_added_parameters_are_those_of_the_adapters(method, added):
    settings = {} if method == "ia3" else {"r": 2}
    model = tuned(speech(), tune="lora", freeze_layers=2, lora={"method": method, **settings})
    own = recognizer(model)
    assert own.added_params == added  # 2 layers x 3 targets of 32 x 32
    own.merge()
    assert own.added_params == 0
