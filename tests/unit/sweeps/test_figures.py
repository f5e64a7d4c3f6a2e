"""The figures of a study say no more than its trials do."""

from math import inf

import optuna
import pytest

from asr_lab.sweeps.figures import close, figures

optuna.logging.set_verbosity(optuna.logging.WARNING)


def study_of(*values):
    study = optuna.create_study(directions=["minimize"] * len(values[0]), sampler=optuna.samplers.RandomSampler(0))
    for trial, value in zip((study.ask() for _ in values), values, strict=True):
        trial.suggest_float("lr", 0, 1)
        trial.suggest_int("layers", 1, 4)
        study.tell(trial, value)
    return study


@pytest.mark.parametrize(
    ("values", "metrics", "shown"),
    [
        ([(1.0,)] * 4, ("wer",), {"history"}),
        ([(inf,), (0.3,), (0.3,), (0.3,)], ("loss",), {"history"}),  # Optuna draws the finite ones alone
        ([(inf,), (0.3,)], ("loss",), {"history"}),
        ([(0.3,), (0.2,), (0.4,), (0.1,)], ("wer",), {"history", "importance", "parallel", "slice", "contour"}),
        (
            [(1.0, 3.0), (1.0, 2.0), (1.0, 4.0)],
            ("wer", "size"),
            {"pareto", "history-1", "history-2", "importance-2", "parallel-2", "slice-2", "contour-2"},
        ),
    ],
)
def test_where_all_trials_tie_no_parameter_is_shown_to_matter(values, metrics, shown):
    drawn = figures(study_of(*values), metrics)
    close(drawn)
    assert set(drawn) == shown
