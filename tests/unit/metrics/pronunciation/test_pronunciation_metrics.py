"""The counting of mispronunciations: by cases worked out on paper, by scikit-learn, and by brute force."""

import itertools
import time

import numpy as np
import pandas as pd
import pytest
from made_l2 import at_random, by_hand
from sklearn import metrics as sk

from asr_lab.errors import AsrLabError
from asr_lab.metrics import ratios
from asr_lab.metrics.pronunciation import (
    choose_phone_thresholds,
    choose_threshold,
    decoded,
    detection,
    f1_difference,
    f1_interval,
    flag_all,
    flagged,
    hierarchy,
    legacy,
    parts,
    per,
    perceived_sequence,
    pr_auc_difference,
    pr_auc_interval,
    score_figures,
    trivial,
    undefined,
    with_phone_errors,
)
from asr_lab.metrics.pronunciation.hierarchy import count
from asr_lab.metrics.pronunciation.intervals import _average_precision, _steps
from asr_lab.metrics.pronunciation.legacy import legacy_figures
from asr_lab.metrics.pronunciation.phonemes import by_phoneme
from asr_lab.metrics.pronunciation.sequences import align


def flat(table, column):
    return np.concatenate(list(table[column]))


def test_what_was_said_has_insertions_and_no_deletions():
    assert perceived_sequence(["D", "AH", "<del>"], [["S"], [], ["AH", "K"], ["T"]]) == ["S", "D", "AH", "AH", "K", "T"]
    assert perceived_sequence(["D", "<unk>"], []) == ["D", "<unk>"]


def test_an_alignment_is_the_one_of_kaldi():
    # two edits either way: pairs win over a deletion with an insertion, and are taken from the end
    assert align(["K", "K", "AA"], ["K", "AA", "AH"]) == [("K", "K"), ("K", "AA"), ("AA", "AH")]
    assert align(["K", "K"], ["K"]) == [("K", None), ("K", "K")]
    assert align(["K"], ["T", "K", "K"]) == [(None, "T"), (None, "K"), ("K", "K")]
    assert align([], ["K"]) == [(None, "K")]


def test_the_phoneme_error_rate_on_paper():
    counted = with_phone_errors(by_hand())
    # D AH K AH T / D AH K AE T: one substituted of 5; K K AA AH / K AA AH: one deleted of 4
    assert counted["phone_errors"].tolist() == [1, 1]
    assert counted["phones"].tolist() == [5, 4]
    assert counted["reference"].tolist() == ["D AH K AH T", "K K AA AH"]
    assert per(counted).value == 2 / 9


def test_detection_on_paper():
    told = flagged(by_hand(), "error_score", 0.5)
    # flags: DH (an error, named rightly), K (correct); AA of the other utterance (correct); AE is missed
    assert told["flags"].tolist() == [[1, 0, 1, 0, 0], [0, 0, 1]]
    counts = told[["true_rejects", "false_rejects", "false_accepts", "true_accepts", "diagnosed"]]
    assert counts.to_numpy().tolist() == [[1, 1, 1, 2, 1], [0, 1, 0, 2, 0]]
    assert detection(told) == {
        "error_f1": 2 * 1 / (2 * 1 + 2 + 1), "error_precision": 1 / 3, "error_recall": 1 / 2, "far": 1 / 2,
        "frr": 2 / 6, "der": 0, "correct_diagnosis": 1, "accuracy": 5 / 8,
    }  # fmt: skip


def test_what_recognition_says_on_paper():
    told = decoded(by_hand())
    # the cat: D for DH. The other is aligned K/K K/AA AA/AH: two correct phonemes flagged
    assert told["flags"].tolist() == [[1, 0, 0, 0, 0], [0, 1, 1]]
    assert told["diagnosed"].tolist() == [1, 0]
    assert detection(told)["error_f1"] == 2 / (2 + 2 + 1)


def test_the_hierarchy_counts_insertions_on_paper():
    # the cat, said D AH K AH T, aligned DH/D AH K AE/AH T: D found and named, AE taken for said. K K AA AH: the first K
    # is not recognised (a false rejection), the AH is found and named
    assert [dict(count(*row)) for row in zip(by_hand()["canonical"], *_spoken(), strict=True)] == [
        {"diagnosed": 1, "accepted": 3, "falsely_accepted": 1},
        {"falsely_rejected": 1, "accepted": 2, "diagnosed": 1},
    ]
    found = hierarchy(by_hand())
    assert (found["error_f1"], found["far"], found["frr"], found["der"]) == (4 / 6, 1 / 3, 1 / 6, 0)


def _spoken():
    return with_phone_errors(by_hand())["reference"].str.split(), by_hand()["recognised"]


def test_the_hierarchy_does_not_see_what_only_the_recogniser_inserts():
    table = by_hand().iloc[:1].assign(canonical=[["M", "Z"]], perceived=[["M", "S"]], insertions=[[[], [], []]],
                                      errors=[[0, 1]], recognised=[["M", "M", "M", "S"]])  # fmt: skip
    assert hierarchy(table)["error_f1"] == 1
    assert per(table).value == 1  # two inserted of two: why the rate stands beside it


