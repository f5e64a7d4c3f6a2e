"""Each command as a user runs it: exit code, output, and what is in MLflow afterwards."""

import json
import shutil
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import soundfile
from conftest import FSDD, ON_CORPUS, TINY, artifacts, make_corpus, newest, ok, refused, run, tone_word

from asr_lab.data import manifest
from asr_lab.data.importers.import_report import ImportRefusedError
from asr_lab.data.importers.registry import import_corpus

pytestmark = pytest.mark.usefixtures("at_home")


def test_train_says_what_it_did(home):
    said = (home / "train.txt").read_text()
    assert "epoch 8/8" in said
    assert "models:/deepspeech2/1" in said
    assert "asr-lab ui --run" in said


def test_train_leaves_the_run_of_the_contract(home):
    found = newest("deepspeech2")
    assert found.info.status == "FINISHED"
    assert found.info.run_name.startswith("base-")
    assert found.info.run_name.endswith(found.info.run_id[:8])
    assert found.data.params["train.epochs"] == "8"
    tags = found.data.tags
    for name in (
        "signature",
        "model_type",
        "kind",
        "data.train",
        "data.val",
        "versions",
        "hardware",
        "command",
    ):
        assert tags.get(f"asr_lab.{name}"), name
    metrics = found.data.metrics
    for name in ("train/loss", "train/lr", "grad_norm", "epoch_time", "val/loss", "val/wer", "val/cer"):
        assert name in metrics, name
    assert metrics["val/wer_low"] <= metrics["best/val_wer"] <= metrics["val/wer_high"]
    assert {item.dataset.name for item in found.inputs.dataset_inputs} == {"corpus/all"}
    assert {"config.yaml", "vocab.json", "eval", "final"} <= artifacts(found.info.run_id)
    assert artifacts(found.info.run_id, "eval") == {"eval/val.parquet", "eval/val.html", "eval/val_confusions.parquet"}
    assert not (home / "checkpoints" / found.info.run_id).exists()


def test_the_parquet_adds_up_to_the_metric(home, tmp_path):
    found = newest("deepspeech2")
    table = pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{found.info.run_id}/eval/val.parquet"))
    assert {
        "id",
        "reference",
        "hypothesis",
        "substitutions",
        "deletions",
        "insertions",
        "words",
        "speaker",
    } <= set(table)
    errors = table[["substitutions", "deletions", "insertions"]].to_numpy().sum()
    assert errors / table["words"].sum() == pytest.approx(found.data.metrics["best/val_wer"])


def test_a_curve_ends_with_the_last_epoch_and_the_figure_is_of_the_best(home):
    found = newest("deepspeech2")
    points = mlflow.MlflowClient().get_metric_history(found.info.run_id, "val/wer")
    assert len({point.step for point in points}) == len(points) == 8
    logged = found.data.metrics
    by_step = {point.step: point.value for point in points}
    assert by_step[logged["best/step"]] == logged["best/val_wer"] == min(by_step.values())
    for filter, number in ((f"<= {logged['best/val_wer']}", 1), (f"< {logged['best/val_wer']}", 0)):
        asked = ("list", "--family", "deepspeech2", "--filter", f"metrics.`val/wer` {filter}", "--format", "json")
        rows = json.loads(ok(*asked)) if number else []
        assert rows or "no run matches" in refused(*asked)
        assert [row["value"] for row in rows] == pytest.approx([logged["best/val_wer"]] * number, rel=1e-12)


def test_why_a_model_is_no_champion_is_reported_once(home):
    keys = (*ON_CORPUS, *TINY, "train.epochs=1", "train.lr=1e-6")
    text = ok("train", "base.yaml", *keys, "run.name=dull", "run.register_as=dull")
    assert text.count("is not better than") == 1
    assert "dull has no champion; to make it one: asr-lab promote dull/1 --force WHY" in text
    client = mlflow.MlflowClient()
    client.delete_registered_model("dull")
    client.delete_run(newest("deepspeech2").info.run_id)  # the newest is the base again


def test_config_yaml_of_a_run_runs_again(home):
    found = newest("deepspeech2")
    config = mlflow.artifacts.download_artifacts(f"runs:/{found.info.run_id}/config.yaml")
    assert "nothing was trained" in ok("train", config, "--dry-run")


def test_the_first_version_is_the_champion_and_later_ones_are_not(home):
    client = mlflow.MlflowClient()
    champion = client.get_model_version_by_alias("deepspeech2", "champion")
    assert str(champion.version) == "1"
    name = newest("deepspeech2").info.run_name
    assert "models:/deepspeech2/1" in ok("register", name, "--name", "deepspeech2")  # the same run: no new version
    assert "models:/other/1" in ok("register", name, "--name", "other")
    assert client.get_model_version_by_alias("other", "champion").version in (1, "1")


