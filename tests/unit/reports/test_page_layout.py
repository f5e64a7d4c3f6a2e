"""Every page on a phone and on a screen, light and dark: nothing runs out of it, and all text can be read."""

from __future__ import annotations

import numpy as np
import optuna
import pandas as pd
import pytest
from browser import browser, needs_browser
from made_l2 import at_random

from asr_lab.metrics import error_rates
from asr_lab.metrics.pronunciation import Calibration, flagged
from asr_lab.metrics.significance import Interval
from asr_lab.metrics.slices import slices
from asr_lab.reports.alignment import alignment_page
from asr_lab.reports.comparison import ComparisonReport
from asr_lab.reports.learner import learner_page
from asr_lab.reports.splits import png, splits_figure, splits_page
from asr_lab.reports.sweep import svg, sweep_page
from asr_lab.reports.table import Table
from asr_lab.sweeps.figures import close, figures

pytestmark = needs_browser
WIDTHS = (390, 1280)  # CSS pixels
TRIALS = 6
LONG = "korean-children-5x512-model.dropout=0.1-train.lr=3e-4-1234abcd"
FAINT = r"""
  const numbers = color => (color.match(/[\d.]+/g) || []).map(Number);
  const linear = x => x <= 0.03928 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4;
  const light = color => numbers(color).slice(0, 3)
    .reduce((sum, x, place) => sum + linear(x / 255) * [0.2126, 0.7152, 0.0722][place], 0);
  const behind = one => {
    const color = getComputedStyle(one).backgroundColor;
    return numbers(color)[3] === 0 && one.parentElement ? behind(one.parentElement) : color;
  };
  const texts = [...document.querySelectorAll("body *")].filter(one => !one.closest("figure, script, option, path")
    && one.checkVisibility() && [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()));
  return texts.map(one => {
    const style = getComputedStyle(one), ink = one instanceof SVGElement ? style.fill : style.color;
    const [low, high] = [light(ink), light(behind(one))].sort((a, b) => a - b);
    return [one.tagName, one.textContent.slice(0, 20), (high + 0.05) / (low + 0.05)];
  }).filter(one => one[2] < 4.5);
"""
"""Texts with less contrast than WCAG 2 asks for (level AA)."""
SMALLEST = """
  const text = [...document.querySelectorAll("#parallel text")], svg = document.getElementById("parallel");
  const scale = svg.getBoundingClientRect().width / svg.viewBox.baseVal.width;
  return Math.min(...text.map(one => parseFloat(getComputedStyle(one).fontSize) * scale));
"""
STANDING = """
  const axis = document.querySelector("#parallel .axis");
  return axis.getAttribute("x1") === axis.getAttribute("x2");
"""


def alignment() -> str:
    rng = np.random.default_rng(0)
    words = ["donaudampfschifffahrtselektrizitätenhauptbetriebswerkbauunterbeamtengesellschaft", "안녕하세요", "a"]
    ids = [f"speaker-{n:03d}-session-20261129-utterance-{n:05d}" for n in range(40)]
    references = {id: " ".join(rng.choice(words, 9)) for id in ids}
    heard = {id: text.replace("a ", "b ", 2) for id, text in references.items()}
    table = error_rates.score(references, heard).assign(duration_s=2.5, corpus=LONG)
    table["speaker"] = [f"speaker-with-a-long-name-{n % 7}" for n in range(40)]
    return alignment_page(table, f"{LONG} on test", Interval(0.2, 0.1, 0.3), slices=slices(table))


def learner() -> str:
    table = flagged(at_random(12), "error_score", 0.5)
    calibration = Calibration("error_score", -1.0, 0.0, "right", 100)
    return learner_page(table, calibration, learner="a-learner-with-a-long-name")