@pytest.mark.parametrize(
    ("spoken", "recognised", "kind"),
    [("<del>", [], "diagnosed"), ("<del>", ["K"], "falsely_accepted"), ("<del>", ["T"], "misdiagnosed"),
     ("T", ["S"], "misdiagnosed"), ("T", [], "misdiagnosed"), ("K", [], "falsely_rejected")],
)  # fmt: skip
def test_a_phoneme_in_the_hierarchy(spoken, recognised, kind):
    assert dict(count(["K"], perceived_sequence([spoken], []), recognised)) == {kind: 1}


def test_detection_agrees_with_scikit_learn():
    table = at_random(80)
    told = flagged(table, "error_score", 0.4)
    found, truth, flags = detection(told, "error_score"), flat(table, "errors"), flat(told, "flags")
    scores = flat(table, "error_score")
    assert found["error_f1"] == pytest.approx(sk.f1_score(truth, flags))
    assert found["error_precision"] == pytest.approx(sk.precision_score(truth, flags))
    assert found["error_recall"] == pytest.approx(sk.recall_score(truth, flags))
    assert found["accuracy"] == pytest.approx(sk.accuracy_score(truth, flags))
    assert found["frr"] == pytest.approx(1 - sk.recall_score(1 - truth, 1 - flags))
    assert found["roc_auc"] == pytest.approx(sk.roc_auc_score(truth, scores))
    assert found["pr_auc"] == pytest.approx(sk.average_precision_score(truth, scores))


def test_figures_that_are_undefined_are_none_and_reported():
    table = by_hand().assign(errors=[[0] * 5, [0] * 3])
    found = detection(flagged(table, "error_score", 2.0), "error_score")
    assert {name for name, value in found.items() if value is None} == {
        "error_f1", "error_precision", "error_recall", "far", "der", "correct_diagnosis", "roc_auc", "pr_auc"
    }  # fmt: skip
    assert undefined(found, "test").startswith("test: error_f1, error_precision")
    assert undefined(found, "test").endswith("undefined: it has no mispronounced phoneme")
    quiet = detection(flagged(by_hand(), "error_score", 2.0), "error_score")
    assert undefined(quiet, "test") == "test: error_precision, der, correct_diagnosis undefined: nothing was flagged"
    told = flagged(table, "error_score", 0.5)
    assert f1_interval(told) is None
    assert f1_difference(told, told) is None
    with pytest.raises(AsrLabError, match="F1 is undefined"):
        ratios.difference(told, told, "error_f1")
    assert pr_auc_interval(table, "error_score") is None
    with pytest.raises(AsrLabError, match="no threshold can be chosen"):
        choose_threshold(table)


def f1(errors, flags):
    return 2 * (errors * flags).sum() / (flags.sum() + errors.sum())


def test_the_threshold_has_the_highest_f1():
    table = at_random(40, skill=0.5)
    errors, scores = flat(table, "errors"), flat(table, "error_score")
    best = max(f1(errors, scores >= one) for one in scores)
    assert detection(flagged(table, "error_score", choose_threshold(table)))["error_f1"] == pytest.approx(best)


def test_phone_wise_thresholds_together_have_the_highest_f1():
    table = at_random(14, seed=3, skill=0.3)
    table["canonical"] = [["T" if one in ("DH", "S", "T") else "K" for one in row] for row in table["canonical"]]
    found = choose_phone_thresholds(table, "gop", fewest=3)
    assert set(found) == {"K", "T", "*"}
    errors, scores, is_k = flat(table, "errors"), flat(table, "gop"), flat(table, "canonical") == "K"
    cuts = itertools.product([*scores[is_k], 99], [*scores[~is_k], 99])
    best = max(f1(errors, scores >= np.where(is_k, k, t)) for k, t in cuts)
    assert best > max(f1(errors, scores >= one) for one in scores)
    assert detection(flagged(table, "gop", found))["error_f1"] == pytest.approx(best)


def test_rare_phonemes_share_a_threshold():
    table = at_random(30)
    found = choose_phone_thresholds(table, "gop", fewest=10_000)
    assert found == {"*": choose_threshold(table, "gop")}


def test_predictors_that_have_not_listened():
    written, flags = trivial(by_hand()), flag_all(by_hand())
    # D AH K AH T / DH AH K AE T: 2 of 5; K K AA AH / K K AA: 1 of 4
    assert (written["per"], written["accuracy"], written["error_f1"]) == (3 / 9, 6 / 8, 0)
    assert (written["error_precision"], written["far"], written["roc_auc"], written["pr_auc"]) == (None, 1, 0.5, 2 / 8)
    assert (flags["error_f1"], flags["error_recall"], flags["frr"], flags["der"]) == (4 / 10, 1, 1, None)


