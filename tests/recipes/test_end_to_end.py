"""The whole way, as a user types it, in processes of their own; and what is left when they are killed."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import pytest
from conftest import ROOT, asr_lab, make_corpus

pytestmark = pytest.mark.slow


def checkout(folder: Path) -> Path:
    """A copy of what git tracks, as a fresh clone has it."""
    names = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, names):
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, target)
    return folder


def mlflow_run(folder: Path, *arguments: str) -> str:
    """`mlflow run . ...` typed in the folder, without conda; its output."""
    path = os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"])
    environment = {key: value for key, value in os.environ.items() if not key.startswith(("MLFLOW_", "CONDA"))}
    done = subprocess.run(
        ["mlflow", "run", ".", *arguments],
        cwd=folder,
        env={**environment, "PATH": path},
        capture_output=True,
        text=True,
        timeout=1500,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout + done.stderr


def client_of(folder: Path) -> mlflow.MlflowClient:
    return mlflow.MlflowClient(f"sqlite:///{folder}/mlflow.db")


def all_runs(client: mlflow.MlflowClient):
    return client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])


def test_from_a_fresh_clone_to_two_persons_recognisers(tmp_path):
    pytest.importorskip("espeakng_loader")
    folder = checkout(tmp_path / "clone of asr lab")
    said = mlflow_run(folder, "-e", "adapter", "-P", "name=john")
    assert said.count("asr_lab: no conda here") == 1
    for part in (
        "making the demo corpus",
        "training it (once)",
        "john's adapter",
        "95 % interval",
        "asr-lab ui --run",
    ):
        assert part in said, part
    again = mlflow_run(folder, "-e", "adapter", "-P", "name=jane")
    assert "making the demo corpus" not in again
    assert "training it" not in again

    client = client_of(folder)
    runs = {run.info.run_name.split("-")[0]: run for run in all_runs(client)}
    assert set(runs) == {"base", "john", "jane"}
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    for name in ("john", "jane"):
        metrics = runs[name].data.metrics
        assert metrics["test/wer_base"] > 1.5 * runs["base"].data.metrics["test/wer"]  # the base is worse on them
        assert metrics["test/wer_delta_high"] < 0  # and the adapter helps by more than its interval
        assert (folder / "adapters" / f"{name}_adapter.pt").is_file()
        assert client.get_model_version_by_alias(f"deepspeech2-adapter-{name}", "champion")
    assert client.get_model_version_by_alias("deepspeech2", "champion").run_id == runs["base"].info.run_id

    audio = sorted((folder / "corpora/demo/audio/john").glob("*.flac"))[0]
    done = asr_lab("transcribe", str(audio), "--adapter", "john", cwd=folder, forked=False)
    assert done.returncode == 0
    assert done.stdout.strip()
    unknown = subprocess.run(
        [sys.executable, "-m", "asr_lab", "adapter", "--name", "nobody"],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert unknown.returncode == 1
    assert "john" in unknown.stderr
    assert "-P data=" in unknown.stderr


TRAIN = (
    "train", "base.yaml", "data.train=corpus/all.jsonl.gz", "data.val=corpus/all.jsonl.gz", "data.test=",
    "model.hidden_size=16", "model.conv_channels=4", "train.epochs=20", "train.batch_size=2", "run.threads=1",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    make_corpus(tmp_path / "corpus", {f"u{i:02d}": "cab dad" for i in range(24)})
    (tmp_path / "base.yaml").write_text("recipe: deepspeech2\n")
    return tmp_path


def start(folder: Path, *more: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db"}
    return subprocess.Popen(
        [sys.executable, "-u", "-m", "asr_lab", *TRAIN, *more],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # ignored in what a shell runs behind itself
    )


def wait_for_checkpoint(folder: Path, process: subprocess.Popen[str]) -> None:
    until = time.monotonic() + 120
    while not list(folder.glob("checkpoints/*/checkpoint-*/COMPLETE")):
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < until, "no checkpoint within two minutes"
        time.sleep(0.05)


def cut_off(folder: Path, by: signal.Signals) -> mlflow.entities.Run:
    """The one run of a training that a signal ended after its first checkpoint."""
    process = start(folder)
    wait_for_checkpoint(folder, process)
    process.send_signal(by)
    process.wait()
    (run,) = all_runs(client_of(folder))
    return run


def test_a_training_that_was_killed_goes_on_in_the_same_run(folder):
    cut = cut_off(folder, signal.SIGKILL)
    assert cut.info.status == "RUNNING"
    done = asr_lab(*TRAIN, cwd=folder)
    assert done.returncode == 0, done.stderr
    assert "continuing" in done.stdout
    (run,) = all_runs(client_of(folder))
    assert run.info.run_id == cut.info.run_id
    assert run.info.status == "FINISHED"
    first = int(re.search(r"epoch (\d+)/20", done.stdout).group(1))
    assert first > 1  # what was trained before was not trained again
    steps = [point.step for point in client_of(folder).get_metric_history(run.info.run_id, "train/loss")]
    assert len(steps) == len(set(steps))  # nor logged twice


def test_a_run_still_going_is_not_taken_over(folder):
    long = "train.epochs=400"
    processes = [start(folder, long)]
    try:
        wait_for_checkpoint(folder, processes[0])
        processes.append(start(folder, long))
        said = next(line for line in processes[1].stdout if line.startswith(("training", "continuing", "  epoch")))
        assert said.startswith("training")
        assert len(all_runs(client_of(folder))) == 2
    finally:
        for process in processes:
            process.kill()
            process.wait()


def test_ctrl_c_leaves_a_run_that_is_killed(folder):
    run = cut_off(folder, signal.SIGINT)
    assert run.info.status == "KILLED"
    done = asr_lab(*TRAIN, cwd=folder)
    assert "continuing" in done.stdout
    (again,) = all_runs(client_of(folder))
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")


def test_a_dead_server_is_one_message_within_seconds(folder):
    began = time.monotonic()
    done = asr_lab("list", cwd=folder, env={"MLFLOW_TRACKING_URI": "http://127.0.0.1:9"}, forked=False)
    assert done.returncode == 1
    assert "the tracking server does not answer" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < 30


@pytest.mark.parametrize("recipe", ["deepspeech2", "wav2vec2"])
def test_a_registered_model_loads_where_asr_lab_is_not_installed(folder, tmp_path, recipe):
    """The packages of this environment without asr_lab's own entry: `.pth` files count only in site folders."""
    (folder / "base.yaml").write_text(f"recipe: {recipe}\n")
    done = asr_lab(*TRAIN, "train.epochs=1", "run.register_as=tiny", cwd=folder)
    assert done.returncode == 0, done.stderr
    (tmp_path / "elsewhere").mkdir()
    code = """
import sys, importlib.util
assert importlib.util.find_spec("asr_lab") is None, "asr_lab can be imported here"
import mlflow, pandas
model = mlflow.pyfunc.load_model("models:/tiny/1")
audio = open(sys.argv[1], "rb").read()
print("said:", list(model.predict(pandas.DataFrame({"audio": [audio]})).columns))
"""
    site = next(path for path in sys.path if path.endswith("site-packages"))
    if (Path(site) / "asr_lab").exists():
        pytest.skip("asr_lab is installed into site-packages itself, not as an editable install")
    loaded = subprocess.run(
        [getattr(sys, "_base_executable", sys.executable), "-S", "-c", code, folder / "corpus/audio/u00.wav"],
        cwd=tmp_path / "elsewhere",
        env={
            **os.environ,
            "PYTHONPATH": site,
            "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        },
        capture_output=True,
        text=True,
    )
    assert "said: ['text']" in loaded.stdout, loaded.stderr[-3000:]
