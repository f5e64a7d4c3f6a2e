"""forget as a user runs it: afterwards no byte of the store, of the folder and of the bundles names the person."""

import gzip
import json
import os
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import sqlalchemy
from conftest import ok, refused, run
from made import all_run_ids, client, made_run, scores

pytestmark = pytest.mark.usefixtures("store")
NAME = "johanna"


def adapter_of(person: str, **more) -> str:
    """A person's adapter as `asr-lab adapter` leaves it: run, model, version, file, score table."""
    run_id = made_run(
        f"{person}-adapter",
        family="adapter",
        register=f"deepspeech2-adapter-{person}",
        params={"adapter.name": person, "data.train": f"corpora/{person}.jsonl.gz"},
        tags={"asr_lab.speaker": person},
        table=scores(person, person),
        **more,
    )
    Path("adapters").mkdir(exist_ok=True)
    Path(f"adapters/{person}_adapter.pt").write_text(f"weights of {person}")
    for folder in ("checkpoints", "spool"):
        Path(folder, run_id).mkdir(parents=True)
        Path(folder, run_id, "file").write_text(person)
    return run_id


def mentions(word: str, folder: str = ".") -> list[str]:
    """Files that hold a word, in their name or their content, the pages that a database has freed among it."""
    found = []
    for path in Path(folder).rglob("*"):
        packed = path.is_file() and path.suffix == ".parquet"
        content = pd.read_parquet(path).to_csv().encode() if packed else path.read_bytes() if path.is_file() else b""
        if word.encode() in content or word in path.name:
            found.append(str(path))
    return found


def manifest(path: str, *speakers: str) -> None:
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps({"supervisions": [{"speaker": one}]}) + "\n" for one in speakers)


@pytest.fixture
def careless_sqlite():
    """An sqlite that leaves deleted rows in the file's free pages; some are built so, some overwrite them."""

    def careless(connection, _):
        connection.execute("PRAGMA secure_delete = OFF")

    sqlalchemy.event.listen(sqlalchemy.Engine, "connect", careless)
    yield
    sqlalchemy.event.remove(sqlalchemy.Engine, "connect", careless)


@pytest.mark.usefixtures("careless_sqlite")
def test_nothing_of_a_person_is_left_and_all_of_others_is():
    own, other = adapter_of(NAME), adapter_of("bob")
    deleted = adapter_of(NAME, days=3)
    client().delete_run(deleted)
    ok("keep", own)
    both = made_run("base", table=scores("bob", NAME, "bob"), register="deepspeech2")
    Path("features", "raw").mkdir(parents=True)
    Path("features", "raw", f"{NAME}.00.npy").write_text("sound")
    Path("spool", "offline").mkdir()
    Path("spool", "offline", "events.jsonl").write_text(json.dumps({"tags": {"asr_lab.speaker": NAME}}))
    plan = json.loads(ok("forget", NAME, "--dry-run", "--format", "json"))
    assert {row["which"] for row in plan if row["then"] == "erased" and row["what"] == "run"} == {f"{NAME}-adapter"}
    assert all_run_ids() == {own, deleted, other, both}
    ok("forget", NAME, "--yes")
    assert mentions(NAME) == []
    assert all_run_ids() - {other, both} == {record().info.run_id}
    assert [model.name for model in client().search_registered_models()] == ["deepspeech2", "deepspeech2-adapter-bob"]
    assert mlflow.pyfunc.load_model("models:/deepspeech2-adapter-bob@champion").predict([1]) == [1]
    rest = pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{both}/eval/val.parquet"))
    assert list(rest["id"]) == ["bob-0", "bob-2"]
    assert {item.path for item in client().list_artifacts(both, "eval")} == {
        "eval/val.parquet",
        "eval/val_slices.parquet",
    }
    found = client().get_run(both)
    assert "val/wer_by_speaker/bob" in found.data.metrics
    assert found.data.metrics["val/wer"] == 0.3
    assert Path("adapters/bob_adapter.pt").is_file()
    assert Path("checkpoints", other).is_dir()
    assert f"nothing is known of '{NAME}'" in refused("forget", NAME, "--yes")


@pytest.mark.parametrize("name", ["o'brien", "김민수", 'ann "b"'])
def test_names_that_no_filter_takes(name):
    run_id, other = adapter_of(name), adapter_of("bob")
    ok("forget", name, "--yes")
    assert all_run_ids() == {other, record().info.run_id}
    assert [model.name for model in client().search_registered_models()] == ["deepspeech2-adapter-bob"]
    assert not Path("checkpoints", run_id).exists()


def record():
    experiment = client().get_experiment_by_name("forgotten")
    [found] = client().search_runs([experiment.experiment_id])
    return found


