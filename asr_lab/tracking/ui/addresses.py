"""Addresses of pages of the MLflow UI."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from urllib.parse import urlencode, urlsplit

from mlflow.entities import Run
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from asr_lab.tracking.store import tracking_uri
from asr_lab.tracking.ui.views import KEY

_TRAINING = {"workflowType": "machine_learning"}
"""Without it an experiment opens among traces of language models."""
_SCRIPT = re.compile(r'src="([^"]*/main\.[^"]*\.js)"')


def server() -> str:
    """Return the address of the tracking server, without user and password; "" where the store is no server."""
    parts = urlsplit(tracking_uri())
    if parts.scheme not in ("http", "https"):
        return ""
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}".rstrip("/")


def where_to_look(page: str, run_ids: Sequence[str]) -> str:
    """Return the address of a page of runs on the tracking server; without a server the command that opens it."""
    if address := server():
        return f"{address}/{page}"
    return "asr-lab ui " + " ".join(f"--run {run_id[:8]}" for run_id in run_ids)


def page_of_run(run_id: str) -> str:
    """Return the page of one run, by its id alone."""
    return f"#/runs/{run_id}?{urlencode(_TRAINING)}"


def page_of_comparison(runs: Sequence[Run]) -> str:
    """Return the page that compares runs."""
    ids = json.dumps([run.info.run_id for run in runs])
    experiments = json.dumps(sorted({run.info.experiment_id for run in runs}))
    return "#/compare-runs?" + urlencode({"runs": ids, "experiments": experiments} | _TRAINING)


def page_of_experiment(experiment_id: str, *, saved_view: bool) -> str:
    """Return the table of an experiment's runs, in our view if `saved_view`."""
    view = {"viewStateShareKey": KEY, "compareRunsMode": "TABLE"} if saved_view else {}
    return f"#/experiments/{experiment_id}/runs?{urlencode(_TRAINING | view)}"


def takes_saved_views(uri: str) -> bool:
    """Return whether the UI of a server opens saved views of runs: its script has the words for them."""
    try:
        credentials = get_default_host_creds(uri)
        page = http_request(credentials, "/", "GET", timeout=10, max_retries=0, raise_on_status=False).text
        script = _SCRIPT.search(page)
        if script is None:
            return False
        path = "/" + script[1].removeprefix("./").lstrip("/")
        text = http_request(credentials, path, "GET", timeout=30, max_retries=0, raise_on_status=False).text
    except Exception:  # requests, proxies and logins raise anything; the plain page opens everywhere
        return False
    return "viewStateShareKey" in text and "mlflow.sharedViewState." in text