def test_scores_are_compared_with_those_of_experts():
    found = score_figures(by_hand())
    assert found["score_mse"] == pytest.approx((0.25 + 0.25 + 1) / 8)
    assert found["score_pcc"] == pytest.approx(
        np.corrcoef([0.5, 2, 1.5, 1, 2, 2, 2, 2], [0, 2, 2, 0, 2, 2, 2, 2])[0, 1]
    )
    assert score_figures(by_hand().drop(columns="phone_scores"))["score_mse"] is None


def test_the_older_systems_figures_on_paper():
    # I C C against C C, joined and cut to two places: I/C, C/C
    found = legacy_figures([["I", "C", "C"]], [["C", "C"]])
    assert found["token_accuracy"] == pytest.approx(2 / 3)
    assert (found["incorrect_f1"], found["correct_recall"], found["weighted_f1"]) == (0, 1, pytest.approx(1 / 3))
    told = flagged(by_hand(), "error_score", 0.5)
    found = legacy(with_phone_errors(told))
    truth, flags = flat(told, "errors"), flat(told, "flags")
    assert found["weighted_f1"] == pytest.approx(sk.f1_score(truth, flags, average="weighted"))
    assert found["phoneme_accuracy"] == 1 - 2 / 9
    assert found["token_accuracy"] == 1 - 3 / 8  # I C C I C / I C I C C: two edits, C C C / C C I: one


def test_parts_add_up_to_the_whole():
    told = with_phone_errors(flagged(at_random(), "error_score", 0.5))
    found = parts(told)
    for part, groups in found.groupby("part"):
        assert groups["errors"].sum() == flat(told, "errors").sum(), part
    korean = found[(found["part"] == "l1") & (found["value"] == "korean")].iloc[0]
    assert korean["error_f1"] == detection(told[told["l1"] == "korean"])["error_f1"]
    assert korean["low"] < korean["error_f1"] < korean["high"]
    for value in ("K", "AA"):
        truth, flags = (flat(told, name)[flat(told, "canonical") == value] for name in ("errors", "flags"))
        own = found[(found["part"] == "phoneme") & (found["value"] == value)].iloc[0]
        assert own["error_f1"] == pytest.approx(sk.f1_score(truth, flags))


def test_average_precision_of_a_resample_is_scikit_learns_with_weights():
    table = at_random(20).assign(gop=lambda table: [np.round(row, 1) for row in table["gop"]])  # with ties
    times = np.random.default_rng(1).integers(0, 3, len(table))
    weights = times[by_phoneme(table)["row"]]
    wanted = sk.average_precision_score(flat(table, "errors"), flat(table, "gop"), sample_weight=weights)
    assert _average_precision(*_steps(table, "gop"), times[:, None].astype(float))[0] == pytest.approx(wanted)


def test_intervals_of_one_and_of_two_detectors():
    table = at_random(150)
    good, bad = flagged(table, "error_score", 0.5), flagged(table, "gop", 0.5)
    whole = f1_interval(good)
    assert whole.low < whole.value == detection(good)["error_f1"] < whole.high
    gain, auc = f1_difference(bad, good), pr_auc_difference(table, "gop", table, "error_score")
    assert gain.value == pytest.approx(detection(good)["error_f1"] - detection(bad)["error_f1"])
    assert (gain.low > 0, gain.p < 0.001, auc.low > 0, auc.p < 0.01) == (True, True, True, True)
    same = f1_difference(good, good)
    assert (same.value, same.low, same.high, same.p) == (0, 0, 0, 1)
    value = pr_auc_interval(table, "error_score")
    assert value.value == pytest.approx(detection(good, "error_score")["pr_auc"])
    assert value.low < value.value < value.high


def test_a_paired_difference_is_that_of_a_plain_bootstrap():
    table = at_random(100)
    good = flagged(table, "error_score", 0.5)
    other = flagged(table, "error_score", 0.55)
    draw = np.random.default_rng(7)
    rows = draw.integers(len(table), size=(2000, len(table)))
    sums = [{name: one[name].to_numpy()[rows].sum(axis=1) for name in one if name.endswith("s")
             and name.split("_")[0] in ("true", "false")} for one in (good, other)]  # fmt: skip
    drawn = [2 * s["true_rejects"] / (2 * s["true_rejects"] + s["false_rejects"] + s["false_accepts"]) for s in sums]
    wanted = np.quantile(drawn[1] - drawn[0], [0.025, 0.975])
    found = f1_difference(good, other)
    assert [found.low, found.high] == pytest.approx(wanted, abs=0.004)


def test_a_thousand_utterances_take_no_time():
    table = flagged(pd.concat([at_random(250, seed=seed) for seed in range(4)]), "error_score", 0.5)
    began = time.process_time()
    f1_difference(table, table.assign(true_rejects=table["true_rejects"].sample(frac=1, random_state=0).to_numpy()))
    f1_interval(table)
    assert time.process_time() - began < 2