def test_a_name_that_lost_its_champion_gets_the_next_version(home):
    client = mlflow.MlflowClient()
    name = newest("deepspeech2").info.run_name
    client.create_registered_model("cut-off")  # as a process leaves it that died before the first version
    ok("register", name, "--name", "cut-off")
    assert client.get_model_version_by_alias("cut-off", "champion").version in (1, "1")


def test_adapter_says_what_it_is_worth(home):
    said = (home / "adapter.txt").read_text()
    for part in (
        "WER",
        "95 % interval",
        "trainable share",
        "MB",
        "peak memory",
        "asr-lab ui --run",
        "asr-lab transcribe",
    ):
        assert part in said, part


def test_adapter_leaves_the_run_of_the_contract(home):
    found = newest("adapter")
    tags, metrics = found.data.tags, found.data.metrics
    assert tags["asr_lab.base"] == "models:/deepspeech2/1"
    assert tags["asr_lab.speaker"] == "john"
    assert tags["asr_lab.base_digest"] == tags["asr_lab.base_digest_after"]
    for name in ("test/wer", "test/wer_base", "test/wer_delta", "test/wer_delta_low", "test/wer_delta_high"):
        assert name in metrics, name
    assert metrics["test/wer_delta"] == pytest.approx(metrics["test/wer"] - metrics["test/wer_base"])
    assert metrics["test/wer_delta_low"] <= metrics["test/wer_delta"] <= metrics["test/wer_delta_high"]
    assert 0 < metrics["model/trainable_share"] < 1
    assert (home / "adapters" / "john_adapter.pt").is_file()
    assert "john_adapter.pt" in artifacts(found.info.run_id)
    version = mlflow.MlflowClient().get_model_version_by_alias("deepspeech2-adapter-john", "champion")
    assert version.tags["asr_lab.base"] == "models:/deepspeech2/1"


def test_adapter_by_cross_fitting_tests_everything_once(home):
    corpus = home / "blocks"
    rows = []
    from asr_lab.data import manifest

    for block in range(3):
        texts = {f"b{block}-{i}": "cab dad" for i in range(4)}
        rows += list(manifest.read(make_corpus(corpus / str(block), texts, speaker="eve", seed=block, block=block)))
    manifest.write(rows, corpus / "all.jsonl.gz")
    ok("adapter", "--name", "eve", "--data", "blocks/all.jsonl.gz", "data.cross_fit=block", "train.epochs=1")
    found = newest("adapter")
    assert found.data.metrics["test/utterances"] == 12
    assert len(mlflow.MlflowClient().get_metric_history(found.info.run_id, "fold/wer")) == 3


def test_the_registered_models_load_as_plain_pyfuncs(home):
    audio = (home / "john" / "audio" / "j00.wav").read_bytes()
    table = pd.DataFrame({"audio": [audio, audio]})
    base = mlflow.pyfunc.load_model("models:/deepspeech2@champion").predict(table)
    adapted = mlflow.pyfunc.load_model("models:/deepspeech2-adapter-john@champion").predict(table)
    assert list(base.columns) == list(adapted.columns) == ["text"]
    assert len(base) == len(adapted) == 2
    assert base["text"][0] == base["text"][1]


def test_transcribe_with_and_without_an_adapter(home):
    file = home / "corpus" / "audio" / "u00.wav"
    plain = ok("transcribe", file)
    assert plain.strip()
    adapted = json.loads(ok("transcribe", file, "--adapter", "john", "--json"))
    assert adapted["file"] == str(file)
    assert "text" in adapted


def test_transcribe_goes_on_after_a_broken_file(home, tmp_path):
    (tmp_path / "broken.wav").write_text("not audio " * 20)
    stereo = np.stack([tone_word("cab", np.random.default_rng(0), 8000)] * 2, axis=1)
    soundfile.write(tmp_path / "stereo.wav", stereo, 8000)
    said = refused("transcribe", tmp_path / "broken.wav", tmp_path / "stereo.wav")
    assert "not an audio file" in said
    assert "2 channels mixed to one, resampled from 8000 Hz" in said
    assert "1 of 2 files could not be read" in said


def test_evaluate_records_a_run(home):
    said = ok(
        "evaluate",
        "--model",
        "models:/deepspeech2@champion",
        "--data",
        "john/all.jsonl.gz",
        "--adapter",
        "john",
    )
    assert "95 % interval" in said
    found = newest("evaluate", "evaluate")
    assert found.info.status == "FINISHED"
    assert found.data.tags["asr_lab.base"] == "models:/deepspeech2/1"
    assert {"eval/test.parquet", "eval/test.html"} <= artifacts(found.info.run_id, "eval")
    page = mlflow.artifacts.load_text(f"runs:/{found.info.run_id}/eval/test.html")
    assert "95 % interval" in page
    assert "jiwer" in page


