"""The gate behind a phase."""

import pytest

from asr_lab.recipes.curriculum.gates import Gate, overfits, still_falling


@pytest.mark.parametrize(
    ("wer", "before", "verdict"),
    [
        (0.25, None, "met"),
        (0.27, None, "accepted"),
        (0.30, None, "accepted"),
        (0.301, None, "missed"),
        (0.20, 0.22, "met"),
        (0.22, 0.22, "no better"),
        (0.28, 0.26, "no better"),
        (0.40, 0.50, "missed"),
        (0.0, 0.0, "met"),
    ],
)
def test_a_verdict(wer, before, verdict):
    gate = Gate(1, wer, target=0.25, accept=0.30, before=before)
    assert gate.verdict == verdict
    assert gate.passes == (verdict in ("met", "accepted"))


def test_a_missed_gate_lists_what_to_check():
    error = Gate(2, 0.4, target=0.18, accept=0.22).refuse("child-phase2-1a2b3c4d", "models:/m-1")
    for part in ("phase 2: val/wer 40.0%", "target 18.0%", "missed", "transcripts", "noise", "data: compare"):
        assert part in error.what, part
    assert "--phase 2 --resume-from models:/m-1" in error.next_command


def test_the_base_of_the_configuration_is_not_resumed_from():
    """Of a base of the hub there is no run."""
    error = Gate(1, 0.4, target=0.18, accept=0.22).refuse("child-phase1-1a2b3c4d", "")
    assert "--phase 1, after" in error.next_command


def history(*epochs):
    rows = []
    for number, (loss, wer) in enumerate(epochs, start=1):
        rows += [{"epoch": number, "loss": loss}, {"epoch": number, "eval_wer": wer}]
    return rows


def test_over_fitting_is_a_rising_wer_under_a_falling_loss():
    assert overfits(history((3, 0.5), (2, 0.4), (1, 0.45)))
    assert not overfits(history((3, 0.5), (2, 0.4), (1, 0.3)))
    assert not overfits(history((3, 0.5), (2, 0.4), (2.5, 0.45)))  # nothing was learned either
    assert not overfits([])


def test_whether_the_wer_still_fell_in_the_last_epoch():
    assert still_falling(history((3, 0.5), (2, 0.4)))
    assert not still_falling(history((3, 0.5), (2, 0.5)))
    assert not still_falling(history((3, 0.5), (2, 0.4), (1, 0.45)))
