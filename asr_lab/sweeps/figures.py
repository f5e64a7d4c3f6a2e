"""Optuna's figures of a study, drawn by matplotlib."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import matplotlib
from matplotlib.figure import Figure
from optuna.importance import get_param_importances
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState
from optuna.visualization import matplotlib as drawn

_FEWEST = 2  # trials with figures, without which nothing can be drawn
_MOST_CONTOURS = 3  # parameters, the most important ones: every pair is a panel
_WIDE = 3.2  # inches of a panel


def figures(study: Study, metrics: tuple[str, ...]) -> dict[str, Figure]:
    """Return name -> figure: history, importance, parallel coordinates, slices, contours, Pareto front.

    Figures that need more trials or another space are left out; of an objective in which all trials tie, all but its
    history.
    """
    done = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(done) < _FEWEST:
        return {}
    matplotlib.use("Agg", force=False)
    drawn_figures: dict[str, Figure] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, draw in _wanted(study, metrics):
            try:
                drawn_figures[name] = _figure(name, draw())
            except (ValueError, RuntimeError, IndexError, ZeroDivisionError):
                continue
    return drawn_figures


def _wanted(study: Study, metrics: tuple[str, ...]) -> Iterator[tuple[str, Callable[[], Any]]]:
    if len(metrics) > 1:
        yield "pareto", lambda: drawn.plot_pareto_front(study, target_names=list(metrics))
    for place, metric in enumerate(metrics):
        of = _of(study, place, metric, several=len(metrics) > 1)
        end = f"-{place + 1}" if len(metrics) > 1 else ""
        yield f"history{end}", of(drawn.plot_optimization_history)
        if all_tie(study.get_trials(deepcopy=False), place):
            continue
        yield f"importance{end}", of(drawn.plot_param_importances)
        yield f"parallel{end}", of(drawn.plot_parallel_coordinate)
        yield f"slice{end}", of(drawn.plot_slice)
        yield f"contour{end}", of(drawn.plot_contour, params=lambda target: _important(study, target))
    if len(metrics) == 1 and any(len(trial.intermediate_values) > 1 for trial in study.get_trials(deepcopy=False)):
        yield "intermediate", lambda: drawn.plot_intermediate_values(study)


def all_tie(trials: Iterable[FrozenTrial], place: int) -> bool:
    """Whether finished trials have one value of an objective: no parameter can be shown to matter.

    Infinite values do not count: Optuna leaves them out of its figures.
    """
    values = [trial.values[place] for trial in trials if trial.state == TrialState.COMPLETE]
    return len(values) > 1 and len({value for value in values if math.isfinite(value)}) <= 1


def _of(study: Study, place: int, metric: str, *, several: bool) -> Callable[..., Callable[[], Any]]:
    """Return a function that draws figures of one objective."""

    def target(trial: Any) -> float:
        return float(trial.values[place])

    def of(draw: Callable[..., Any], params: Callable[[Any], list[str]] | None = None) -> Callable[[], Any]:
        chosen = {"target": target} if several else {}

        def call() -> Any:
            more = {"params": params(chosen.get("target"))} if params else {}
            return draw(study, target_name=metric, **chosen, **more)

        return call

    return of


def _important(study: Study, target: Any) -> list[str]:
    """Return the most important parameters that every trial has."""
    importances = get_param_importances(study, **({"target": target} if target else {}))
    names = list(importances)[:_MOST_CONTOURS]
    if len(names) < 2:
        raise ValueError("a contour needs two parameters")
    return names


def _figure(name: str, axes: Any) -> Figure:
    """Return Optuna's figure, sized for its panels."""
    several = getattr(axes, "flat", None)
    first = next(iter(several)) if several is not None else axes
    figure: Figure = first.figure
    if several is not None:
        shape = axes.shape if len(axes.shape) == 2 else (1, axes.shape[0])
        figure.set_size_inches(max(8, _WIDE * shape[1]), max(4, _WIDE * shape[0]))
    else:
        figure.set_size_inches(8, 4.5)
    for panel in figure.axes:
        panel.tick_params(labelsize=7, which="both")
        panel.xaxis.label.set_fontsize(8)
        panel.yaxis.label.set_fontsize(8)
    if name == "intermediate" and first.get_legend():  # one name per trial: higher than the figure
        first.get_legend().remove()
    if name.startswith("parallel"):  # its panels lie on each other, and have no height of their own
        return figure
    figure.set_layout_engine("constrained")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", UserWarning)
            figure.draw_without_rendering()
    except (ZeroDivisionError, UserWarning):  # labels too long for its panels
        pass
    figure.set_layout_engine("none")  # it stays as it is: drawn once more, the layout may find no room and say so
    return figure


def close(made: dict[str, Figure]) -> None:
    """Close the figures in pyplot."""
    from matplotlib import pyplot

    for figure in made.values():
        pyplot.close(figure)