def test_list_show_compare(home):
    assert "john-" in ok("list")
    assert json.loads(ok("list", "--family", "adapter", "--format", "json"))[0]["family"] == "adapter"
    name = newest("deepspeech2").info.run_name
    shown = ok("show", name)
    for part in ("signature", "train.epochs", "val/wer", "corpus/all", "versions"):
        assert part in shown, part
    ok("train", "base.yaml", "data.train=corpus/all.jsonl.gz", "data.val=corpus/all.jsonl.gz", *TINY, "train.epochs=1",
       "run.register_as=")  # fmt: skip
    table = ok("compare", "--pattern", "BASE")
    assert " epochs " in table
    assert "batch_size" not in table  # the same in both
    assert f"best val/wer: {name}" in table
    assert ok("compare", "--family", "deepspeech2", "--format", "markdown").startswith("| run |")
    assert r"\begin{tabular}" in ok("compare", "--pattern", "base*", "--format", "latex")


def test_unknown_things_are_refused_with_what_there_is(home):
    assert "base-" in refused("show", "nothing-of-the-kind")
    assert "no finished run" in refused("compare", "--pattern", "zebra")
    assert "no adapter 'jane'" in refused("transcribe", home / "corpus/audio/u00.wav", "--adapter", "jane")
    said = refused("evaluate", "--model", "models:/nobody@champion", "--data", "john/all.jsonl.gz")
    assert "no model 'models:/nobody@champion'" in said
    assert "deepspeech2" in said
    said = refused("evaluate", "--model", "models:/deepspeech2/99", "--data", "john/all.jsonl.gz")
    assert "deepspeech2 has no version 99" in said
    assert "models:/deepspeech2@champion" in said
    assert "did you mean 'deepspeech2'?" in refused("transcribe", "john/audio/j00.wav", "--model", "deepspech2")


def test_a_missing_base_is_one_message(home):
    said = refused("adapter", "--name", "x", "--data", "john/all.jsonl.gz", "--base", "models:/none@champion")
    assert "no model 'models:/none@champion'" in said
    assert "asr-lab train" in said


def test_a_name_that_is_a_path_is_refused_before_anything(home):
    before = {path for path in home.rglob("*") if "mlflow.db" not in path.name}
    assert "not an adapter name" in refused("adapter", "--name", "../../x", "--data", "john/all.jsonl.gz")
    assert {path for path in home.rglob("*") if "mlflow.db" not in path.name} == before


def test_adapter_needs_a_name(home):
    assert "adapter.name: required" in refused("adapter", "--data", "john/all.jsonl.gz")


def test_config_mistakes_are_reported(home):
    said = refused("train", "base.yaml", "train.batchsize=4", "train.lr=fast")
    assert "did you mean train.batch_size?" in said
    assert "'fast'" in said
    assert "no such config file" in refused("train", "nowhere.yaml")


def test_missing_data_is_one_message_and_no_run(home):
    count = len(json.loads(ok("list", "--format", "json", "--limit", "1000")))
    assert "no such manifest" in refused("train", "base.yaml", "data.train=nowhere.jsonl.gz", "data.val=x.jsonl.gz")
    assert len(json.loads(ok("list", "--format", "json", "--limit", "1000"))) == count


def test_testing_on_training_data_is_refused(home):
    said = refused("adapter", "--name", "x", "--data", "john/all.jsonl.gz", "data.test=john/all.jsonl.gz")
    assert "20 utterances are both" in said
    renamed = [cut.with_id(f"again-{cut.id}") for cut in manifest.read("john/all.jsonl.gz")]
    manifest.write(renamed, Path("renamed.jsonl.gz"))
    said = refused("adapter", "--name", "x", "--data", "john/all.jsonl.gz", "data.test=renamed.jsonl.gz")
    assert "20 utterances are both" in said


def test_a_failed_run_is_marked_failed(home, monkeypatch):
    from asr_lab.recipes.recognition import train as recipe

    monkeypatch.setattr(recipe, "fit", lambda *_: 1 / 0)
    result = run("train", "base.yaml", "data.train=corpus/all.jsonl.gz", "data.val=corpus/all.jsonl.gz", *TINY,
                 "run.seed=77")  # fmt: skip
    assert isinstance(result.exception, ZeroDivisionError)
    found = newest("deepspeech2")
    assert found.info.status == "FAILED"
    assert "division by zero" in found.data.tags["asr_lab.error"]


def test_the_run_mlflow_made_is_adopted(home, monkeypatch):
    client = mlflow.MlflowClient()
    made = client.create_run("0", run_name="made by mlflow")
    monkeypatch.setenv("MLFLOW_RUN_ID", made.info.run_id)
    ok("adapter", "--name", "john", "--data", "john/all.jsonl.gz", "train.epochs=1")
    found = client.get_run(made.info.run_id)
    assert found.data.tags["asr_lab.family"] == "adapter"
    assert found.info.run_name == f"john-epochs=1-{made.info.run_id[:8]}"
    assert found.info.experiment_id == "0"


