"""Whether everything that asr_lab needs is there and works; each check tries what it says, and cleans up."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from asr_lab.errors import AsrLabError
from asr_lab.system import libraries
from asr_lab.tracking.connection import without_password
from asr_lab.units import megabytes

State = Literal["ok", "warn", "fail"]
_GPU = """
import json, torch
cuda = torch.cuda.is_available()
names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())] if cuda else []
print(json.dumps({"names": names, "cuda": torch.version.cuda, "mps": torch.backends.mps.is_available()}))
"""
_LITTLE, _TOO_LITTLE = 5e9, 0.5e9  # bytes of free disk
_SLOW_S = 1.0


@dataclass(frozen=True)
class Check:
    """Name, state and result (`found`) of a check, and a remedy unless it passed."""

    name: str
    state: State
    found: str
    advice: str = ""


def examine() -> Iterator[Check]:
    """Every check, one after the other; of one that fails only what needs it is left out."""
    needs = {schema: store, artifacts: store, gpu: torch_pair}
    checks: tuple[Callable[[], Check], ...] = (packages, torch_pair, store, schema, artifacts, disk, gpu, espeak)
    failed: set[Callable[[], Check]] = set()
    for check in checks:
        if needs.get(check) in failed:
            continue
        done = _tried(check)
        if done.state == "fail":
            failed.add(check)
        yield done


def _tried(check: Callable[[], Check]) -> Check:
    try:
        return check()
    except AsrLabError as error:
        advice = "; ".join(part for part in (error.hint, error.next_command) if part)
        return Check(check.__name__, "fail", f"{error.what} ({error.where})" if error.where else error.what, advice)
    except Exception as error:  # a check must not end the examination, whatever a driver or a store raises
        if broken := libraries.explain(error):
            return Check(check.__name__, "fail", f"{broken.what} ({broken.hint})", broken.next_command)
        return Check(check.__name__, "fail", f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}")


def packages() -> Check:
    """Whether what asr_lab asks for is installed, and what that asks for, in versions that fit."""
    needs = libraries.requirements()
    if not needs:
        return Check("packages", "warn", "asr_lab itself is not installed", "pip install -e '.[demo]' in its folder")
    wrong = [need for need in needs.values() if not need.is_met]
    if wrong:
        return Check("packages", "fail", "; ".join(map(str, wrong)), libraries.install_command(wrong))
    return Check("packages", "ok", f"all {len(needs)} as asked for; mlflow {version('mlflow')}")


def torch_pair() -> Check:
    """Whether torch and torchaudio load, which is tried in a process of its own, and were tested together."""
    versions = ", ".join(f"{name} {libraries.installed(name)}" for name in libraries.PAIR)
    tested = f"tested together: {libraries.tested_pairs()}"
    others = [name for name in libraries.COUPLED_TOO if find_spec(name)]
    for name, text in libraries.load_errors([*libraries.PAIR, *others]).items():
        broken = libraries.mend(name, text)
        state: State = "warn" if name in others else "fail"
        return Check("torch", state, f"{broken.what} ({broken.hint}); {tested}", broken.next_command)
    if not libraries.is_tested_pair():
        return Check("torch", "warn", f"{versions} load, but were not tested together", tested)
    return Check("torch", "ok", f"{versions}, tested together")


def store() -> Check:
    """Whether the tracking store answers, and how fast."""
    from asr_lab.tracking.store import client, experiment_ids, explain_store_errors, has_tables, tracking_uri

    uri = without_password(tracking_uri())
    if not has_tables():
        return Check("store", "ok", f"{uri}: none yet, or not complete; the first run makes it")
    tracking = client()
    began = time.monotonic()
    with explain_store_errors("the store does not answer"):
        number = len(experiment_ids(tracking))
    took = time.monotonic() - began
    result = f"{uri}: {number} experiments, {1000 * took:.0f} ms"
    if took > _SLOW_S:
        return Check("store", "warn", result, "a nearby store, or PostgreSQL behind mlflow server, answers faster")
    return Check("store", "ok", result)


def schema() -> Check:
    """Whether store and client are of one MLflow: the schema of a database, the version of a server."""
    from asr_lab.tracking.store import tracking_uri

    uri, own = tracking_uri(), version("mlflow")
    if not uri.startswith("http"):
        return Check("schema", "ok", f"that of MLflow {own}")  # MLflow refuses any other, as `store` reports
    from mlflow.utils import credentials, rest_utils

    ask: Any = rest_utils.http_request
    who: Any = credentials.get_default_host_creds
    theirs = ask(who(uri), "/version", "GET", max_retries=1, timeout=5).text.strip()
    if theirs.split(".")[:2] != own.split(".")[:2]:
        advice = f"the same on both sides: pip install 'mlflow=={theirs}' here, or upgrade the server"
        return Check("schema", "warn", f"the server is MLflow {theirs[:20]}, this is {own}", advice)
    return Check("schema", "ok", f"server and client are MLflow {theirs}")


def artifacts() -> Check:
    """Whether an artifact can be written, read and removed where new runs would put theirs."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    from asr_lab.tracking.moved_store import refuse_moved
    from asr_lab.tracking.store import client, has_tables, tracking_uri

    refuse_moved(tracking_uri())
    if not has_tables():
        return Check("artifacts", "ok", "none yet, the first run makes their folder")
    tracking = client()
    roots = [experiment.artifact_location for experiment in tracking.search_experiments(max_results=1)]
    if not roots:
        return Check("artifacts", "warn", "there is no experiment to try it in", "asr-lab train makes one")
    root, name = roots[0], f"doctor-{uuid.uuid4().hex}"
    repository: Any = get_artifact_repository(root)
    made = _is_local(root) and not Path(urlsplit(root).path).exists()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "probe.txt").write_text(name)
        try:
            repository.log_artifact(str(Path(folder) / "probe.txt"), name)
            back = Path(repository.download_artifacts(f"{name}/probe.txt", folder + "/")).read_text()
        finally:
            repository.delete_artifacts(name)
            if made:
                shutil.rmtree(urlsplit(root).path, ignore_errors=True)
    if back != name:
        return Check("artifacts", "fail", f"{root}: what was read is not what was written")
    return Check("artifacts", "ok", f"{root}: written, read, removed")


