"""Views, addresses and colours for the MLflow UI, and the server that shows them."""

from __future__ import annotations

import base64
import json
import signal
import subprocess
import sys
import threading
import time
import urllib.request
import zlib
from http.server import BaseHTTPRequestHandler, HTTPServer

import psutil
import pytest
from conftest import ok, refused
from made import client, made_run
from servers import free_port

from asr_lab.families import FAMILIES, deciding
from asr_lab.metrics.catalog import of_best_epoch
from asr_lab.tracking.ui import addresses, views
from asr_lab.tracking.ui.colors import run_color
from asr_lab.tracking.ui.server import local_server


def state_of(tag: str) -> dict:
    state = json.loads(tag)["state"]
    return json.loads(zlib.decompress(base64.b64decode(state.removeprefix("deflate;"))))


@pytest.mark.parametrize("family", [name for name in FAMILIES if deciding(name)])
def test_a_view_begins_with_what_decides(family):
    state = state_of(views.saved_view([family]))
    decides = of_best_epoch(deciding(family))
    assert state["columnOrder"][:2] == ["attributes.`Description`", f"metrics.`{decides}`"]
    assert set(state["columnOrder"]) - {"duration"} == set(state["selectedColumns"])
    assert state["orderByKey"] == f"metrics.`{decides}`"
    assert state["orderByAsc"] is (family != "pronunciation")
    titles = [section["name"] for section in state["compareRunSections"] if section["display"]]
    assert titles in (["Curves", "Results"], ["Curves"], ["Results"])


def test_a_view_of_several_families_has_the_figures_of_all():
    columns = views.metric_columns(["adapter", "pronunciation"])
    assert {"test/wer", "test/wer_low", "test/wer_base", "best/val_error_f1"} <= set(columns)
    assert columns.index("test/wer") < columns.index("test/wer_base")


def test_every_view_fits_into_a_tag():
    assert len(views.saved_view(list(FAMILIES))) < 20_000


@pytest.mark.usefixtures("store")
def test_what_people_wrote_on_an_experiment_stays_and_the_view_is_renewed():
    run = client().get_run(made_run("base", wer=0.2))
    id = run.info.experiment_id
    client().set_experiment_tag(id, "mlflow.note.content", "our corpus of 2026")
    client().set_experiment_tag(id, views.TAG, "an older view")
    client().set_experiment_tag(id, "mlflow.experiment.primaryMetric.name", "val/wer")  # as we wrote it
    views.describe_all(client(), [run])
    tags = client().get_experiment(id).tags
    assert tags["mlflow.note.content"] == "our corpus of 2026"
    assert state_of(tags[views.TAG])["orderByKey"] == "metrics.`best/val_wer`"
    assert tags["mlflow.experiment.primaryMetric.name"] == "best/val_wer"
    assert tags["mlflow.experiment.primaryMetric.greaterIsBetter"] == "False"


def test_runs_of_a_family_are_alike_in_colour_and_distinguished():
    adapters = {run_color("adapter", f"{number:08x}") for number in range(40)}
    bases = {run_color("deepspeech2", f"{number:08x}") for number in range(40)}
    assert len(adapters) > 15
    assert not adapters & bases
    assert all(int(color[5:7], 16) > int(color[1:3], 16) for color in adapters)  # blue
    assert all(int(color[1:3], 16) > int(color[5:7], 16) for color in bases)  # red
    assert run_color("deepspeech2", "a") == run_color("deepspeech2", "a")