def test_the_record_says_how_much_by_whom_and_not_whose():
    adapter_of(NAME)
    adapter_of(NAME)
    ok("forget", NAME, "--yes")
    found = record()
    assert found.info.status == "FINISHED"
    assert found.data.params["runs"] == "2"
    assert found.data.params["registered versions"] == "2"
    assert found.data.tags["mlflow.user"]
    assert found.info.run_id[:8] not in ok("list", "--format", "csv")
    from asr_lab.tracking.housekeeping import forgotten

    client().update_run(found.info.run_id, status="RUNNING")
    assert forgotten.unfinished_record(client(), NAME).info.run_id == found.info.run_id
    assert forgotten.unfinished_record(client(), "bob") is None


def test_who_is_called_otherwise_in_the_corpus():
    made_run("own", family="adapter", tags={"asr_lab.speaker": NAME}, table=scores("spk01", "spk01"))
    both = made_run("base", table=scores("spk01", "spk02"))
    assert f"{NAME} is called spk01 in tables" in ok("forget", NAME, "--yes")
    rest = pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{both}/eval/val.parquet"))
    assert list(rest["speaker"]) == ["spk02"]


def test_what_learned_from_a_person():
    manifest("corpora/alone.jsonl.gz", NAME, NAME)
    manifest("corpora/class.jsonl.gz", NAME, "bob")
    alone = made_run("alone", params={"data.train": "corpora/alone.jsonl.gz"})
    shared = made_run("shared", params={"data.train": "corpora/class.jsonl.gz"})
    evaluated = made_run("evaluated", tags={"asr_lab.kind": "evaluate"}, table=scores(NAME))
    said = ok("forget", NAME, "--yes")
    assert "stays: learned from others too (--shared-models erases it)" in said
    assert all_run_ids() - {record().info.run_id} == {shared}
    assert alone != evaluated
    assert Path("corpora/alone.jsonl.gz").is_file()  # the recordings are the user's


def test_models_that_learned_from_others_too_go_when_asked():
    manifest("corpora/class.jsonl.gz", NAME, "bob")
    made_run("shared", params={"data.train": "corpora/class.jsonl.gz"}, register="deepspeech2")
    ok("forget", NAME, "--shared-models", "--yes")
    assert all_run_ids() == {record().info.run_id}
    assert not client().search_registered_models()


def test_bundles_go_and_those_of_others_are_written_anew():
    own, both = adapter_of(NAME), made_run("both", table=scores("bob", NAME))
    gone = made_run("gone", table=scores(NAME, "bob"))
    ok("archive", own, both, "--to", "bundles")
    ok("archive", gone, "--to", "elsewhere", "--purge", "--yes")
    ok("forget", NAME, "--bundles", "elsewhere", "--yes")
    assert [path.name.split("-")[0] for path in Path("bundles").iterdir()] == ["both"]
    from asr_lab.tracking.housekeeping import bundle
    from asr_lab.tracking.housekeeping.archive import at_hand, located

    with at_hand(*located(client().get_run(both).data.tags["asr_lab.archived"])) as path:
        Path("unpacked").mkdir()
        bundle.extract(path, Path("unpacked"))
    [purged] = Path("elsewhere").iterdir()
    ok("restore", purged)
    assert mentions(NAME) == []
    assert mentions("bob", "unpacked") != []


@pytest.mark.parametrize("stop", ["scrub.scrub_artifacts", "_delete_versions", "Eraser.erase", "finish_record"])
def test_what_was_cut_off_is_finished(stop, monkeypatch):
    adapter_of(NAME)
    made_run("both", table=scores("bob", NAME))
    with monkeypatch.context() as patch:
        patch.setattr(f"asr_lab.tracking.housekeeping.forget.{stop}", lambda *_, **__: 1 / 0)
        assert isinstance(run("forget", NAME, "--yes").exception, ZeroDivisionError)
    assert record().info.status == "RUNNING"
    ok("forget", NAME, "--yes")
    assert record().info.status == "FINISHED"
    assert mentions(NAME) == []


def test_it_asks_for_the_name():
    from click.testing import CliRunner

    from asr_lab.cli import cli

    run_id = adapter_of(NAME)
    assert CliRunner().invoke(cli, ["forget", NAME], input="yes\n").exit_code == 1
    assert run("forget", NAME).exit_code == 1
    assert run_id in all_run_ids()
    assert CliRunner().invoke(cli, ["forget", NAME], input=f"{NAME}\n").exit_code == 0
    assert run_id not in all_run_ids()


def test_unknown_person_gets_the_nearest_name():
    adapter_of(NAME)
    made_run("both", table=scores("bob", "eve"))
    assert f"did you mean '{NAME}'" in refused("forget", "johana", "--yes")
    assert "bob, eve" in refused("forget", "xyz", "--yes")
    assert client().get_experiment_by_name("forgotten") is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may delete anything")
def test_no_rights_is_one_message():
    run_id = adapter_of(NAME)
    folder = Path("checkpoints", run_id)
    folder.chmod(0o500)
    assert "cannot be deleted" in refused("forget", NAME, "--yes")
    folder.chmod(0o700)
