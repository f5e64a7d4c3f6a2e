"""The result of a run in one line."""

import pytest

from asr_lab.reports.headline import headline

ADAPTER = {"test/wer": 0.109, "test/wer_low": 0.083, "test/wer_high": 0.136, "test/utterances": 100.0}
TRAINING = {"val/wer": 0.3, "val/wer_low": 0.25, "val/wer_high": 0.35, "val/utterances": 1200.0}


@pytest.mark.parametrize(
    ("family", "metrics", "line"),
    [
        ("adapter", ADAPTER | {"test/wer_base": 0.238}, "WER 10.9 % (8.3 to 13.6) on 100 utterances, base 23.8 %"),
        ("deepspeech2", TRAINING, "WER 30.0 % (25.0 to 35.0) on 1,200 validation utterances"),
        ("wav2vec2", TRAINING | ADAPTER, "WER 10.9 % (8.3 to 13.6) on 100 utterances"),
        ("pronunciation", {"val/error_f1": 0.5, "test/error_f1": 0.25}, "error F1 25.0 %"),
        ("evaluate", {"dev/wer": 0.6, "dev/utterances": 3.0}, "WER 60.0 % on 3 utterances of dev"),
        ("sweep", ADAPTER | {"sweep/best_trial": 7.0}, "Best trial 7: WER 10.9 % (8.3 to 13.6) on 100 utterances"),
        ("deepspeech2", {"val/wer": float("nan"), "train/loss": 1.0}, ""),
        ("arms", {"test/wer_by_arm/lora": 0.1}, ""),
        ("unknown", {}, ""),
    ],
)
def test_a_result_in_one_line(family, metrics, line):
    assert headline(family, metrics) == line
