"""The MLflow UI as people see it, in a browser, on runs as the commands record them."""

from __future__ import annotations

import time

import pytest
from browser import browser, needs_browser
from conftest import newest, ok
from servers import mlflow_server

from asr_lab.tracking.ui.addresses import where_to_look

pytestmark = [pytest.mark.slow, needs_browser]


@pytest.fixture(scope="module")
def server(home):
    running = mlflow_server(home, f"sqlite:///{home}/mlflow.db")
    running.start()
    yield running
    running.kill()


@pytest.fixture(scope="module")
def page(home):
    with browser(home) as one:
        yield one


@pytest.fixture
def address(server, at_home, monkeypatch):
    """What `asr-lab ui` prints where the store is a server: it starts none."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)

    def of(*words: str) -> str:
        printed = ok("ui", "--no-browser", *words).strip()
        assert printed.startswith(f"{server.uri}/#/")
        return printed

    return of


def in_order(text: str, *words: str) -> bool:
    places = [text.find(word) for word in words]
    return -1 not in places and places == sorted(places)


def columns(page) -> list[str]:
    """The headings of the table from left to right."""
    return page.run(
        "return [...document.querySelectorAll('.ag-header-cell')]"
        ".sort((a, b) => a.getBoundingClientRect().left - b.getBoundingClientRect().left)"
        ".map(cell => cell.innerText.trim()).filter(Boolean)"
    )


def test_the_table_begins_with_results(page, address):
    text = page.open(address("--family", "adapter"), "matching run", "Description", "test/wer", "john")
    shown = columns(page)
    assert shown[:5] == ["Run Name", "Created", "Description", "test/wer", "test/wer_low"]
    assert "on 6 utterances" in text
    assert in_order(text, "Model training", "Runs", "Models")
    assert "Detect issues" not in text


def test_curves_come_first_and_are_drawn(page, address):
    chart = address("--family", "deepspeech2").replace("=TABLE", "=CHART")
    text = page.open(chart, "Curves", "train/loss", "Size and cost")
    text = text[text.index("Curves") :]
    assert in_order(text, "Curves", "val/wer", "train/loss", "Size and cost", "System metrics")
    page.wait_for("Step")
    assert page.run("return document.querySelectorAll('.js-plotly-plot .scatterlayer path.js-line').length") > 1
    assert not page.run("return document.querySelectorAll('.js-plotly-plot .barlayer path').length")


def test_utterances_of_a_split_are_shown_with_what_was_recognised(page, address):
    table = address("--family", "deepspeech2").replace("=TABLE", "=ARTIFACT")
    text = page.open(table, "tables/val.json", "u00: ")
    assert in_order(text, "Group by:", "utterance", "Compare:", "hypothesis", "corpus/all", "u00: ", "u01: ")


def test_a_run_begins_with_its_result(page, address):
    run = newest("adapter")
    assert where_to_look(run.info.run_id) == address("--run", run.info.run_id)
    text = page.open(address("--run", run.info.run_id), "on 6 utterances", "Registered models")
    assert in_order(text, "Model training", "Description", "WER ", "Metrics (")
    assert "deepspeech2-adapter-john" in text
    assert in_order(text, "asr_lab.family", "asr_lab.speaker", "asr_lab.signature", "asr_lab.process")
    assert in_order(text, "Model metrics (", "train/loss", "test/wer", "base_test/wer", "model/params", "perf/seconds")
    assert in_order(text, "Parameters (", "recipe", "run.seed", "adapter.name", "data.train", "train.epochs")


def test_pages_and_figures_open_among_the_artifacts(page, address):
    base = newest("deepspeech2")
    run = address("--run", base.info.run_id)
    page.open(run.replace("?", "/artifacts/eval/val.html?"), "val.html")
    for _ in range(60):
        frames = page.run(
            "return [...document.querySelectorAll('iframe')].map(f => f.contentDocument?.body?.innerText)"
        )
        if any(text is None or "48 utterances" in text for text in frames):  # None: closed to scripts
            return
        time.sleep(0.5)
    raise AssertionError(frames)


def test_models_are_named_after_what_they_are(page, address):
    experiment = address("--family", "adapter").partition("/runs?")[0]
    text = page.open(f"{experiment}/models?workflowType=machine_learning", "deepspeech2-adapter-john", "john/all")
    assert "v1" in text


def test_a_version_begins_with_its_result(page, server):
    text = page.open(f"{server.uri}/#/models/deepspeech2/versions/1", "Figures", "Description")
    assert in_order(text, "validation utterances", "Intended use", "Figures")
