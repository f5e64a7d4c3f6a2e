"""The loop: schedule, batches, resuming, keeping the best, dropping broken updates."""

import itertools
import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import make_corpus
from outages import gone

from asr_lab.config.load import load, parse_overrides
from asr_lab.config.schema import Augment, Train
from asr_lab.data import manifest
from asr_lab.data.augment import Augmenter
from asr_lab.data.batches import Collator, EpochBatches, InOrder, loader
from asr_lab.data.features import extract
from asr_lab.interfaces.in_memory import FolderStore, MemoryTracker
from asr_lab.recipes.recognition import train as recipe
from asr_lab.recipes.recognition.plan import plan
from asr_lab.system.terminal import Console
from asr_lab.tracking.spool import sync
from asr_lab.tracking.spool.spool import ROOT
from asr_lab.tracking.store import client as tracking_client
from asr_lab.tracking.tracker import MlflowTracker
from asr_lab.training import callbacks
from asr_lab.training.callbacks import Curves, DropBrokenUpdates, KeepBest
from asr_lab.training.encoder_outputs import ShuffledBatches
from asr_lab.training.trainer import COMPLETE, AsrTrainer, last_checkpoint, tri_stage

QUIET = Console(quiet=True)


def tiny(corpus, *more: str):
    settings = [
        f"data.train={corpus}",
        f"data.val={corpus}",
        "data.test=",
        "model.hidden_size=24",
        "model.conv_channels=4",
        "train.epochs=2",
        "train.batch_size=6",
        "train.lr=5e-3",
    ]
    return load(None, parse_overrides([*settings, *more]), "deepspeech2")


def test_tri_stage_warms_up_holds_and_decays():
    settings = Train(warmup_share=0.1, hold_share=0.4, final_lr_scale=0.05)
    factor = [tri_stage(step, 100, settings) for step in range(101)]
    assert factor[0] == pytest.approx(0.01)
    assert factor[10] == factor[49] == 1.0
    assert factor[100] == pytest.approx(0.05)
    assert factor[75] == pytest.approx(math.sqrt(0.05))
    assert all(later <= earlier for earlier, later in itertools.pairwise(factor[50:]))


def test_every_epoch_has_the_same_number_of_batches_and_another_order(corpus):
    cuts = manifest.read(corpus)
    batches = EpochBatches(cuts, 5)
    orders = []
    for epoch in range(4):
        batches.set_epoch(epoch)
        rows = list(batches)
        assert len(rows) == len(batches)
        assert all(number == epoch for batch in rows for _, number in batch)
        orders.append([cuts[place].id for batch in rows for place, _ in batch])
    assert orders[0] != orders[1]
    batches.set_epoch(1)
    assert [cuts[place].id for batch in batches for place, _ in batch] == orders[1]
    assert set(orders[0]) == {f"u{i:02d}" for i in range(24)}


def test_ranks_share_an_epoch_without_overlap(corpus):
    cuts = manifest.read(corpus)
    ranks = [EpochBatches(cuts, 4, rank=rank, world_size=2) for rank in range(2)]
    heard = [[place for batch in sampler for place, _ in batch] for sampler in ranks]
    assert len(ranks[0]) == len(ranks[1])
    assert not set(heard[0]) & set(heard[1])


def test_a_batch_is_padded_and_has_lengths(corpus):
    cuts = manifest.read(corpus)
    batch = next(iter(loader(InOrder(cuts, 3), Collator(extract, lambda text: [1] * len(text)))))
    assert batch["input_features"].shape[0] == 3
    assert batch["input_features"].shape[1] == batch["feature_lengths"].max()
    assert (batch["labels"] >= 0).sum(1).tolist() == batch["label_lengths"].tolist()
    assert len(batch["cut_ids"]) == 3


def test_augmentation_depends_on_seed_epoch_and_utterance_alone():
    features = torch.randn(100, 80)
    settings = Augment(speed_factors=(0.9, 1.0, 1.1), time_masks=2, freq_masks=2)

    def masked(seed, id, epoch):
        return Augmenter(settings, seed).features(features, id, epoch)

    assert torch.equal(masked(0, "a", 1), masked(0, "a", 1))
    others = [masked(1, "a", 1), masked(0, "b", 1), masked(0, "a", 2)]
    assert not any(torch.equal(masked(0, "a", 1), other) for other in others)
    sound = np.random.default_rng(0).normal(size=16000).astype(np.float32)
    lengths = {len(Augmenter(settings, 0).samples(sound, "a", epoch)) for epoch in range(30)}
    assert len(lengths) == 3
    assert (masked(0, "a", 1) == 0).sum() < 0.6 * features.numel()


