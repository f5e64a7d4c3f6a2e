"""Training as a recipe: it learns, repeats, and resumes after a kill; kinds of RNN, units, noise as data of the run."""

import itertools
from types import SimpleNamespace

import pytest
import torch
from conftest import make_corpus
from lhotse import CutSet
from outages import gone
from small_experiments import learning, shortest

from asr_lab.data import manifest
from asr_lab.errors import AsrLabError
from asr_lab.interfaces.in_memory import MemoryTracker
from asr_lab.models.deepspeech2_recognizer import load_recognizer
from asr_lab.recipes.recognition import train as recipe
from asr_lab.system.terminal import Console
from asr_lab.tracking.spool import sync
from asr_lab.tracking.spool.spool import ROOT
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.tracker import MlflowTracker
from asr_lab.training import callbacks
from asr_lab.training.trainer import AsrTrainer

QUIET = Console(quiet=True)


def test_training_learns_and_records(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = MemoryTracker(tmp_path / "checkpoints")
    recipe.train(learning(corpus, "train.epochs=4"), tracker, QUIET)
    run = tracker.runs[0]
    losses = [value for _, value in run.all_metrics["val/loss"]]
    assert losses[-1] < losses[0]
    assert run.status == "FINISHED"
    for name in ("train/loss", "train/lr", "grad_norm", "epoch_time", "val/wer", "val/cer", "model/params"):
        assert name in run.all_metrics, name
    assert run.all_params["train.epochs"] == 4
    assert "eval/val.parquet" in run.artifacts
    assert run.models


@pytest.mark.slow
def test_the_same_seed_gives_the_same_weights(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    digests = []
    for name in ("a", "b"):
        tracker = MemoryTracker(tmp_path / name)
        recipe.train(learning(corpus, "train.epochs=1"), tracker, QUIET)
        digests.append((tracker.runs[0].checkpoints / "final" / "model.safetensors").read_bytes())
    assert digests[0] == digests[1]


class _Cut(KeyboardInterrupt):
    """As if the process had been killed."""


@pytest.mark.parametrize(("save_every", "seconds"), [(0, 480), (1, 480), (0, 0)])
@pytest.mark.slow
def test_a_training_cut_off_continues_to_the_same_weights(corpus, tmp_path, monkeypatch, save_every, seconds):
    """In the validation of an epoch: it is made up for, whatever checkpoints there are besides those of epochs."""
    monkeypatch.setattr(callbacks, "SAVE_EVERY_S", seconds)
    monkeypatch.chdir(tmp_path)
    config = learning(corpus, "train.epochs=3", f"train.save_every={save_every}")
    whole = MemoryTracker(tmp_path / "whole")
    recipe.train(config, whole, QUIET)

    cut = MemoryTracker(tmp_path / "cut")
    validate, calls = recipe._validate, []

    def dies_in_the_third_epoch(planned):
        calls.append(1)
        if len(calls) == 3:
            raise _Cut
        return validate(planned)

    monkeypatch.setattr(recipe, "_validate", dies_in_the_third_epoch)
    with pytest.raises(KeyboardInterrupt):
        recipe.train(config, cut, QUIET)
    assert cut.runs[0].status == "KILLED"
    monkeypatch.setattr(recipe, "_validate", validate)
    (tmp_path / "cut" / "memory0").rename(tmp_path / "cut" / "memory1")
    recipe.train(config, cut, QUIET)
    ends = [tmp_path / "whole" / "memory0", tmp_path / "cut" / "memory1"]
    one, other = ((end / "final" / "model.safetensors").read_bytes() for end in ends)
    assert one == other
    epochs = [step for step, _ in cut.runs[1].all_metrics["val/wer"]]
    assert len(epochs) == 1  # the third epoch: two were not trained again


@pytest.mark.slow
def test_a_kill_costs_no_epoch_that_takes_long(corpus, tmp_path, monkeypatch):
    """Cut off within the only epoch, whose clock runs fast: the checkpoints are minutes apart, and one is continued."""
    monkeypatch.chdir(tmp_path)
    ticks = itertools.count(step=100)  # the callbacks read the clock once or twice an update
    monkeypatch.setattr(callbacks, "time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    config, saved = learning(corpus, "train.epochs=1", "train.batch_size=1"), []
    save, done = AsrTrainer._save_checkpoint, AsrTrainer.training_step

    def saving(trainer, *arguments):
        saved.append(trainer.state.global_step)
        save(trainer, *arguments)

    def dies_at_the_end(trainer, *arguments, **options):
        if trainer.state.global_step == len(trainer.loader) - 1:
            raise _Cut
        return done(trainer, *arguments, **options)

    monkeypatch.setattr(AsrTrainer, "_save_checkpoint", saving)
    tracker = MemoryTracker(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(AsrTrainer, "training_step", dies_at_the_end)
        with pytest.raises(KeyboardInterrupt):
            recipe.train(config, tracker, QUIET)
    assert len(saved) >= 2
    assert all(later - earlier > 1 for earlier, later in itertools.pairwise(saved))  # not every update
    (tmp_path / "memory0").rename(tmp_path / "memory1")
    last = saved[-1]
    recipe.train(config, tracker, QUIET)
    assert tracker.runs[1].all_metrics["train/loss"][0][0] > last


@pytest.mark.parametrize("offline", [False, True])
@pytest.mark.slow
def test_updates_that_are_made_again_are_logged_once(corpus, store, monkeypatch, offline):
    """Cut off in the validation of the second epoch, whose updates lie behind the checkpoint."""
    monkeypatch.setattr("asr_lab.system.processes.process_mark", gone)
    config, validate, calls = learning(corpus, "train.epochs=3"), recipe._validate, []

    def dies_in_the_second_epoch(planned):
        calls.append(1)
        if len(calls) == 2:
            raise _Cut
        return validate(planned)

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "_validate", dies_in_the_second_epoch)
        with pytest.raises(KeyboardInterrupt):
            recipe.train(config, MlflowTracker(offline=offline), QUIET)
    recipe.train(config, MlflowTracker(offline=offline), QUIET)
    sync.ship(ROOT)
    client = tracking_client()
    (run,) = client.search_runs([client.get_experiment_by_name("deepspeech2").experiment_id])
    assert run.info.status == "FINISHED"
    for name, expected in (("train/loss", range(1, 13)), ("grad_norm", range(1, 13)), ("epoch_time", (4, 8, 12)),
                           ("val/loss", (4, 8, 12))):  # fmt: skip
        steps = [point.step for point in client.get_metric_history(run.info.run_id, name)]
        assert sorted(steps) == list(expected), name


@pytest.mark.slow
def test_what_stopped_early_and_was_cut_off_behind_it_learns_no_more(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = learning(corpus, "train.epochs=9", "train.patience=2", "train.min_delta=1")
    tracker, conclude = MemoryTracker(tmp_path), recipe._conclude

    def dies(*_):
        raise _Cut

    monkeypatch.setattr(recipe, "_conclude", dies)
    with pytest.raises(KeyboardInterrupt):
        recipe.train(config, tracker, QUIET)
    whole = (tmp_path / "memory0" / "final" / "model.safetensors").read_bytes()
    steps = [step for step, _ in tracker.runs[0].all_metrics["val/wer"]]
    assert 2 <= len(steps) < 9
    monkeypatch.setattr(recipe, "_conclude", conclude)
    (tmp_path / "memory0").rename(tmp_path / "memory1")
    trained = recipe.train(config, tracker, QUIET)
    assert (tmp_path / "memory1" / "final" / "model.safetensors").read_bytes() == whole
    assert "val/wer" not in tracker.runs[1].all_metrics  # nothing behind the last epoch
    assert tracker.runs[1].all_metrics["best/step"][0][1] in steps
    assert [row["step"] for row in trained.history if "eval_wer" in row] == steps
    assert "perf/utterances_per_second" not in tracker.runs[1].all_metrics  # those of the first time stand


@pytest.mark.slow
def test_recordings_of_noise_need_no_transcript_and_are_data_of_the_run(corpus, tmp_path):
    path = make_corpus(tmp_path / "noise", {"n1": "a", "n2": "gg"})
    cuts = [cut.drop_supervisions() for cut in manifest.read(path)]
    for cut in cuts:
        cut.recording.sources[0].source = f"audio/{cut.id}.wav"
    CutSet.from_cuts(cuts).to_file(path)

    def recorded(place: str):
        tracker = MemoryTracker(tmp_path / "runs")
        keys = [f"augment.noise={tmp_path / place / 'all.jsonl.gz'}", "augment.noise_snr_db=5,20"]
        recipe.train(shortest(corpus, *keys), tracker, QUIET)
        return tracker.runs[0]

    here = recorded("noise")
    assert "noise" in {dataset.split for dataset in here.datasets}
    (tmp_path / "noise").rename(tmp_path / "moved")
    assert recorded("moved").spec.signature == here.spec.signature
    (tmp_path / "moved" / "audio" / "n1.wav").unlink()
    with pytest.raises(AsrLabError, match="1 audio file is not there"):
        recorded("moved")


_KINDS = [(kind, key) for kind in ("gru", "lstm", "rnn") for key in ("bidirectional=true", "bidirectional=false")]


@pytest.mark.parametrize(("rnn_type", "key"), [*_KINDS, ("gru", "streaming=true")])
@pytest.mark.slow
def test_every_kind_of_rnn_trains_and_is_kept(rnn_type, key, corpus, tmp_path):
    tracker = MemoryTracker(tmp_path / "runs")
    config = shortest(corpus, f"model.rnn_type={rnn_type}", f"model.{key}", "train.epochs=4", "train.lr=5e-3")
    recipe.train(config, tracker, QUIET)
    losses = [value for _, value in tracker.runs[0].all_metrics["train/loss"]]
    assert losses[-1] < 0.9 * losses[0]
    again = load_recognizer(tmp_path / "runs" / "memory0" / "model").model
    assert (again.config.rnn_type, again.config.bidirectional) == (rnn_type, key == "bidirectional=true")
    assert again.config.streaming == (key == "streaming=true")


TEXTS = {
    "syllables": ("가나 다", "가나 다", 0),
    "jamo": ("가나 닭", "가나 닭", 0),
    "latin": ("Cab dad!", "cab dad", 0),
    "bpe": ("가나다 가나!", "가나다 가나", 0),
}


@pytest.mark.parametrize("kind", TEXTS)
@pytest.mark.slow
def test_korean_syllables_jamo_and_latin_are_trained_on(kind, tmp_path):
    said, written, _ = TEXTS[kind]
    sounds = make_corpus(tmp_path / "c", {f"u{i}": "abcdefg abcdef" for i in range(6)})
    cuts = list(manifest.read(sounds))
    for cut in cuts:
        cut.supervisions[0].text = said
    manifest.write(cuts, sounds)
    more = {"jamo": ["data.text.units=jamo"], "bpe": ["data.text.units=bpe", "data.text.vocab_size=9"]}.get(kind, [])
    tracker = MemoryTracker(tmp_path / "runs")
    recipe.train(shortest(sounds, "train.epochs=1", *more), tracker, QUIET)
    recognizer = load_recognizer(tmp_path / "runs" / "memory0" / "model")
    table = tracker.runs[0].artifacts["eval/val.parquet"]
    assert set(table["reference"]) == {written}
    classes = recognizer.encode_text(said)
    units = recognizer.units
    assert ("ᆰ" in units) == (kind == "jamo")
    assert ("다" in units) == (kind in ("syllables", "bpe"))
    assert ("▁가나" in units) == (kind == "bpe")
    logits = torch.full((1, 2 * len(classes), len(units)), -9.0)
    logits[0, torch.arange(len(classes)) * 2, torch.tensor(classes)] = 9.0
    logits[0, torch.arange(len(classes)) * 2 + 1, recognizer.blank] = 9.0
    assert recognizer.decode(logits, torch.tensor([2 * len(classes)])) == [written]
