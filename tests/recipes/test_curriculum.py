"""A curriculum as a user runs it: phases, gates, what is in MLflow afterwards, and going on where it was cut off."""

import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import WORDS, artifacts, make_corpus, newest, ok, refused
from conftest import run as typed
from empty_store import empty_store, moved
from forks import Forked

from asr_lab.data import manifest
from asr_lab.metrics.catalog import of_best_epoch
from asr_lab.models.recognizer import Recognizer
from asr_lab.recipes.curriculum import train as recipe
from asr_lab.recipes.recognition.scoring import score, wer_interval
from asr_lab.recipes.recognition.train import train
from asr_lab.recipes.selection.inference_cache import InferenceCache, Prediction
from asr_lab.tracking import load_model

SPEAKERS = {"base": ("ann", "ben"), "train": ("cho", "dan", "eve"), "val": ("fay",), "test": ("gil",)}
BASE = """
recipe: wav2vec2
run: {name: base, register_as: weak, seed: 1, threads: 1}
data: {train: base.jsonl.gz, val: val.jsonl.gz, test: ""}
model: {hidden_size: 48, num_layers: 2, num_heads: 2, conv_channels: 32, dropout: 0.0}
augment: {time_masks: 0, feature_masks: 0}
train: {epochs: 9, batch_size: 8, lr: 3e-3, schedule: constant}
"""
CURRICULUM = """
recipe: curriculum
run: {name: kids, register_as: kids, threads: 1}
data: {train: train.jsonl.gz, val: val.jsonl.gz, test: test.jsonl.gz}
augment: {time_masks: 0, feature_masks: 0}
model: {pretrained: "models:/weak/1", tune: lora, freeze_layers: 0, lora: {r: 8, dropout: 0.0}}
train: {batch_size: 4, ema: 0.5, schedule: constant}
phase1: {share: 0.4, epochs: 3, lr: 1e-3, warmup_steps: 0, target: 0.0, accept: 1.0}
phase2: {share: 0.7, epochs: 2, lr: 1e-3, warmup_steps: 0, speed_share: 0, target: 0.0, accept: 1.0}
phase3: {epochs: 2, lr: 1e-3, warmup_steps: 0, speed_share: 0, target: 0.0, accept: 1.0}
phase4: {epochs: 1, lr: 1e-3, target: 0.0, accept: 1.0}
"""


