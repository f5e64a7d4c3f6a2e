"""Names of the tags that recipes and sweeps record; `asr_lab.tracking.tags` has all others."""

from __future__ import annotations

FAMILY = "asr_lab.family"
"""Marks a run of asr_lab, in whatever experiment it is."""
TEXT = "asr_lab.text"
BASE, BASE_DIGEST, BASE_DIGEST_AFTER = "asr_lab.base", "asr_lab.base_digest", "asr_lab.base_digest_after"
SPEAKER, SWEEP, TRIAL, FROM_SWEEP = "asr_lab.speaker", "asr_lab.sweep", "asr_lab.trial", "asr_lab.from_sweep"
PHASE, OVERFITS = "asr_lab.phase", "asr_lab.overfits"
COMPARED, REPRODUCES, ERROR = "asr_lab.compared", "asr_lab.reproduces", "asr_lab.error"
GATE = "asr_lab.gate"
"""Verdict of a gate: of a curriculum's phase, or of the promotion of a registered version."""
VAL = "asr_lab.val_"
"""Of registered versions. Prefix; followed by the name of a validation metric."""
ADAPTER_FILE = "asr_lab.adapter_file"
"""Of a run that trained an adapter: the digest of its file."""
OVERLAP, UNCHECKED = "asr_lab.overlap", "asr_lab.overlap_unchecked"
"""How much of the scored data the model was trained on, and what is not known about that."""