@pytest.mark.parametrize(
    ("uri", "address"),
    [
        ("sqlite:///mlflow.db", ""),
        ("postgresql://me:secret@db/mlflow", ""),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000"),
        ("https://me:secret@mlflow.example.org/team", "https://mlflow.example.org/team"),
    ],
)
def test_the_address_of_a_server_has_no_password(uri, address, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
    assert addresses.server() == address


@pytest.mark.usefixtures("store")
def test_without_a_server_the_command_is_named():
    run_id = made_run("base")
    assert addresses.where_to_look(run_id) == f"asr-lab ui --run {run_id[:8]}"
    assert addresses.where_to_look(run_id, "0123456789") == f"asr-lab ui --run {run_id[:8]} --run 01234567"


@pytest.mark.parametrize(
    ("script", "takes"),
    [
        ('const a="viewStateShareKey",b="mlflow.sharedViewState."', True),
        ('const a="viewState"', False),
        (None, False),
    ],
)
def test_a_server_of_another_version_is_asked_whether_it_takes_views(script, takes):
    class Pages(BaseHTTPRequestHandler):
        def do_GET(self):
            page = '<script defer src="static-files/static/js/main.0a1b.js"></script>' if script else "an old page"
            body = (script or "").encode() if self.path.endswith("/main.0a1b.js") else page.encode()
            self.send_response(200)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = HTTPServer(("127.0.0.1", 0), Pages)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        assert addresses.takes_saved_views(f"http://127.0.0.1:{server.server_port}") is takes
    finally:
        server.shutdown()
        server.server_close()


def test_a_server_that_is_not_there_gets_the_plain_page():
    assert not addresses.takes_saved_views(f"http://127.0.0.1:{free_port()}")
    assert "viewStateShareKey" not in addresses.page_of_experiment("1", saved_view=False)


@pytest.mark.usefixtures("store")
def test_what_does_not_go_together_is_refused(monkeypatch):
    run_id = made_run("base")
    assert "--family" in refused("ui", "--run", run_id, "--family", "adapter")
    assert "adapter" in refused("ui", "--family", "adapter")
    refused("ui", "--run", "nobody")
    assert "has no page" in refused("open", run_id)


@pytest.mark.usefixtures("store")
def test_a_port_that_is_taken_is_refused():
    made_run("base")
    server = HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler)
    try:
        assert str(server.server_port) in refused("ui", "--no-browser", "--port", str(server.server_port))
    finally:
        server.server_close()


@pytest.mark.slow
def test_a_store_that_cannot_be_served_is_reported(tmp_path, monkeypatch):
    from asr_lab.errors import AsrLabError

    monkeypatch.chdir(tmp_path)
    with pytest.raises(AsrLabError) as told, local_server("nonsense://me:secret@somewhere"):
        pass
    assert "secret" not in str(told.value)


@pytest.mark.usefixtures("store")
def test_open_prints_the_page_and_writes_it(tmp_path):
    run_id = made_run("base")
    for path in ("eval/test.html", "eval/base_test.html", "learners/ann.html"):
        client().log_text(run_id, f"<p>{path}</p>", path)
    assert ok("open", run_id, "--no-browser").splitlines()[-1].endswith("eval/test.html")
    assert ok("open", run_id, "ann", "--no-browser").strip().endswith("learners/ann.html")
    ok("open", run_id, "eval/base_test", "--out", "page.html")
    assert (tmp_path / "page.html").read_text() == "<p>eval/base_test.html</p>"
    assert "eval/test.html" in refused("open", run_id, "eval/")
    assert "learners/ann.html" in refused("open", run_id, "nobody")


@pytest.mark.slow
@pytest.mark.usefixtures("store")
def test_ctrl_c_ends_the_server_with_all_its_processes():
    made_run("base", wer=0.2)
    ui = subprocess.Popen(
        [sys.executable, "-m", "asr_lab", "ui", "--no-browser"],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in what a shell runs behind itself
    )
    try:
        address = ui.stdout.readline().strip()
        assert "viewStateShareKey=asr_lab" in address
        urllib.request.urlopen(address.partition("#")[0], timeout=10).close()
        processes = psutil.Process(ui.pid).children(recursive=True)
        assert processes
        for _ in range(2):  # the second one does not leave the server running
            ui.send_signal(signal.SIGINT)
            time.sleep(0.1)
        assert ui.wait(30) == 0
        time.sleep(0.2)
        assert not [one for one in processes if one.is_running() and one.status() != psutil.STATUS_ZOMBIE]
    finally:
        ui.kill()
        ui.wait()
