"""Figures of curves, slices and growing data are drawn."""

import pandas as pd

from asr_lab.metrics.slices import slices
from asr_lab.reports.curves import curves_figure
from asr_lab.reports.learning_curve import growth_figure
from asr_lab.reports.slices import slices_figure


def test_figures_are_drawn(scored, tmp_path):
    growth = pd.DataFrame(
        {"learned_from": [2, 5], "wer": [0.4, 0.3], "wer_base": [0.5, 0.5], "wer_delta_low": [-0.2, -0.3],
         "wer_delta_high": [0.0, -0.1]}
    )  # fmt: skip
    curves = pd.DataFrame(
        {"run": ["x", "x", "y"], "metric": "val/wer", "step": [1, 2, 1], "seconds": [1.0, 2.0, 3.0],
         "value": [0.5, 0.4, 0.6]}
    )  # fmt: skip
    for number, figure in enumerate((slices_figure(slices(scored)), growth_figure(growth), curves_figure(curves))):
        figure.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 5000
