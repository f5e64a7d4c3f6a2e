"""Decision parameters fitted on validation data after training, saved with the model as `decisions.json`.

Thresholds for flagging a phoneme, the fusion of the error head with GOP, and the calibration of the learner's scores.
Without the file the threshold is 0.5.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from asr_lab.errors import AsrLabError
from asr_lab.metrics.pronunciation import Fusion, choose_phone_thresholds, choose_threshold, fit_fusion, fused
from asr_lab.metrics.pronunciation.calibration import Calibration, calibrate

FILE = "decisions.json"


@dataclass(frozen=True)
class Decisions:
    """Thresholds, fusion and calibration; `fitted_on` is the digest of the data they were fitted on."""

    threshold: float = 0.5
    gop_thresholds: Mapping[str, float] = field(default_factory=dict)
    fusion: Fusion | None = None
    fused_threshold: float = 0.5
    calibration: Calibration | None = None
    fitted_on: str = ""

    @classmethod
    def fit(cls, table: pd.DataFrame, digest: str) -> Decisions:
        """Fit on a (validation) assessment table; return the defaults if it has no errors, or only errors."""
        errors = {error for row in table["errors"] for error in row}
        if errors != {0, 1}:
            return cls(fitted_on=digest)
        fusion = fit_fusion(table)
        both = fused(table, fusion)
        return cls(
            threshold=choose_threshold(table, "error_score"),
            gop_thresholds=choose_phone_thresholds(table, "gop"),
            fusion=fusion,
            fused_threshold=choose_threshold(both, "fused"),
            calibration=calibrate(both, "fused"),
            fitted_on=digest,
        )

    def save(self, folder: Path) -> None:
        content: dict[str, Any] = {
            **vars(self),
            "fusion": self.fusion.to_json() if self.fusion else None,
            "calibration": self.calibration.to_json() if self.calibration else None,
        }
        (folder / FILE).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Decisions:
        """Load from a model folder, or return the defaults without a file; raise `AsrLabError` for an invalid file."""
        if not (folder / FILE).is_file():
            return cls()
        try:
            content = json.loads((folder / FILE).read_text(encoding="utf-8"))
            for name, kind in (("fusion", Fusion), ("calibration", Calibration)):
                content[name] = kind.from_json(content[name]) if content[name] else None
            return cls(**content)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise AsrLabError(f"{FILE} cannot be read: {error}", where=str(folder)) from error