def test_help_has_examples_and_needs_no_torch(home):
    said = ok("--help")
    assert "Examples" in said
    for command in ("train", "adapter", "evaluate", "transcribe", "list", "show", "compare", "register"):
        assert command in said
        assert "--help" in ok(command, "--help")
    assert "main_lr = train.lr" in ok("train", "--help")
    assert "did you mean 'compare'" in run("compair").output


# --- data -------------------------------------------------------------------------------------------------


def csv_table(folder, rows):
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("a", "b", "c"):
        soundfile.write(folder / f"{name}.wav", tone_word("cab", np.random.default_rng(0)), 16000)
    (folder / "table.csv").write_text("audio,text,speaker,age\n" + "\n".join(rows) + "\n")
    return folder / "table.csv"


def faults_of(kind, source):
    """(File, line, kind, detail) of each fault for which an import is refused."""
    with pytest.raises(ImportRefusedError) as error:
        import_corpus(kind, Path(source), Path("out"))
    return [(fault.file, fault.line, fault.kind, fault.detail) for fault in error.value.report.faults]


def test_import_csv_stats_check_split(home, tmp_path):
    table = csv_table(tmp_path, ["a.wav,Cab!,ann,7", "b.wav,cab,bob,8", "c.wav,cab,cid,9"])
    assert "3 utterances of 3 speakers" in ok("data", "import", "csv", table, tmp_path / "out")
    path = tmp_path / "out" / "all.jsonl.gz"
    assert "3 characters" in ok("data", "stats", path)
    assert "all 3 utterances can be used" in ok("data", "check", path)
    ok("data", "split", path, tmp_path / "parts", "--val", "0.3", "--test", "0.3")
    made = {f"{n}.jsonl.gz" for n in ("train", "val", "test")} | {"split.html", "split.png"}
    assert {p.name for p in (tmp_path / "parts").iterdir()} == made


def test_every_wrong_row_of_a_table_is_named_and_nothing_is_imported(home, tmp_path):
    table = csv_table(tmp_path, ["a.wav,cab,ann,7", "none.wav,cab,ann,7", "b.wav,,ann,7", "a.wav,cab,,7"])
    assert "3 faults, nothing was imported" in refused("data", "import", "csv", table, tmp_path / "out")
    assert faults_of("csv", table) == [
        (str(table), 3, "no such audio file", ""),
        (str(table), 4, "the transcript is missing", ""),
        (str(table), 5, "the speaker is missing", ""),
    ]
    assert not (tmp_path / "out").exists()


def test_duplicate_ids_of_a_table_are_named(home, tmp_path):
    table = csv_table(tmp_path, ["a.wav,cab,ann,7", "a.wav,cab,ann,7"])
    assert faults_of("csv", table) == [(str(table), 3, "duplicate id", "that of line 2")]


def test_a_table_without_a_column_says_which(home, tmp_path):
    table = tmp_path / "t.csv"
    table.write_text("audio,txt,speaker\nx.wav,hello,ann\n")
    said = refused("data", "import", "csv", table, tmp_path / "out")
    assert "lacks text" in said
    assert "txt for text?" in said