@pytest.fixture(scope="module")
def school(tmp_path_factory):
    """A folder with tiny corpora and a registered base that hears children badly."""
    folder = tmp_path_factory.mktemp("school")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", empty_store(folder / "mlflow.db"))
        rng = np.random.default_rng(1)
        for part, speakers in SPEAKERS.items():
            count = 60 if part == "base" else 30
            rows = []
            for number, name in enumerate(speakers):
                texts = {f"{name}{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(count)}
                corpus = make_corpus(folder / part / name, texts, speaker=name, seed=len(rows), age=6 + 2 * number)
                rows += list(manifest.read(corpus))
            manifest.write(rows, folder / f"{part}.jsonl.gz")
        (folder / "base.yaml").write_text(BASE)
        (folder / "kids.yaml").write_text(CURRICULUM)
        ok("train", "base.yaml")
    return folder


@pytest.fixture(autouse=True)
def _at_school(school, monkeypatch):
    monkeypatch.chdir(school)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{school}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{school}/mlflow.db")


def children(run_id):
    client = mlflow.MlflowClient()
    experiments = [one.experiment_id for one in client.search_experiments()]
    found = client.search_runs(experiments, f"tags.`mlflow.parentRunId` = '{run_id}'")
    return {run.data.tags["asr_lab.phase"]: run for run in found if "asr_lab.phase" in run.data.tags}


@pytest.fixture(scope="module")
def finished(school):
    """The whole curriculum, run once; its output and its run."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(school)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{school}/mlflow.db")
        mlflow.set_tracking_uri(f"sqlite:///{school}/mlflow.db")
        return ok("curriculum", "kids.yaml"), newest("curriculum", "curriculum")


def test_a_parent_has_a_child_a_phase(finished):
    said, parent = finished
    assert "phase 1: val/wer" in said
    assert parent.info.status == "FINISHED"
    phases = children(parent.info.run_id)
    assert {"1", "2", "3"} <= set(phases)
    wers = [phases[number].data.metrics["best/val_wer"] for number in "123"]
    assert wers == sorted(wers, reverse=True)  # each beats the one before, or there is nothing left to beat
    for number, run in phases.items():
        assert run.info.run_name == f"kids-phase{number}-{run.info.run_id[:8]}"
        assert run.info.status == "FINISHED"
        assert run.data.tags["asr_lab.gate"] in ("met", "accepted")
        assert run.data.tags["asr_lab.kind"] == "phase"
        assert {"val/wer", "val/cer", "grad_norm", "epoch_time", "model/trainable_params"} <= set(run.data.metrics)
        assert {"training_log.json", "eval", "config.yaml"} <= artifacts(run.info.run_id)
    sizes = [phases[number].inputs.dataset_inputs for number in "123"]
    assert all(sizes)
    assert phases["1"].data.tags["asr_lab.base"] == "models:/weak/1"
    assert phases["2"].data.tags["asr_lab.base"] != "models:/weak/1"


def test_the_parent_says_what_came_of_it(finished):
    said, parent = finished
    metrics = parent.data.metrics
    assert metrics["test/wer_low"] <= metrics["test/wer"] <= metrics["test/wer_high"]
    assert {"eval", "phases.parquet", "MODEL_CARD.md"} <= artifacts(parent.info.run_id)
    table = pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{parent.info.run_id}/phases.parquet"))
    assert list(table["number"])[:3] == [1, 2, 3]
    assert "models:/kids/1" in said
    assert "evaluate-base" in ok("evaluate", "--model", "models:/kids@champion", "--data", "test.jsonl.gz")
    assert "kids-" in ok("list", "--family", "curriculum")
    assert "phase1" not in ok("list", "--family", "curriculum")  # parts fold under their parent


def test_its_configuration_runs_again(finished):
    _, parent = finished
    again = mlflow.artifacts.download_artifacts(f"runs:/{parent.info.run_id}/config.yaml")
    assert "nothing was trained" in ok("curriculum", again, "--dry-run")


def test_phases_are_nested_and_stay_where_they_are(finished):
    _, parent = finished
    phases = children(parent.info.run_id)
    ids = {}
    for number in "123":
        config = mlflow.artifacts.load_text(f"runs:/{phases[number].info.run_id}/config.yaml")
        path = next(line.split()[-1] for line in config.splitlines() if line.strip().startswith("train: phases/"))
        ids[number] = {cut.id for cut in manifest.read(path)}
    assert ids["1"] < ids["2"] < ids["3"]


def test_a_curriculum_keeps_plain_models_where_asked(school):
    ok("curriculum", "kids.yaml", "--phase", "1", "--merged", "phase1.epochs=1", "run.register_as=kids-whole")
    folder = Path(mlflow.artifacts.download_artifacts("models:/kids-whole/1")) / "artifacts" / "model"
    assert (folder / "model.safetensors").is_file()
    assert not (folder / "adapter_config.json").exists()


def test_one_phase_starts_from_a_run(finished):
    _, parent = finished
    first = children(parent.info.run_id)["1"].info.run_name
    said = ok("curriculum", "kids.yaml", "--phase", "2", "--resume-from", first, "phase2.epochs=3", "run.register_as=")
    assert "phase 2: val/wer" in said
    assert "before" in said
    assert "phase 1" not in said.split("phase 2")[0]


def test_the_parent_is_assessed_by_what_its_gates_saw(school):
    """Validation data is screened in both, and both are scored in phonemes where that is asked for."""
    longest_s = float(np.median([cut.duration for cut in manifest.read("val.jsonl.gz")]))
    keys = (f"data.max_duration_s={longest_s}", "data.phonemes=true", "run.register_as=")
    said = ok("curriculum", "kids.yaml", "--phase", "2", "--resume-from", "models:/weak/1", "phase2.lr=3e-3", *keys)
    parent = newest("curriculum", "curriculum")
    (child,) = children(parent.info.run_id).values()
    assert parent.data.metrics["val/utterances"] == child.data.metrics["val/utterances"] < 30
    for name in ("val/wer", "val/cer", "val/per", "test/wer", "test/per"):
        assert parent.data.metrics[name] == child.data.metrics[of_best_epoch(name)], name
    assert parent.data.metrics["best/val_wer"] == parent.data.metrics["val/wer"]
    heard = manifest.read("val.jsonl.gz").filter(lambda cut: cut.duration <= longest_s).to_eager()
    weak = load_model("models:/weak/1")
    before = wer_interval(score(heard, weak.hypotheses(heard), weak.normalizer)).value
    assert f"before {before:.1%}" in said


def test_a_curriculum_that_has_not_learned_says_so_although_its_gate_was_passed(school, monkeypatch):
    def unheard(cuts, hypotheses, *rest, **more):
        return score(cuts, dict.fromkeys(hypotheses, ""), *rest, **more)

    monkeypatch.setattr(recipe, "score", unheard)
    said = ok("curriculum", "kids.yaml", "--phase", "1", "phase1.epochs=1", "run.register_as=unheard", "run.seed=9")
    assert "it has not learned" in said
    assert "champion" not in mlflow.MlflowClient().get_registered_model("unheard").aliases


@pytest.fixture
def other_words(school):
    """Validation data of which each utterance has the text of another one: no recogniser meets a target on them."""
    cuts = list(manifest.read("val.jsonl.gz").to_eager())
    texts = [manifest.text(cut) for cut in cuts]
    for cut, text in zip(cuts, [*texts[1:], texts[0]], strict=True):
        manifest.supervision(cut).text = text
    manifest.write(cuts, Path("other-words.jsonl.gz"))
    return "data.val=other-words.jsonl.gz"


def test_a_missed_gate_stops_with_a_checklist(other_words):
    said = refused(
        "curriculum", "kids.yaml", other_words, "phase1.target=0", "phase1.accept=0", "phase1.epochs=1", "run.seed=3"
    )
    for part in ("missed", "the curriculum stops", "transcripts", "noise", "CONFIG --phase 1, after"):
        assert part in said, part
    parent = newest("curriculum", "curriculum")
    assert parent.info.status == "FAILED"
    assert parent.data.tags["asr_lab.gate"] == "phase 1 missed"
    assert children(parent.info.run_id)["1"].data.tags["asr_lab.gate"] == "missed"


def test_the_same_command_stops_at_the_same_gate_again(other_words):
    command = (
        "curriculum",
        "kids.yaml",
        other_words,
        "phase1.target=0",
        "phase1.accept=0",
        "phase1.epochs=1",
        "run.seed=5",
    )
    assert "--new-run" in refused(*command)
    parent = newest("curriculum", "curriculum")
    again = refused(*command)
    assert "phase 1 is done" in again
    assert "missed" in again
    assert "fine-tuning" not in again
    assert newest("curriculum", "curriculum").info.run_id == parent.info.run_id
    for more in ("--new-run", "phase1.accept=0.0001"):
        assert "fine-tuning kids-phase1" in refused(*command, more)
        assert newest("curriculum", "curriculum").info.run_id != parent.info.run_id


@pytest.mark.parametrize(("cut_in", "end"), [("phase1", KeyboardInterrupt), ("phase2", OSError)])
def test_ended_by_hand_or_by_an_error_it_goes_on(school, monkeypatch, cut_in, end):
    """The parent has no checkpoint of its own: it goes on by what it knows to be done."""
    command = ("curriculum", "kids.yaml", "run.register_as=", f"run.seed=1{cut_in[-1]}")

    def train_until(config, *rest, **more):
        if config.run.name.endswith(cut_in):
            raise end("cut off")
        return train(config, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "train", train_until)
        assert typed(*command).exit_code == (130 if end is KeyboardInterrupt else 1)
    parent = newest("curriculum", "curriculum")
    assert parent.info.status == ("KILLED" if end is KeyboardInterrupt else "FAILED")
    said = ok(*command)
    assert f"continuing {parent.info.run_name}" in said
    assert ("phase 1 is done" in said) == (cut_in == "phase2")
    assert mlflow.MlflowClient().get_run(parent.info.run_id).info.status == "FINISHED"
    assert sorted(children(parent.info.run_id))[:3] == ["1", "2", "3"]


def test_mistakes_are_one_message(school):
    assert "starts from the best model of phase 2" in refused("curriculum", "kids.yaml", "--phase", "3")
    assert "no phase 'five'" in refused("curriculum", "kids.yaml", "--phase", "five")
    assert "set by each phase, such as phase1.lr" in refused("curriculum", "kids.yaml", "train.lr=1")
    assert "is below target" in refused("curriculum", "kids.yaml", "phase2.target=0.3", "phase2.accept=0.2")
    assert "did you mean phase1.epochs" in refused("curriculum", "kids.yaml", "phase1.epoch=3")
    overlapping = refused("curriculum", "kids.yaml", "data.val=train.jsonl.gz")
    assert "not disjoint by speaker" in overlapping
    said = refused("curriculum", "kids.yaml", "phase1.train=val.jsonl.gz")
    assert "not nested" in said


@pytest.mark.parametrize("split", ["val", "test"])
@pytest.mark.parametrize("more", [(), ("--dry-run",)])
def test_a_phase_of_its_own_manifest_learns_from_nobody_held_out(school, split, more):
    both = [*manifest.read("train.jsonl.gz"), *manifest.read(f"{split}.jsonl.gz")]
    manifest.write(both, school / "leaking.jsonl.gz")
    said = refused("curriculum", "kids.yaml", "phase4.train=leaking.jsonl.gz", *more)
    assert f"phase 4 and {split} share 1: {SPEAKERS[split][0]}" in said


def test_another_selection_is_another_curriculum(school):
    """The manifest stays where it is; what is in it is learned from."""
    whole, more = list(manifest.read("train.jsonl.gz")), list(manifest.read("base.jsonl.gz"))
    command = ("curriculum", "kids.yaml", "--phase", "4", "--resume-from", "models:/weak/1", "run.register_as=")
    learned = []
    for count in (3, 6):
        manifest.write(whole + more[:count], school / "own.jsonl.gz")
        typed(*command, "phase4.train=own.jsonl.gz")  # whatever its gate says
        (child,) = children(newest("curriculum", "curriculum").info.run_id).values()
        assert child.data.metrics["model/trainable_share"] == 1.0  # phase 4: the convolutions too
        assert child.data.tags["asr_lab.data.train"] == manifest.digest(manifest.read("own.jsonl.gz"))
        learned.append(newest("curriculum", "curriculum").data.tags["asr_lab.signature"])
    (school / "own.jsonl.gz").rename(school / "moved.jsonl.gz")
    typed(*command, "phase4.train=moved.jsonl.gz")
    assert newest("curriculum", "curriculum").data.tags["asr_lab.signature"] == learned[-1] != learned[0]


def test_a_plan_spends_nothing(school):
    before = len(mlflow.MlflowClient().search_runs([one.experiment_id for one in mlflow.search_experiments()]))
    said = ok("curriculum", "kids.yaml", "--dry-run")
    assert "nothing was trained" in said
    assert "all layers" in said  # phase 4
    assert before == len(mlflow.MlflowClient().search_runs([one.experiment_id for one in mlflow.search_experiments()]))


@pytest.mark.slow
def test_killed_in_a_phase_it_goes_on_to_the_same_end(school, tmp_path):
    """kill -9 in the second phase; the same command ends with the weights of a curriculum that ran through."""
    for name in ("whole", "killed"):
        shutil.copytree(school, tmp_path / name, ignore=shutil.ignore_patterns("checkpoints", "spool", "phases"))
        moved(tmp_path / name / "mlflow.db", str(school), str(tmp_path / name))
    whole = _run(tmp_path / "whole")
    said, _ = whole.communicate(300)
    assert whole.returncode == 0, said
    killed = _run(tmp_path / "killed")
    for line in killed.stdout:
        if "phase 1: val/wer" in line:
            break
    _wait_for_checkpoint(tmp_path / "killed")
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    again = _run(tmp_path / "killed")
    said = again.stdout.read()
    assert again.wait(300) == 0, said
    assert "phase 1 is done" in said
    assert "continuing" in said
    assert _weights(tmp_path / "whole") == _weights(tmp_path / "killed")


def test_a_phase_whose_run_has_ended_is_not_trained_again(school, monkeypatch):
    """Killed before the parent has heard of the end of its child."""
    command = ("curriculum", "kids.yaml", "--phase", "1", "run.register_as=", "run.seed=14")

    def train_and_die(*all, **more):
        train(*all, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(recipe, "train", train_and_die)
        assert typed(*command).exit_code == 130
    (child,) = children(newest("curriculum", "curriculum").info.run_id).values()
    said = ok(*command)
    assert f"phase 1 is done: {child.info.run_name}" in said
    assert "fine-tuning" not in said
    assert newest("curriculum", "curriculum").data.metrics["phase/val_wer"] == child.data.metrics["best/val_wer"]


def _run(folder):
    environment = os.environ | {"MLFLOW_TRACKING_URI": f"sqlite:///{folder}/mlflow.db", "OMP_NUM_THREADS": "1"}
    words = ["-m", "asr_lab", "curriculum", "kids.yaml", "run.register_as=", "train.save_every=5", "run.seed=7"]
    return Forked(words, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _wait_for_checkpoint(folder):
    """Until a second run has a whole checkpoint."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        runs = {path.parents[1].name for path in (folder / "checkpoints").glob("*/checkpoint-*/COMPLETE")}
        if runs:
            return
        time.sleep(0.02)
    raise AssertionError("no checkpoint was written")


def _weights(folder):
    """Phase -> digest of its last weights, and the updates made."""
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    client, found = mlflow.MlflowClient(), {}
    experiments = [one.experiment_id for one in client.search_experiments()]
    for run in client.search_runs(experiments, "tags.`asr_lab.kind` = 'phase' and params.`run.seed` = '7'"):
        log = json.loads(mlflow.artifacts.load_text(f"runs:/{run.info.run_id}/training_log.json"))
        final = Path(mlflow.artifacts.download_artifacts(f"runs:/{run.info.run_id}/final"))
        weights = b"".join(file.read_bytes() for file in sorted(final.glob("*.safetensors")))
        found[run.data.tags["asr_lab.phase"]] = (hashlib.sha256(weights).hexdigest(), log[-1]["step"])
    return found


def test_the_hardest_utterances_are_selected(school):
    said = ok("data", "select", "train.jsonl.gz", "hard.jsonl.gz", "--model", "models:/weak/1", "--share", "0.2",
              "--speaker-share", "0.5")  # fmt: skip
    table = pd.read_csv("hard.csv")
    chosen, pool = ([cut.duration for cut in manifest.read(f"{name}.jsonl.gz")] for name in ("hard", "train"))
    assert f"{len(chosen)} of 90 utterances chosen" in said
    assert 0.18 < sum(chosen) / sum(pool) <= 0.2
    assert table.loc[table["chosen"], "wer"].min() >= table.loc[~table["chosen"], "wer"].quantile(0.5)
    assert set(table.loc[table["chosen"], "id"]) == {cut.id for cut in manifest.read("hard.jsonl.gz")}
    assert table["confidence"].between(0, 1).all()
    assert "the cap of" not in said
    said = typed("data", "select", "train.jsonl.gz", "few.jsonl.gz", "--model", "models:/weak/1", "--share", "0.5",
               "--speaker-share", "0.05").output  # fmt: skip
    assert re.search(r"warning: \d+\.\d s chosen of \d+\.\d s requested: the cap of 5% per speaker", said)


def test_selected_utterances_are_added_to_the_training_data(school):
    ok("data", "phases", "train.jsonl.gz", "parts", "--shares", "0.3,1.0")
    ok("data", "select", "train.jsonl.gz", "parts/next.jsonl.gz", "--model", "models:/weak/1", "--add-to",
       "parts/phase1.jsonl.gz")  # fmt: skip
    before, after = ({cut.id for cut in manifest.read(f"parts/{name}.jsonl.gz")} for name in ("phase1", "next"))
    assert before < after
    assert not before & set(pd.read_csv("parts/next.csv")["id"])
    assert "would be replaced" in refused("data", "select", "train.jsonl.gz", "parts/next.jsonl.gz", "--model", "x")


def test_what_has_no_transcript_is_selected_by_confidence(school):
    rows = list(manifest.read("val.jsonl.gz"))
    for cut in rows:
        cut.supervisions = []
    manifest.write(rows, school / "unheard.jsonl.gz", speech=False)
    said = ok(
        "data", "select", "unheard.jsonl.gz", "unsure.jsonl.gz", "--model", "models:/weak/1", "--speaker-share", "1"
    )
    assert "some without a transcript" in said
    table = pd.read_csv("unsure.csv")
    assert table.loc[table["chosen"], "confidence"].max() <= table.loc[~table["chosen"], "confidence"].min()
    assert "--by confidence" in refused("data", "select", "unheard.jsonl.gz", "x.jsonl.gz", "--model", "models:/weak/1",
                                        "--by", "wer")  # fmt: skip
    assert not (school / "x.jsonl.gz").exists()


def with_broken(name):
    """A pool of the training data, and three that cannot be heard: 10 ms, a file that is gone, one that is no audio."""
    from asr_lab.data.manifest import utterance

    rows = list(manifest.read("train.jsonl.gz"))[:20]
    for id, samples in (("short", 160), ("gone", 4000), ("broken", 4000)):
        file = Path(f"{name}-{id}.wav")
        soundfile.write(file, np.zeros(samples, np.float32), 16000)
        rows.append(utterance(id=id, audio=file, text="cab", speaker="ann", language="en"))
    Path(f"{name}-gone.wav").unlink()
    Path(f"{name}-broken.wav").write_bytes(b"RIFF no more")
    manifest.write(rows, Path(f"{name}.jsonl.gz"))
    return rows


def test_what_cannot_be_transcribed_is_left_out_and_named(school):
    rows = with_broken("broken")
    said = typed("data", "select", "broken.jsonl.gz", "b.jsonl.gz", "--model", "models:/weak/1", "--share", "0.5",
                 "--speaker-share", "1")  # fmt: skip
    assert said.exit_code == 0, said.output
    assert "3 utterances" in said.output
    assert "short (shorter than 25 ms)" in said.output
    table = pd.read_csv("b.csv").set_index("id")
    assert len(table) == 23
    assert table["left_out"].notna().sum() == 3
    assert table.loc["gone", "left_out"] == "no such audio file"
    assert "not an audio file" in table.loc["broken", "left_out"]
    assert not table.loc[["short", "gone", "broken"], "chosen"].any()
    assert table["wer"].notna().sum() == table["confidence"].notna().sum() == 20
    manifest.write(rows[-3:], Path("deaf.jsonl.gz"))
    said = refused("data", "select", "deaf.jsonl.gz", "d.jsonl.gz", "--model", "models:/weak/1")
    assert "short (shorter than 25 ms), gone (no such audio file)" in said
    assert not (school / "d.jsonl.gz").exists()
    assert not list(school.glob(".*.heard.jsonl"))


KILLED = """
import os, signal
from asr_lab.metrics.catalog import of_best_epoch
from asr_lab.models.recognizer import Recognizer
from asr_lab.cli import cli

iterate_logits, batches = Recognizer.iterate_logits, []

def killed_at_the_fourth(*arguments):
    batches.append(1)
    if len(batches) == 4:
        os.kill(os.getpid(), signal.SIGKILL)
    return iterate_logits(*arguments)

Recognizer.iterate_logits = killed_at_the_fourth
cli({arguments})
"""


def test_a_selection_goes_on_where_it_was_killed(school, monkeypatch):
    select = ("data", "select", "train.jsonl.gz", "cut.jsonl.gz", "--model", "models:/weak/1")
    ok("data", "select", "train.jsonl.gz", "through.jsonl.gz", "--model", "models:/weak/1")
    process = Forked(["-c", KILLED.format(arguments=list(select))], cwd=school, env=os.environ)
    assert process.wait(60) == -signal.SIGKILL
    (kept,) = school.glob(".*.heard.jsonl")
    assert len(kept.read_text().splitlines()) == 48
    with kept.open("a") as file:
        file.write('{"id": "half a li')
    anew = []
    iterate_logits = Recognizer.iterate_logits

    def counted(self, cuts, *rest):
        anew.extend(cut.id for cut in cuts)
        return iterate_logits(self, cuts, *rest)

    monkeypatch.setattr(Recognizer, "iterate_logits", counted)
    assert "48 of them" in ok(*select)
    assert len(set(anew)) == len(anew) == 90 - 48
    assert not kept.exists()
    cut_off, through = (pd.read_csv(f"{name}.csv").set_index("id") for name in ("cut", "through"))
    pd.testing.assert_frame_equal(cut_off.loc[through.index], through, rtol=1e-4)
    assert [cut.id for cut in manifest.read("cut.jsonl.gz")] == [cut.id for cut in manifest.read("through.jsonl.gz")]


def test_what_another_model_transcribed_is_transcribed_again(school, tmp_path):
    cuts = list(manifest.read("val.jsonl.gz"))
    cache = InferenceCache(tmp_path / "heard.jsonl")
    cache.append(cuts[:2], {cut.id: Prediction("cab", 0.5) for cut in cuts}, "one")
    assert set(cache.recall(cuts, "one")) == {cut.id for cut in cuts[:2]}
    assert cache.recall(cuts, "another") == {}
    cuts[0].duration /= 2
    assert set(cache.recall(cuts, "one")) == {cuts[1].id}