def test_training_learns_and_records(corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tracker = MemoryTracker(tmp_path / "checkpoints")
    recipe.train(tiny(corpus, "train.epochs=4"), tracker, QUIET)
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
        recipe.train(tiny(corpus, "train.epochs=1"), tracker, QUIET)
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
    config = tiny(corpus, "train.epochs=3", f"train.save_every={save_every}")
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
    config, saved = tiny(corpus, "train.epochs=1", "train.batch_size=1"), []
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
    config, validate, calls = tiny(corpus, "train.epochs=3"), recipe._validate, []

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
    config = tiny(corpus, "train.epochs=9", "train.patience=2", "train.min_delta=1")
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


def test_only_a_checkpoint_that_is_marked_whole_counts(tmp_path):
    for step in (9, 10, 100):
        (tmp_path / f"checkpoint-{step}").mkdir()
    assert last_checkpoint(tmp_path) is None
    (tmp_path / "checkpoint-9" / COMPLETE).touch()
    (tmp_path / "checkpoint-10" / COMPLETE).touch()
    assert last_checkpoint(tmp_path).name == "checkpoint-10"


def evaluated(keeper: KeepBest, epoch: int, wer: float, loss: float = 1.0, cer: float = 0.1) -> bool:
    control = SimpleNamespace(should_training_stop=False)
    state = SimpleNamespace(epoch=epoch, is_world_process_zero=True)
    keeper.on_evaluate(None, state, control, {"eval_wer": wer, "eval_cer": cer, "eval_loss": loss})
    return control.should_training_stop


def test_the_best_is_kept_and_patience_ends_training(tmp_path):
    saved = []
    keeper = KeepBest(tmp_path / "best", lambda folder: saved.append((folder / "w").write_text("x")), patience=2)
    assert not evaluated(keeper, 1, 0.5)
    assert not evaluated(keeper, 2, 0.4)
    assert not evaluated(keeper, 3, 0.45)
    assert evaluated(keeper, 4, 0.4)
    assert len(saved) == 2
    assert json.loads((tmp_path / "best" / "best.json").read_text())["epoch"] == 2
    again = KeepBest(tmp_path / "best", lambda folder: saved.append(0), patience=2)
    evaluated(again, 5, 0.45)
    assert len(saved) == 2  # a resumed training knows its best


def test_the_best_may_be_that_of_the_characters(tmp_path):
    keeper = KeepBest(tmp_path / "best", lambda folder: None, patience=2, by="cer")
    assert not evaluated(keeper, 1, wer=0.97, cer=0.9)  # says next to nothing
    assert not evaluated(keeper, 2, wer=1.02, cer=0.6)
    assert not evaluated(keeper, 3, wer=0.96, cer=0.7)
    assert keeper.best["epoch"] == 2
    assert evaluated(keeper, 4, wer=0.95, cer=0.65)


def test_an_update_that_is_not_a_number_is_dropped_and_counted(tmp_path):
    model = torch.nn.Linear(2, 1)
    run = MemoryTracker(tmp_path).start(SimpleNamespace(name="x", params={}, tags={}, watcher=None))
    guard = DropBrokenUpdates(Curves(run))
    state = SimpleNamespace(is_world_process_zero=True, global_step=3)
    model.weight.grad = torch.tensor([[1.0, float("nan")]])
    guard.on_pre_optimizer_step(None, state, None, model=model)
    assert model.weight.grad is None
    assert run.all_metrics["train/dropped_updates"] == [(3, 1)]
    model.weight.grad = torch.tensor([[1.0, 2.0]])
    guard.on_pre_optimizer_step(None, state, None, model=model)
    assert model.weight.grad is not None


def test_adapter_batches_cover_everybody_each_epoch():
    batches = ShuffledBatches([f"u{i}" for i in range(10)], 4, seed=0)
    first = [id for batch in batches for id in batch]
    batches.set_epoch(1)
    second = [id for batch in batches for id in batch]
    assert sorted(first) == sorted(second)
    assert first != second
    assert len(list(batches)) == len(batches) == 3


def test_unknown_characters_and_long_labels_are_reported(corpus, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    val = make_corpus(tmp_path / "val", {"v1": "dad zebra", "v2": "cab"})
    planned = plan(tiny(corpus, f"data.val={val}"), FolderStore())
    assert any("'z' x 1" in line and "'r' x 1" in line for line in planned.warnings)