def test_import_jsonl(home, tmp_path):
    csv_table(tmp_path, [])
    rows = [{"audio": "a.wav", "text": "cab", "speaker": "ann", "id": "x1", "snr_db": 12.5}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    ok("data", "import", "jsonl", tmp_path / "t.jsonl", tmp_path / "out")
    from asr_lab.data import manifest

    cut = manifest.read(tmp_path / "out" / "all.jsonl.gz")[0]
    assert cut.id == "x1"
    assert manifest.field(cut, "snr_db") == 12.5


def test_check_names_audio_that_changed(home, tmp_path):
    make_corpus(tmp_path / "c", {"a": "cab", "b": "dad"})
    soundfile.write(tmp_path / "c" / "audio" / "a.wav", tone_word("fad", np.random.default_rng(0)), 16000)
    said = refused("data", "check", tmp_path / "c" / "all.jsonl.gz")
    assert "a: " in said
    assert "1 of 2 utterances cannot be used" in said


@pytest.mark.skipif(not FSDD.is_dir(), reason="the Free Spoken Digit Dataset is not on this machine")
def test_import_fsdd_uses_each_recording_once_and_keeps_blocks_apart(home, tmp_path):
    ok("data", "import", "fsdd", FSDD, tmp_path, "--join", "1-5")
    from asr_lab.data import manifest

    cuts = manifest.read(tmp_path / "all.jsonl.gz")
    used = [name for cut in cuts for name in manifest.field(cut, "recordings")]
    assert len(used) == len(set(used)) == 2000
    assert {len(manifest.supervision(cut).text.split()) for cut in cuts} == {1, 2, 3, 4, 5}
    for cut in cuts:
        assert {int(name.rsplit("_", 1)[1]) // 5 for name in manifest.field(cut, "recordings")} == {
            manifest.field(cut, "block")
        }


def test_import_fsdd_refuses_other_files(home, tmp_path):
    (tmp_path / "hello.wav").write_bytes(b"")
    assert "hello.wav" in refused("data", "import", "fsdd", tmp_path, tmp_path / "out")


def test_synth_makes_a_corpus_of_named_speakers(home, tmp_path):
    pytest.importorskip("espeakng_loader")
    said = ok("data", "synth", tmp_path / "c", "--speakers", "john", "--utterances", "2", "--snr", "20")
    assert "2 utterances of 1 speaker" in said
    assert "john" in ok("data", "synth", "--list")
    assert "10-30" in refused("data", "synth", tmp_path / "d", "--snr", "30,10")


def test_split_and_import_never_replace_without_overwrite(home, tmp_path):
    table = csv_table(tmp_path, ["a.wav,cab,ann,7", "b.wav,cab,bob,8"])
    ok("data", "import", "csv", table, tmp_path / "out")
    path = tmp_path / "out" / "all.jsonl.gz"
    assert "would be replaced" in refused("data", "import", "csv", table, tmp_path / "out")
    ok("data", "split", path, tmp_path / "parts", "--val", "0.5", "--test", "0")
    before = (tmp_path / "parts" / "train.jsonl.gz").read_bytes()
    assert "would be replaced" in refused("data", "split", path, tmp_path / "parts", "--val", "0.5", "--test", "0")
    assert (tmp_path / "parts" / "train.jsonl.gz").read_bytes() == before
    ok("data", "split", path, tmp_path / "parts", "--val", "0.5", "--test", "0", "--overwrite")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"audio,text,speaker\na.wav,well, yes,ann\n", "more fields than columns"),
        ("audio,text,speaker\na.wav,café naïf,ann\n".encode("latin-1"), "neither UTF-8"),
        (b"audio,text,speaker\n", "no rows"),
    ],
)
def test_tables_as_people_save_them(home, tmp_path, content, message):
    csv_table(tmp_path, [])
    (tmp_path / "t.csv").write_bytes(content)
    assert message in refused("data", "import", "csv", tmp_path / "t.csv", tmp_path / "out")


