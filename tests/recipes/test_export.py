"""`asr-lab export`: what it writes runs without asr_lab, is taken by other commands, and is not there if it differs."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import torch
from conftest import ON_CORPUS, TINY, ok, refused

from asr_lab.recipes import export_model
from asr_lab.tracking.models import promotion
from asr_lab.tracking.models.registry import known_version

pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")

BASE, DATA = "models:/deepspeech2@champion", "corpus/all.jsonl.gz"
pytestmark = pytest.mark.usefixtures("at_home")


def snippet(folder, *files) -> list[str]:
    """The lines that the README's code prints, in a Python that has neither asr_lab nor torch."""
    code = re.search(r"```python\n(.*?)```", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)[1]
    blocked = "import sys; sys.modules |= dict.fromkeys(('asr_lab', 'torch', 'onnx', 'soxr', 'lhotse'))\n"
    words = [sys.executable, "-c", blocked + code, *map(str, files)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("form", ["onnx", "int8"])
def test_an_exported_model_runs_alone_and_in_the_commands(form, home):
    card = f"runs:/{mlflow.MlflowClient().get_model_version('deepspeech2', '1').run_id}/MODEL_CARD.md"
    card_of_origin = mlflow.artifacts.load_text(card)
    words = ["export", BASE, "--to", form, "--out", f"exported/{form}", "--data", DATA]
    words += ["--max-wer-increase", "3"] if form == "int8" else []  # one word of these 96 is a point
    out = ok(*words, "--log", "--register", form)
    assert f"exported/{form}" in out
    artifact = re.search(rf"runs:/\w+/exported/{form}", out)[0]
    again = refused("export", BASE, "--to", form, "--out", "exported/again", "--log")
    assert artifact in again
    assert not (home / "exported" / "again").exists()
    folder = home / "exported" / form
    logged = Path(mlflow.artifacts.download_artifacts(artifact))
    assert {one.name: one.read_bytes() for one in logged.iterdir()} == {
        one.name: one.read_bytes() for one in folder.iterdir()
    }
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    measured = config["measured"]
    assert config["source"]["model"] == "models:/deepspeech2/1"
    assert measured["utterances"] == 48
    assert measured["largest_difference"] < 1e-3
    if form == "onnx":
        assert measured["same_texts"] == 48
        assert measured["wer"] == measured["wer_of_source"]
    files = [home / "corpus" / "audio" / f"u{number:02d}.wav" for number in range(4)]
    texts = snippet(folder, *files)
    rows = ok("transcribe", *files, "--model", f"exported/{form}", "--format", "json").splitlines()
    assert [json.loads(row)["text"] for row in rows] == texts
    assert all(json.loads(row)["words"] for row in rows)
    rows = ok("transcribe", *files, "--model", f"models:/{form}/1", "--format", "json").splitlines()
    assert [json.loads(row)["text"] for row in rows] == texts
    version, origin = (mlflow.MlflowClient().get_model_version(name, "1") for name in (form, "deepspeech2"))
    assert version.tags["asr_lab.exported"] == form
    assert version.tags["asr_lab.exported_from"] == "models:/deepspeech2/1"
    assert version.run_id == origin.run_id
    assert version.source != origin.source
    assert known_version(origin.run_id, form) is None  # that is the run's own model
    assert f"models:/{form}/1" in refused("register", origin.run_id, "--name", form)  # for exported models only
    assert f"models:/{form}/1" in refused("train", "base.yaml", *ON_CORPUS, *TINY, f"run.register_as={form}")
    assert mlflow.artifacts.load_text(card) == card_of_origin
    assert f"Exported to {form} from models:/deepspeech2/1" in version.description
    assert f"WER {measured['wer']:.1%} on 48 utterances" in version.description
    assert not mlflow.MlflowClient().get_registered_model(form).aliases
    promote = f"asr-lab promote {form}/1 --data MANIFEST"
    assert promote in out
    assert promote in refused("promote", f"{form}/1")
    assert promote in refused("transcribe", *files, "--model", form)  # which means its champion
    audio = pd.DataFrame({"audio": [file.read_bytes() for file in files]})
    assert mlflow.pyfunc.load_model(f"models:/{form}/1").predict(audio)["text"].tolist() == texts
    if form == "onnx":
        rows = ok("transcribe", *files, "--model", BASE, "--format", "json").splitlines()
        assert [json.loads(row)["text"] for row in rows] == texts
        assert f"{measured['wer']:.1%}" in ok("evaluate", f"exported/{form}", DATA)
    assert "exported already" in refused("export", f"exported/{form}", "--to", "onnx", "--out", "exported/again")
    assert "--overwrite" in refused("export", BASE, "--to", "onnx", "--out", f"exported/{form}")
    (folder / "vocab.json").write_text("{}", encoding="utf-8")
    assert "vocab.json" in refused("transcribe", *files, "--model", f"exported/{form}")


def test_an_exported_version_is_judged_by_scores_of_its_own(monkeypatch):
    client = mlflow.MlflowClient()
    ok("export", "deepspeech2", "--to", "int8", "--out", "exported/own", "--register", "own-scores")
    first = client.get_model_version("own-scores", "1")
    assert "not measured" in first.description
    second = client.create_model_version("own-scores", first.source, run_id=first.run_id, tags=first.tags)

    def scored(high):
        run = promotion.unrecorded({}, {"test/wer": 0.5, "test/wer_high": high})
        return lambda _: promotion.Scored(pd.DataFrame(), run, "test")

    assert not promotion.assess(first, "champion", score=scored(1.0)).passed
    assert promotion.assess(first, "champion", score=scored(0.9)).passed
    client.set_registered_model_alias("own-scores", "champion", first.version)
    assert f"promote own-scores/{second.version} --data MANIFEST" in refused("promote", f"own-scores/{second.version}")
    on_data = ("promote", f"own-scores/{second.version}", "--data", "john/all.jsonl.gz")
    assert "not significantly better" in ok(*on_data, "--dry-run")
    client.delete_registered_model_alias("own-scores", "champion")
    judged = []
    monkeypatch.setattr(promotion.floor, "why_below", lambda metrics: judged.append(metrics) or "")
    ok(*on_data, "--dry-run")
    ok(*on_data)
    assert [metrics["test/utterances"] for metrics in judged] == [20, 20]  # the run of the origin has 48
    assert all("test/wer_high" in metrics for metrics in judged)
    assert client.get_model_version_by_alias("own-scores", "champion").version == second.version


def test_what_cannot_be_registered_is_refused_before_the_model_is_loaded(home, monkeypatch):
    monkeypatch.setattr(export_model, "plan", None)
    for name in ("bad/name", "deepspeech2"):
        said = refused("export", BASE, "--to", "int8", "--out", "never/int8", "--register", name)
        assert "asr-lab export" in said
    assert "deepspeech2-int8" in said
    assert not (home / "never").exists()


def test_a_speakers_adapter_is_part_of_the_graph(home):
    ok("export", BASE, "--adapter", "john", "--to", "onnx", "--out", "voices/john", "--data", "john/all.jsonl.gz")
    config = json.loads((home / "voices" / "john" / "config.json").read_text(encoding="utf-8"))
    assert config["source"]["speaker"] == "john"
    file = home / "john" / "audio" / "j00.wav"
    assert ok("transcribe", file, "--model", "voices/john") == ok("transcribe", file, "--adapter", "john")
    assert "takes no adapter" in refused("transcribe", file, "--model", "voices/john", "--adapter", "john")
    assert "'john'" in refused("export", BASE, "--adapter", "jahn", "--to", "onnx", "--out", "voices/jahn")


def test_a_graph_that_differs_is_refused_and_nothing_is_there(home, monkeypatch):
    from asr_lab.models import onnx_graph, onnx_int8

    write = onnx_graph.write_graph

    def other(recognizer, file):
        head = recognizer.model.head[-1].weight.data
        head.add_(0.05)
        write(recognizer, file)
        head.sub_(0.05)

    with monkeypatch.context() as patch:
        patch.setattr(onnx_graph, "write_graph", other)
        assert "nothing was exported" in refused("export", BASE, "--to", "onnx", "--out", "bad/base")

    def shuffled(source, target):
        import onnx

        model = onnx.load(source)
        last = max((one for one in model.graph.initializer if list(one.dims)[-1:] == [10]), key=lambda one: one.dims[0])
        values = onnx.numpy_helper.to_array(last)[:, ::-1].copy()
        last.CopyFrom(onnx.numpy_helper.from_array(values, last.name))
        onnx.save(model, target)

    monkeypatch.setattr(onnx_int8, "quantize", shuffled)
    assert "points" in refused("export", BASE, "--to", "int8", "--out", "bad/base", "--data", DATA)
    assert not list((home / "bad").iterdir())


def test_what_is_missing_or_cannot_be_exported_is_named(home, monkeypatch):
    from importlib import util

    from asr_lab.models import onnx_folder

    with monkeypatch.context() as patch:
        patch.setattr(onnx_folder, "find_spec", lambda name: None if name == "onnx" else util.find_spec(name))
        assert "asr_lab[export]" in refused("export", BASE, "--to", "onnx", "--out", "none")
    with monkeypatch.context() as patch:
        pronunciation = type("Assessor", (), {"model_type": "pronunciation", "model": torch.nn.Linear(1, 1)})()
        patch.setattr(export_model, "with_adapter", lambda *_: (pronunciation, "models:/p/1"))
        assert "pronunciation" in refused("export", "models:/p/1", "--to", "onnx", "--out", "none")
    (home / "own").mkdir(exist_ok=True)
    (home / "own" / "notes.txt").write_text("mine", encoding="utf-8")
    assert "something else" in refused("export", BASE, "--to", "onnx", "--out", "own", "--overwrite")
    assert "no effect" in refused("export", BASE, "--to", "onnx", "--out", "none", "--max-wer-increase", "1")
