"""Training that is cut off, shared, or short of disk, in processes of their own as a user starts them."""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import mlflow
import numpy as np
import psutil
import pytest
from conftest import WORDS, asr_lab, make_corpus
from empty_store import empty_store
from encoders import base_folder
from forks import Forked
from safetensors.numpy import load_file

pytestmark = pytest.mark.slow

TRAIN = (
    "train", "base.yaml", "data.train=corpus/all.jsonl.gz", "data.val=corpus/all.jsonl.gz", "data.test=",
    "model.hidden_size=16", "model.conv_channels=4", "train.epochs=8", "train.batch_size=2", "run.threads=1",
    "train.save_every=5", "train.patience=7", "augment.speed_factors=0.9,1.0,1.1", "augment.noise_snr_db=5,20",
)  # fmt: skip

RECIPES = ("deepspeech2", "wav2vec2")
NO_DROPOUT = dict.fromkeys(
    ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout"), 0.0
)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(2)
    make_corpus(tmp_path / "corpus", {f"u{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(25)})
    (tmp_path / "base.yaml").write_text("recipe: deepspeech2\n")
    return tmp_path


def learning(folder: Path, recipe: str, **base: float) -> tuple[str, ...]:
    """Keys for a training by this recipe in the folder: a DeepSpeech2, or adapters on a wav2vec2."""
    (folder / "base.yaml").write_text(f"recipe: {recipe}\n")
    if recipe == "deepspeech2":
        return ()
    base_folder(folder / "base", hidden_size=16, num_hidden_layers=2, conv_dim=(4,) * 7, **base)
    return "model.pretrained=base", "model.tune=lora", "model.freeze_layers=1"


def command(*more: str, processes: int = 1) -> list[str]:
    own = ["-m", "asr_lab", *TRAIN, *more]
    if processes == 1:
        return [sys.executable, *own]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-addr", "127.0.0.1"]
    return [sys.executable, *torchrun, "--master-port", port, *own]


def start(folder: Path, *more: str, processes: int = 1, store: str = "mlflow.db", forked: bool = True):
    """A training that goes on beside the test: a fork, or what is typed, which imports everything anew."""
    if not (folder / store).exists():
        empty_store(folder / store)
    environment = {**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/{store}", "OMP_NUM_THREADS": "1"}
    own = {"cwd": folder, "env": environment, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    if forked and processes == 1:
        return Forked(command(*more)[1:], **own, start_new_session=True)
    return subprocess.Popen(command(*more, processes=processes), **own, text=True, start_new_session=True)


def finished(folder: Path, *more: str, processes: int = 1, store: str = "mlflow.db", forked: bool = True) -> str:
    process = start(folder, *more, processes=processes, store=store, forked=forked)
    said, _ = process.communicate(timeout=400)
    assert process.returncode == 0, said[-3000:]
    return said


def the_run(folder: Path, store: str = "mlflow.db"):
    """The one run there is, and the client that knows it."""
    client = mlflow.MlflowClient(f"sqlite:///{folder}/{store}")
    runs = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert len(runs) == 1, [run.info.run_name for run in runs]
    return runs[0], client


def final(folder: Path, store: str = "mlflow.db") -> Path:
    run, client = the_run(folder, store)
    (weights,) = Path(client.download_artifacts(run.info.run_id, "final")).glob("*model.safetensors")
    return weights


def kill_when(process, happened: Callable[[], bool]) -> None:
    until = time.monotonic() + 120
    while not happened():
        assert process.poll() is None, "training ended before it could be killed"
        assert time.monotonic() < until, "it never happened"
        time.sleep(0.002)
    everyone = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
    for each in everyone:  # torchrun's workers are in sessions of their own
        with suppress(psutil.NoSuchProcess):
            each.kill()
    process.wait()


def checkpoints(folder: Path) -> dict[int, bool]:
    """Step -> whether its checkpoint is whole."""
    return {
        int(path.name.split("-")[1]): (path / "COMPLETE").exists() for path in folder.glob("checkpoints/*/checkpoint-*")
    }


@pytest.mark.parametrize("recipe", RECIPES)
def test_killed_at_any_step_the_same_command_ends_with_the_same_weights(folder, recipe):
    more = learning(folder, recipe)
    finished(folder, *more, store="whole.db", forked=False)  # its hashes are drawn anew, unlike those of a fork
    moments = [
        lambda: any(not whole for whole in checkpoints(folder).values()),  # while a checkpoint is written
        lambda: max(checkpoints(folder), default=0) >= 20,  # between two checkpoints
        lambda: any(folder.glob("checkpoints/*/.model.*.writing")) and max(checkpoints(folder)) > 30,  # the best model
        lambda: max(checkpoints(folder), default=0) >= 60,
    ]
    for moment in moments if recipe == "deepspeech2" else moments[1:2]:  # what writes is the same for all
        kill_when(start(folder, *more), moment)
    assert "continuing" in finished(folder, *more)
    run, client = the_run(folder)
    assert run.info.status == "FINISHED"
    assert final(folder).read_bytes() == final(folder, "whole.db").read_bytes()
    other, other_client = the_run(folder, "whole.db")
    for name in ("val/wer", "val/loss", "train/lr"):
        ours = {point.step: point.value for point in client.get_metric_history(run.info.run_id, name)}
        theirs = {point.step: point.value for point in other_client.get_metric_history(other.info.run_id, name)}
        assert ours == theirs, name
        points = client.get_metric_history(run.info.run_id, name)
        assert all(ours[point.step] == point.value for point in points)  # what was logged again was the same


def test_a_full_disk_is_one_message_and_the_former_checkpoint_goes_on(folder):
    """A limit on the size of files, set while it trains, stands for the full disk: writing fails in the middle."""
    large = ("model.hidden_size=400", "train.epochs=3", "augment.noise_snr_db=", "train.patience=0")
    process = start(folder, *large)
    until = time.monotonic() + 200
    while not any(checkpoints(folder).values()):
        assert process.poll() is None, process.stdout.read()[-3000:]
        assert time.monotonic() < until
        time.sleep(0.01)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (4_000_000, 4_000_000))
    said, _ = process.communicate(timeout=300)
    assert process.returncode == 1, said[-2000:]
    assert "cannot be written" in said
    assert "Traceback" not in said
    assert any(checkpoints(folder).values())
    run, _ = the_run(folder)
    assert run.info.status == "FAILED"
    assert "continuing" in finished(folder, *large)
    run, _ = the_run(folder)
    assert run.info.status == "FINISHED"


PLAIN = ("augment.time_masks=0", "augment.freq_masks=0", "augment.noise_snr_db=", "augment.speed_factors=1.0")


@pytest.mark.parametrize("recipe", RECIPES)
def test_two_processes_train_what_one_does_with_accumulation_and_log_once(folder, recipe):
    """Dropout and augmentation off, the same utterances an update: within 1e-3 over 50 updates of the wav2vec2."""
    epochs = 4 if recipe == "deepspeech2" else 9
    more = (f"train.epochs={epochs}", *learning(folder, recipe, **NO_DROPOUT))
    more += PLAIN if recipe == "deepspeech2" else ("augment.strength=0", "model.lora.dropout=0", *PLAIN[2:])
    said = finished(folder, *more, processes=2)
    assert said.count(f"epoch 1/{epochs}") == 1
    assert "strides" not in said
    finished(folder, *more, "train.accumulate=2", store="one.db")
    (run, client), (other, other_client) = the_run(folder), the_run(folder, "one.db")
    points = client.get_metric_history(run.info.run_id, "train/loss")
    others = other_client.get_metric_history(other.info.run_id, "train/loss")
    steps = [point.step for point in points]
    assert steps == [point.step for point in others]
    assert len(set(steps)) == len(steps) >= epochs  # each is logged once
    np.testing.assert_allclose([one.value for one in points], [one.value for one in others], rtol=1e-4)
    ours, theirs = load_file(final(folder)), load_file(final(folder, "one.db"))
    for name, tensor in ours.items():
        if "running" not in name and "num_batches" not in name:
            np.testing.assert_allclose(tensor, theirs[name], atol=1e-3, err_msg=name)
    if recipe == "wav2vec2":
        assert max(steps) >= 50
        apart = [np.linalg.norm(tensor - theirs[name]) / np.linalg.norm(theirs[name]) for name, tensor in ours.items()]
        assert max(apart) < 1e-3


def test_two_processes_go_on_after_a_kill(folder):
    more = (*PLAIN, "train.epochs=6")
    kill_when(start(folder, *more, processes=2), lambda: any(checkpoints(folder).values()))
    assert "continuing" in finished(folder, *more, processes=2)
    run, _ = the_run(folder)
    assert run.info.status == "FINISHED"
    finished(folder, *more, processes=2, store="whole.db")
    assert final(folder).read_bytes() == final(folder, "whole.db").read_bytes()


def test_a_rank_that_dies_takes_the_others_with_it(folder):
    more = (*PLAIN, "train.epochs=30")
    process = start(folder, *more, processes=2)
    until = time.monotonic() + 120
    while not any(checkpoints(folder).values()):
        assert process.poll() is None
        assert time.monotonic() < until
        time.sleep(0.01)
    ranks = {
        int(child.environ().get("RANK", "-1")): child
        for child in psutil.Process(process.pid).children(recursive=True)
        if child.status() != psutil.STATUS_ZOMBIE
    }
    ranks[1].kill()
    process.communicate(timeout=120)
    assert process.returncode != 0
    assert not ranks[0].is_running()
    assert "continuing" in finished(folder, *more, processes=2)
    run, _ = the_run(folder)
    assert run.info.status == "FINISHED"


def test_two_processes_stop_early_together(folder):
    settings = ("train.epochs=30", "train.patience=1", "train.min_delta=0.9")
    said = finished(folder, *PLAIN, *settings, processes=2)
    assert "epoch 2/30" in said
    assert "epoch 4/30" not in said


def test_a_worker_that_meets_broken_audio_says_so_without_a_traceback(folder):
    for number in range(25):
        (folder / "corpus" / "audio" / f"u{number:02d}.wav").write_bytes(b"RIFF broken")
    done = asr_lab(*TRAIN, "train.num_workers=2", cwd=folder)
    assert done.returncode == 1
    assert "not an audio file" in done.stderr
    assert "Traceback" not in done.stderr + done.stdout