def splits() -> str:
    parts = ("train", "val", "test", "left_out")
    bins = pd.DataFrame({"field": ["age"] * 3 + ["snr_db"] * 3, "bin": ["4-6", "7-9", "25 and more"] * 2})
    shares = bins.assign(**{f"{part}_share": 0.25 for part in parts})
    sizes = pd.DataFrame({"part": parts, "utterances": 123456, "hours": 1234.5, "digest": "4dcc87c0" * 4})
    overlap = pd.DataFrame({"parts": ["train and test"] * 2, "speakers": 0, "utterances": 0, "texts": 12})
    return splits_page(
        f"corpora/{LONG}/all.jsonl.gz",
        [f"train: corpora/{LONG}/train.jsonl.gz, 123,456 utterances"],
        sizes=Table(frame=sizes),
        overlap=Table(frame=overlap),
        distributions=Table(frame=shares.assign(**{f"{part}_hours": 1.5 for part in parts})),
        members={part: [f"speaker-{n}" for n in range(90)] for part in parts},
        figure=png(splits_figure(shares)),
    )


def sweep() -> str:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(0))
    rows = []
    for number in range(TRIALS):
        trial = study.ask()
        names = [f"train.lr_of_layer_{layer}" for layer in range(3)]
        values = {name: trial.suggest_float(name, 1e-5, 1, log=True) for name in names}
        values["model.type"] = trial.suggest_categorical("model.type", ["gru", "a-long-name-of-a-type"])
        study.tell(trial, number / TRIALS)
        rows.append({"trial": number, "state": "finished", "run": LONG, **values, "val/wer": number / TRIALS})
    rows.append({"trial": TRIALS, "state": "failed", "run": LONG})
    drawn = figures(study, ("val/wer",))
    pictures = {name: svg(figure) for name, figure in drawn.items() if name != "parallel"}
    close(drawn)
    axes = {**dict.fromkeys(study.best_trial.params, "neither"), "val/wer": "lower"}
    return sweep_page(f"sweep-{LONG}", [f"best: trial 3 of {LONG}"], pictures, pd.DataFrame(rows), [3], axes)


def comparison() -> str:
    rng = np.random.default_rng(0)
    names = [f"{LONG}-{n}" for n in range(6)]
    columns = {f"train.key_{n}": rng.random(6) for n in range(9)} | {"val/wer": rng.random(6)}
    table = pd.DataFrame({"run": names, **columns}, index=[f"id{n}" for n in range(6)])
    table = table.assign(difference=0.1, low=0.05, high=0.2, p=0.01)
    curve = pd.DataFrame({"step": range(8), "seconds": 60.0 * np.arange(8), "value": 1 / np.arange(1, 9)})
    curves = pd.concat([curve.assign(run=name, metric="val/wer") for name in names])
    sentences = [f"significantly worse than {names[0]} in val/wer: {', '.join(names[1:])}"]
    best = {"val/wer": "id0"}
    report = ComparisonReport(frame=table, metric="val/wer", best=best, sentences=sentences, baseline="id0")
    return report.page(curves)


PAGES = {"alignment": alignment, "learner": learner, "splits": splits, "sweep": sweep, "comparison": comparison}


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("chromium"), 1280, 900) as one:
        yield one


@pytest.mark.parametrize("name", PAGES)
@pytest.mark.slow
def test_a_page_fits_and_can_be_read(name, page, tmp_path):
    file = tmp_path / f"{name}.html"
    file.write_text(PAGES[name](), encoding="utf-8")
    for width in WIDTHS:
        for dark in (False, True):
            page.emulate(width, dark=dark)
            page.open(f"file://{file}")
            inner, scrolled = page.run("return [innerWidth, document.documentElement.scrollWidth]")
            assert scrolled <= inner == width
            assert page.run(FAINT) == []
            shade = page.run("return getComputedStyle(document.body).backgroundColor")
            assert shade == ("rgb(18, 24, 30)" if dark else "rgb(255, 255, 255)")
            of_figures = "return [...document.querySelectorAll('figure > *')].map(one => getComputedStyle(one).filter)"
            assert all(filter.startswith("invert") is dark for filter in page.run(of_figures))
        if name in ("sweep", "comparison"):
            assert page.run(SMALLEST) > 8
            page.wait_until(STANDING, width == 1280)


@pytest.mark.slow
def test_the_axes_turn_with_the_screen(page, tmp_path):
    file = tmp_path / "page.html"
    file.write_text(sweep(), encoding="utf-8")
    page.emulate(1280, dark=False)
    page.open(f"file://{file}")
    for width, standing in ((390, False), (1280, True)):
        page.emulate(width, dark=False)
        page.wait_until(STANDING, standing)
        assert page.run("return document.querySelectorAll('path.run').length") == TRIALS
