"""Metrics of mispronunciation detection. All take the assessment table: one row per utterance.

Columns: `id`, `canonical` (N phonemes), `perceived` (N, `<del>` for a deleted one), `insertions` (N + 1 lists),
`errors` (N of 0 and 1), `recognised` (phonemes by free recognition); error scores (N, higher is more likely wrong) in
`error_score`, `gop`, `fused`; and where known `diagnosis` (N), `score`, `phone_scores` (N), `speaker`, `l1`.
"""

from asr_lab.metrics.pronunciation.calibration import Calibration, calibrate, calibration_error, overall, scored
from asr_lab.metrics.pronunciation.detection import SCORER, decoded, detection, flagged, undefined
from asr_lab.metrics.pronunciation.fusion import Fusion, fit_fusion, fused
from asr_lab.metrics.pronunciation.hierarchy import hierarchy
from asr_lab.metrics.pronunciation.intervals import f1_difference, f1_interval, pr_auc_difference, pr_auc_interval
from asr_lab.metrics.pronunciation.legacy import legacy
from asr_lab.metrics.pronunciation.parts import parts
from asr_lab.metrics.pronunciation.scoring import score_figures
from asr_lab.metrics.pronunciation.sequences import per, perceived_sequence, phone_errors, with_phone_errors
from asr_lab.metrics.pronunciation.thresholds import choose_phone_thresholds, choose_threshold
from asr_lab.metrics.pronunciation.trivial import flag_all, trivial

__all__ = [
    "SCORER",
    "Calibration",
    "Fusion",
    "calibrate",
    "calibration_error",
    "choose_phone_thresholds",
    "choose_threshold",
    "decoded",
    "detection",
    "f1_difference",
    "f1_interval",
    "fit_fusion",
    "flag_all",
    "flagged",
    "fused",
    "hierarchy",
    "legacy",
    "overall",
    "parts",
    "per",
    "perceived_sequence",
    "phone_errors",
    "pr_auc_difference",
    "pr_auc_interval",
    "score_figures",
    "scored",
    "trivial",
    "undefined",
    "with_phone_errors",
]