def test_a_json_row_without_text_is_named(home, tmp_path):
    csv_table(tmp_path, [])
    rows = [{"audio": "a.wav", "text": "cab", "speaker": "ann"}, {"audio": "b.wav", "speaker": "ann"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert faults_of("jsonl", tmp_path / "t.jsonl") == [(str(tmp_path / "t.jsonl"), 2, "the transcript is missing", "")]


def test_nothing_is_bold_where_nothing_is_best(home):
    assert "**" not in ok("data", "stats", "corpus/all.jsonl.gz", "--format", "markdown")


def test_no_winner_among_runs_evaluated_on_different_data(home):
    make_corpus(home / "other", {f"o{i}": "cab dad" for i in range(8)})
    arguments = ["data.train=other/all.jsonl.gz", "data.val=other/all.jsonl.gz", *TINY, "train.epochs=1"]
    ok("train", "base.yaml", *arguments, "run.register_as=", "run.name=elsewhere")
    elsewhere = newest("deepspeech2").info.run_name
    first = json.loads(ok("list", "--family", "deepspeech2", "--pattern", "base-*", "--format", "json"))[-1]["run"]
    said = ok("compare", first, elsewhere)
    assert "evaluated on different data" in said
    assert "best val/wer" not in said


def test_one_utterance_can_be_trained_on(home):
    make_corpus(home / "one", {"only": "cab dad"})
    arguments = ["data.train=one/all.jsonl.gz", "data.val=one/all.jsonl.gz", *TINY, "train.epochs=1"]
    ok("train", "base.yaml", *arguments, "run.register_as=", "run.name=one")


def test_options_at_their_default_leave_the_config_file_its_say_under_mlflow_run(home, monkeypatch):
    from asr_lab.cli.config_options import given

    (home / "mine.yaml").write_text("recipe: adapter\nadapter: {hidden_dims: [64]}\ntrain: {epochs: 3}\n")
    options = {"adapter.hidden_dims": ["512", "256"], "train.epochs": "10", "adapter.name": "x"}
    assert given(options, home / "mine.yaml", "adapter") == options  # typed by hand: they count
    monkeypatch.setenv("MLFLOW_RUN_ID", "abc")
    assert given(options, home / "mine.yaml", "adapter") == {"adapter.name": "x"}
    assert "train.epochs" in given({"train.epochs": "5"}, home / "mine.yaml", "adapter")


def test_an_adapter_on_a_base_that_is_a_folder_can_be_used(home):
    from asr_lab.tracking.models.model_store import MlflowStore

    shutil.copytree(MlflowStore().resolve("models:/deepspeech2@champion"), home / "mymodel", dirs_exist_ok=True)
    ok("adapter", "--name", "kim", "--data", "john/all.jsonl.gz", "--base", "mymodel", "train.epochs=1")
    audio = (home / "john" / "audio" / "j00.wav").read_bytes()
    model = mlflow.pyfunc.load_model("models:/deepspeech2-adapter-kim@champion")
    assert list(model.predict(pd.DataFrame({"audio": [audio]})).columns) == ["text"]


def test_a_korean_name_is_registered(home):
    ok("adapter", "--name", "김철수", "--data", "john/all.jsonl.gz", "train.epochs=1")
    assert mlflow.MlflowClient().get_model_version_by_alias("deepspeech2-adapter-김철수", "champion")
    assert (home / "adapters" / "김철수_adapter.pt").is_file()


def test_models_are_found_by_every_uri(home):
    from asr_lab.tracking import load_model

    run_id = mlflow.MlflowClient().get_model_version_by_alias("deepspeech2", "champion").run_id
    digests = {
        load_model(uri).base().digest
        for uri in ("models:/deepspeech2@champion", "models:/deepspeech2/1", "models:/deepspeech2/latest",
                    f"runs:/{run_id}/model")
    }  # fmt: skip
    assert len(digests) == 1


def test_a_run_that_died_before_it_began_is_closed(home):
    client = mlflow.MlflowClient()
    dead = client.create_run("0", tags={"asr_lab.family": "adapter", "asr_lab.process": "nowhere|1|1"})
    import socket

    gone = f"{socket.gethostname()}|999999|1"
    mine = client.create_run("0", tags={"asr_lab.family": "adapter", "asr_lab.process": gone})
    ok("adapter", "--name", "john", "--data", "john/all.jsonl.gz", "train.epochs=1")
    assert client.get_run(mine.info.run_id).info.status == "KILLED"
    assert client.get_run(dead.info.run_id).info.status == "RUNNING"  # of another machine: not known to be dead
    client.set_terminated(dead.info.run_id)


def test_a_base_that_changes_the_champion_does_not_change_an_old_adapter(home):
    """The adapter names the version it was made for; another base under the same alias is refused."""
    arguments = [*ON_CORPUS, *TINY, "train.epochs=1"]
    ok("train", "base.yaml", *arguments, "run.seed=9", "run.register_as=second")
    said = refused("evaluate", "--model", "models:/second/1", "--data", "john/all.jsonl.gz", "--adapter", "john")
    assert "made for another base" in said


def test_audio_that_is_not_numbers_ends_training_with_one_message_and_a_failed_run(home):
    make_corpus(home / "nan", {f"n{i}": "cab dad" for i in range(6)})
    samples = np.full(40_000, np.nan, dtype=np.float32)
    soundfile.write(home / "nan" / "audio" / "n3.wav", samples, 16000, subtype="FLOAT")
    data = ["data.train=nan/all.jsonl.gz", "data.val=nan/all.jsonl.gz"]
    said = refused("train", "base.yaml", *data, *TINY, "run.register_as=", "run.name=nan")
    assert "are not numbers" in said
    assert "n3.wav" in said
    assert newest("deepspeech2").info.status == "FAILED"
    assert "cannot be used" in refused("data", "check", "nan/all.jsonl.gz")


def test_evaluation_in_depth(home):
    said = ok("evaluate", "--model", "models:/deepspeech2@champion", "--data", "john/all.jsonl.gz", "--audio")
    assert "duration" not in said or "utterances" in said
    found = newest("evaluate", "evaluate")
    written = artifacts(found.info.run_id, "eval")
    assert {"eval/test.parquet", "eval/test.html", "eval/test_confusions.parquet"} <= written
    page = mlflow.artifacts.load_text(f"runs:/{found.info.run_id}/eval/test.html")
    assert page.count("data:audio/ogg;base64,") == 20
    ok("evaluate", "--model", "models:/deepspeech2@champion", "--data", "john/all.jsonl.gz")
    page = mlflow.artifacts.load_text(f"runs:/{newest('evaluate', 'evaluate').info.run_id}/eval/test.html")
    assert "data:audio" not in page


def test_slices_are_metrics_and_tables(home):
    from asr_lab.data import manifest

    rows = []
    for age in (6, 30):
        texts = {f"a{age}-{i}": "cab dad" for i in range(4)}
        rows += list(manifest.read(make_corpus(home / "ages" / str(age), texts, speaker=f"s{age}", seed=age, age=age)))
    manifest.write(rows, home / "ages" / "all.jsonl.gz")
    said = ok("evaluate", "--model", "models:/deepspeech2@champion", "--data", "ages/all.jsonl.gz")
    assert "26-40" in said
    found = newest("evaluate", "evaluate")
    assert {"test/wer_by_age/0-6", "test/wer_by_age/26-40", "test/wer_by_speaker/s6"} <= set(found.data.metrics)
    file = mlflow.artifacts.download_artifacts(run_id=found.info.run_id, artifact_path="eval/test_slices.parquet")
    ages = pd.read_parquet(file).query("slice == 'age'").set_index("value")
    assert ages.loc["0-6", "wer"] == pytest.approx(found.data.metrics["test/wer_by_age/0-6"])
    assert ages["words"].sum() == 16


def test_ways_of_training_side_by_side(home, tmp_path):
    client = mlflow.MlflowClient()
    pair = [client.get_model_version(name, "1").run_id for name in ("deepspeech2", "deepspeech2-adapter-john")]
    said = ok("compare", *pair, "--ways", "--curves", tmp_path / "curves.png", "--log", "--format", "json")
    rows = json.loads(said[said.index("[") : said.rindex("]") + 1])
    assert {row["way"] for row in rows} == {"scratch", "adapter"}
    for row in rows:
        assert row["perf/seconds"] > 0
        assert row["perf/peak_memory_mb"] > 0
        assert 0 < row["model/trainable_share"] <= 1
    assert (tmp_path / "curves.png").stat().st_size > 5000
    assert {"compare/table.csv", "compare/curves.png"} <= artifacts(pair[0], "compare")
    assert "no figure can be written" in refused("compare", *pair, "--curves", "curves.txt")


@pytest.fixture(scope="module")
def kospeech_files(home):
    """KoSpeech's transcripts with PCM and WAV, and its vocabulary file."""
    folder = home / "kospeech"
    rng = np.random.default_rng(3)
    lines = []
    for number, name in enumerate(("a/one.pcm", "a/two.pcm", "b/three.wav")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        samples = np.concatenate([np.zeros(16000, dtype=np.float32), tone_word("cab", rng), np.zeros(16000)])
        if path.suffix == ".pcm":
            path.write_bytes((samples * 32767).astype("<i2").tobytes())
        else:
            soundfile.write(path, samples, 16000)
        lines.append(f"{name}\t가 나\t{5 if number < 2 else 7} 3 6")
    (folder / "transcripts.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    units = ["<pad>", "<sos>", "<eos>", " ", ".", "가", "나"]
    rows = "\n".join(f"{index},{unit},9" for index, unit in enumerate(units))
    (folder / "vocab.csv").write_text(f"id,char,freq\n{rows}\n", encoding="utf-8")
    return folder


def test_import_kospeech_transcripts(home, kospeech_files):
    from asr_lab.data import manifest
    from asr_lab.data.cut_audio import read_cut

    vocab = kospeech_files / "vocab.csv"
    said = ok("data", "import", "kospeech", "kospeech/transcripts.txt", "kospeech/all", "--vocab", vocab)
    assert "3 utterances of 2 speakers" in said
    assert "1 line has ids that are not those of their text: line 3" in said
    cuts = {cut.id: cut for cut in manifest.read("kospeech/all/all.jsonl.gz")}
    assert set(cuts) == {"a-one", "a-two", "b-three"}
    pcm = read_cut(cuts["a-one"])
    assert len(pcm) == (kospeech_files / "a/one.pcm").stat().st_size // 2
    assert np.abs(pcm).max() > 0.2
    assert "all 3 utterances can be used" in ok("data", "check", "kospeech/all/all.jsonl.gz")
    ok("data", "import", "kospeech", "kospeech/transcripts.txt", "kospeech/quiet", "--drop-silence")
    quiet = {cut.id: cut.duration for cut in manifest.read("kospeech/quiet/all.jsonl.gz")}
    assert all(quiet[id] < cut.duration - 1.5 for id, cut in cuts.items())


def test_kospeech_transcripts_that_are_wrong_are_reported_all_at_once(home, kospeech_files):
    odd = kospeech_files / "a" / "odd.pcm"
    odd.write_bytes(b"\0" * 6001)
    lines = ["a/one.pcm\t가", "a/none.pcm\t나\t6", "only", "a/odd.pcm\t나\t6", "a/one.pcm\t가\t5"]
    (kospeech_files / "wrong.txt").write_text("\n".join(lines), encoding="utf-8")
    refused("data", "import", "kospeech", "kospeech/wrong.txt", "kospeech/wrong")
    faults = sorted((line, kind.partition(" (")[0]) for _, line, kind, _ in faults_of("kospeech", "kospeech/wrong.txt"))
    assert faults == [
        (2, "no such audio file"),
        (3, "not three columns"),
        (4, "headerless audio that ends within a sample"),
        (5, "duplicate utterance"),
    ]
    assert not (home / "kospeech" / "wrong").exists()


def test_silence_is_never_dropped_from_an_original(home, kospeech_files):
    audio = home / "originals" / "audio"
    audio.mkdir(parents=True)
    soundfile.write(audio / "x.flac", np.zeros(16000, dtype=np.float32), 16000)
    before = (audio / "x.flac").read_bytes()
    lines = {"absolute": f"{audio / 'x.flac'}\t가", "above": "../audio/x.flac\t가", "same": "x.flac\t가"}
    for name, line in lines.items():
        (audio / f"{name}.txt").write_text(line, encoding="utf-8")
        refused("data", "import", "kospeech", audio / f"{name}.txt", "originals", "--drop-silence")
        assert (audio / "x.flac").read_bytes() == before, name
    soundfile.write(audio / "x.wav", np.zeros(16000, dtype=np.float32), 16000)
    (audio / "twice.txt").write_text("x.flac\t가\nx.wav\t나\n", encoding="utf-8")
    said = refused("data", "import", "kospeech", audio / "twice.txt", "apart", "--drop-silence")
    assert "x.wav: duplicate utterance: x.flac of line 1 is the same utterance" in said
    assert not (home / "apart").exists()


def test_options_of_another_corpus_are_refused(home):
    said = refused("data", "import", "csv", "table.csv", "x", "--join", "1-5")
    assert "--join has no effect on csv" in said


def test_an_imported_checkpoint_is_an_ordinary_model(home, kospeech_files):
    import torch

    from asr_lab.models import load_model

    model = load_model(mlflow.artifacts.download_artifacts("models:/deepspeech2/1") + "/artifacts/model").model
    theirs = {
        name.replace("conv.layers", "module.conv.conv.sequential")
        .replace("forward_rnn.", "rnn.").replace("head.0", "fc.0").replace("head.1", "fc.1.linear"): tensor
        for name, tensor in model.state_dict().items()
    }  # fmt: skip
    theirs = {
        (name.replace("backward_rnn.", "rnn.") + "_reverse" if "backward_rnn" in name else name): tensor
        for name, tensor in theirs.items()
    }
    torch.save(theirs, home / "theirs.pt")
    classes = model.config.vocab_size
    units = [" ", *"abcdefghijklmnop"][: classes - 1]
    rows = "\n".join(f"{index},{unit},1" for index, unit in enumerate(units))
    (home / "theirs.csv").write_text(f"id,char,freq\n{rows}\n", encoding="utf-8")
    said = ok("import-kospeech", "theirs.pt", "--vocab", "theirs.csv", "--out", "models/theirs", "--register", "theirs")
    assert "layer_norm" in said
    assert "models:/theirs/1" in said
    assert "already" in refused("import-kospeech", "theirs.pt", "--vocab", "theirs.csv", "--out", "models/theirs")
    (home / "models" / "theirs" / "thesis.txt").write_text("years of work")
    again = ["import-kospeech", "theirs.pt", "--vocab", "theirs.csv", "--overwrite", "--out"]
    for place in ("models/theirs", "models", ".", "theirs.csv"):
        assert "something else than a model" in refused(*again, place), place
    (home / "models" / "theirs" / "thesis.txt").unlink()
    ok(*again, "models/theirs")
    assert [path.name for path in (home / "models").iterdir()] == ["theirs"]
    again = load_model("models/theirs").model
    assert all(torch.equal(tensor, again.state_dict()[name]) for name, tensor in model.state_dict().items())
    ok("evaluate", "--model", "models:/theirs@champion", "--data", "john/all.jsonl.gz")
    ok("adapter", "--name", "kim", "--data", "john/all.jsonl.gz", "--base", "models/theirs", "train.epochs=1")
    said = refused("import-kospeech", "theirs.pt", "--vocab", "kospeech/vocab.csv", "--out", "models/other")
    assert f"{classes} classes, the vocabulary 8 units" in said
    assert not (home / "models" / "other").exists()


def test_offline_the_model_is_registered_by_sync(home):
    """No server answers: a base by its folder is adapted to, and sync makes it a version with the same figures."""
    with pytest.MonkeyPatch.context() as away:
        away.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
        assert "does not answer" in refused("adapter", "--name", "off", "--data", "john/all.jsonl.gz", "--offline")
        base = mlflow.artifacts.download_artifacts("models:/deepspeech2/1", tracking_uri=f"sqlite:///{home}/mlflow.db")
        more = ("--data", "john/all.jsonl.gz", "--base", base, "train.epochs=1", "--offline")
        said = ok("adapter", "--name", "off", *more)
        assert "a model among them, wait in spool/" in said
    assert "as run" in ok("sync", "--here")  # it was meant for the store that was away
    found = newest("adapter")
    assert found.info.status == "FINISHED"
    assert "models:/deepspeech2-adapter-off/1" in found.data.tags["mlflow.note.content"]
    version = mlflow.MlflowClient().get_model_version_by_alias("deepspeech2-adapter-off", "champion")
    assert version.run_id == found.info.run_id
    audio = (home / "john" / "audio" / "j00.wav").read_bytes()
    heard = mlflow.pyfunc.load_model("models:/deepspeech2-adapter-off/1").predict(pd.DataFrame({"audio": [audio]}))
    assert len(heard) == 1
    assert "no runs are pending" in ok("sync")


def test_a_network_larger_than_the_memory_is_a_message(home, monkeypatch):
    monkeypatch.chdir(home)
    message = refused("train", "base.yaml", *ON_CORPUS, "data.test=", "model.hidden_size=1000000000", "--dry-run")
    assert "out of memory" in message
    assert "train.batch_size" in message
