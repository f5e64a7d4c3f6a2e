"""Addresses of pages of the MLflow UI."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import suppress
from urllib.parse import urlencode, urlsplit

from mlflow.entities import Run
from mlflow.exceptions import MlflowException
from mlflow.utils.credentials import get_default_host_creds
from mlflow.utils.rest_utils import http_request

from asr_lab.errors import AsrLabError
from asr_lab.tracking.store import client, tracking_uri
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


def where_to_look(*run_ids: str) -> str:
    """Return the address of a run's page, or of the comparison of several, on the tracking server; the command that
    opens it where the store is no server, or does not have the run yet.
    """
    if address := server():
        with suppress(AsrLabError, MlflowException):
            return f"{address}/{page_of_runs([client().get_run(run_id) for run_id in run_ids])}"
    return "asr-lab ui " + " ".join(f"--run {run_id[:8]}" for run_id in run_ids)


def page_of_runs(runs: Sequence[Run]) -> str:
    """Return the page of a run, or the one that compares several."""
    experiments = sorted({run.info.experiment_id for run in runs})
    ids = [run.info.run_id for run in runs]
    if len(runs) == 1:
        return f"#/experiments/{experiments[0]}/runs/{ids[0]}?{urlencode(_TRAINING)}"
    compared = {"runs": json.dumps(ids), "experiments": json.dumps(experiments)}
    return f"#/compare-runs?{urlencode(compared | _TRAINING)}"


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