def _is_local(uri: str) -> bool:
    return urlsplit(uri).scheme in ("", "file")


def disk() -> Check:
    """Free disk in the working folder: checkpoints go there, and the default store."""
    free = shutil.disk_usage(Path.cwd()).free
    state: State = "fail" if free < _TOO_LITTLE else "warn" if free < _LITTLE else "ok"
    advice = "" if state == "ok" else "asr-lab cleanup --checkpoints-only shows what can go"
    return Check("disk", state, f"{megabytes(free)} free in {Path.cwd()}", advice)


def gpu() -> Check:
    """Check whether PyTorch has a GPU; warn if only the driver has one."""
    done = subprocess.run([sys.executable, "-c", _GPU], capture_output=True, text=True, check=True)
    devices: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    if devices["names"]:
        return Check("gpu", "ok", f"{', '.join(devices['names'])}, CUDA {devices['cuda']}")
    if devices["mps"]:
        return Check("gpu", "ok", "Apple MPS")
    if shutil.which("nvidia-smi"):
        advice = (
            f"the driver must support CUDA {devices['cuda']}: see nvidia-smi, update the driver"
            if devices["cuda"]
            else "this PyTorch is a build for CPUs; how to install the other one: asr-lab guide install"
        )
        return Check("gpu", "warn", "nvidia-smi is there, but PyTorch sees no GPU", advice)
    return Check("gpu", "warn", "none: everything runs on CPU", "the demo and adapters do well without one")


def espeak() -> Check:
    """Whether eSpeak NG can speak the demo's corpus."""
    from asr_lab.data.synthesis import espeak as speech

    try:
        speech.require()
    except AsrLabError as error:
        return Check("espeak", "warn", "not installed: no demo corpus, no `data synth`", error.next_command)
    speech.Engine()
    return Check("espeak", "ok", f"{len(speech.voice_names())} voices")
