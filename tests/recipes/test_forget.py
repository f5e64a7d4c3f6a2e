"""forget as a user runs it: afterwards no byte of the store, of the folder and of the bundles names the person."""

import json
import os
import shutil
from pathlib import Path

import mlflow
import pandas as pd
import pytest
import sqlalchemy
from conftest import ok, refused, run
from made import all_run_ids, client, log_comparison, made_manifest, made_run, scores

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


def learned_from(path: str, *speakers: str, **more) -> dict:
    """Params and tags of a run that learned from a manifest, which is made."""
    return {"params": {"data.train": path}, "tags": {"asr_lab.data.train": made_manifest(path, *speakers)}} | more


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


def test_the_sweeps_of_a_person_go_and_those_of_others_stay():
    """Also of a sweep of someone else's that went under the same name later."""
    own = {"family": "adapter"}
    ids = {
        sweep: made_run(sweep, **own, tags={"asr_lab.speaker": NAME, "asr_lab.sweep": sweep})
        for sweep in ("rates", "later", "away")
    }
    Path("sweeps").mkdir()
    for sweep, run_id in (("rates", ids["rates"]), ("later", "0" * 32)):
        Path(f"sweeps/{sweep}.journal").write_text(json.dumps({"user_attr": {"parent": run_id}}))
        Path(f"sweeps/{sweep}.journal.lock").touch()
        Path(f"sweeps/{sweep}.journal.locks").mkdir()
        Path(f"sweeps/{sweep}.journal.jobs").mkdir()
        Path(f"sweeps/{sweep}.journal.jobs/1.log").write_text(NAME if sweep == "rates" else "bob")
        Path(f"sweeps/{sweep}.journal.locks/leader of {sweep}").touch()
        Path(f"sweeps/{sweep}-best.yaml").write_text("adapter.name: " + (NAME if sweep == "rates" else "bob"))
    said = " ".join(ok("forget", NAME, "--yes").split())
    assert "the journals of the sweeps away are not in sweeps/" in said
    assert mentions(NAME) == []
    assert {path.name for path in Path("sweeps").iterdir()} == {
        "later.journal",
        "later.journal.lock",
        "later.journal.locks",
        "later.journal.jobs",
        "later-best.yaml",
    }


def test_examples_beside_the_checkpoints_of_others_lose_a_person():
    both = made_run("both", table=scores("bob", NAME))
    file = Path("checkpoints", both, "examples.json")
    file.parent.mkdir(parents=True)
    rows = [{"epoch": 1, "id": f"{name}-1", "speaker": name} for name in ("bob", NAME)]
    file.write_text(json.dumps(rows))
    cut_off = made_run("cut-off", family="pronunciation")
    pd.DataFrame(rows).to_parquet("examples.parquet")
    client().log_artifact(cut_off, "examples.parquet")
    Path("examples.parquet").unlink()
    ok("forget", NAME, "--yes")
    assert json.loads(file.read_text()) == rows[:1]
    assert mentions(NAME) == []


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
    from asr_lab.tracking.erasure import audit_record

    client().update_run(found.info.run_id, status="RUNNING")
    assert audit_record.unfinished_record(client(), NAME).info.run_id == found.info.run_id
    assert audit_record.unfinished_record(client(), "bob") is None


def test_a_user_without_a_name_as_in_a_container_can_erase(monkeypatch):
    adapter_of(NAME)

    def nameless() -> str:
        raise OSError("No username set in the environment")

    monkeypatch.setattr("getpass.getuser", nameless)
    ok("forget", NAME, "--yes")
    assert record().data.tags["mlflow.user"] == str(os.getuid())


def test_who_is_called_otherwise_in_the_corpus():
    made_run("own", family="adapter", tags={"asr_lab.speaker": NAME}, table=scores("spk01", "spk01"))
    both = made_run("base", table=scores("spk01", "spk02"))
    assert f"{NAME} is called spk01 in tables" in ok("forget", NAME, "--yes")
    rest = pd.read_parquet(mlflow.artifacts.download_artifacts(f"runs:/{both}/eval/val.parquet"))
    assert list(rest["speaker"]) == ["spk02"]


def test_another_name_counts_only_when_it_is_nobody_elses():
    own = {"family": "adapter", "tags": {"asr_lab.speaker": NAME}}
    made_run("own", table=scores("spk01", "spk01"), **own)
    made_run("nameless", table=scores("unknown", "unknown"), **own)
    made_run("as-bob", table=scores("bob", "bob"), **own)
    made_run("numbered", table=scores("7", "7"), **own)
    on_eve = {"asr_lab.speaker": NAME, "asr_lab.kind": "evaluate"}
    made_run("on-eve", family="evaluate", tags=on_eve, table=scores("eve"))
    stay = {
        adapter_of("bob"),
        made_run("lees", family="adapter", tags={"asr_lab.speaker": "lee"}, table=scores("7", "7")),
        made_run("everyone", table=scores("unknown", "unknown")),
        made_run("eves", tags={"asr_lab.kind": "evaluate"}, table=scores("eve", "eve")),
        made_run("of-bob", tags={"asr_lab.kind": "evaluate"}, table=scores("bob")),
        made_run("by-hand", tags={"asr_lab.speaker": "eve"}, register=f"deepspeech2-adapter-{NAME}"),
    }
    goes = made_run("evaluated", tags={"asr_lab.kind": "evaluate"}, table=scores("spk01"))
    said = ok("forget", NAME, "--yes")
    assert f"{NAME} is called spk01 in tables" in said
    assert f"7, bob, unknown may mean {NAME} and others too: not taken for them" in said
    assert all_run_ids() == stay | {record().info.run_id}
    assert goes not in all_run_ids()
    tables = [one for one in stay if list(Path("mlruns").glob(f"*/{one}/artifacts/eval/val.parquet"))]
    assert len(tables) == 5


def test_what_was_trained_on_a_person():
    alone = made_run("alone", **learned_from("corpora/alone.jsonl.gz", NAME, NAME))
    shared = made_run("shared", **learned_from("corpora/class.jsonl.gz", NAME, "bob"))
    evaluated = made_run("evaluated", tags={"asr_lab.kind": "evaluate"}, table=scores(NAME))
    said = ok("forget", NAME, "--yes")
    assert "--shared-models erases it" in said
    assert all_run_ids() - {record().info.run_id} == {shared}
    assert alone != evaluated
    assert Path("corpora/alone.jsonl.gz").is_file()  # the recordings are the user's


def test_models_trained_on_others_too_go_when_asked():
    made_run("shared", register="deepspeech2", **learned_from("corpora/class.jsonl.gz", NAME, "bob"))
    ok("forget", NAME, "--shared-models", "--yes")
    assert all_run_ids() == {record().info.run_id}
    assert not client().search_registered_models()


def test_a_manifest_that_changed_since_says_nothing():
    adapter_of(NAME)
    then = learned_from("corpora/reused.jsonl.gz", "bob", "eve")
    of_bob = made_run("of-bob", **then)
    made_manifest("corpora/reused.jsonl.gz", NAME)
    moved = made_run("moved", params={"data.train": "corpora/moved.jsonl.gz"}, tags={"asr_lab.data.train": "d1"})
    untold = made_run("untold", params={"data.train": "corpora/reused.jsonl.gz"})
    said = ok("forget", NAME, "--shared-models", "--yes")
    assert "corpora/reused.jsonl.gz differs from the training data" in said
    assert "the training speakers of untold, of-bob are not known" in said
    assert "corpora/moved.jsonl.gz is not on this machine" in said
    assert all_run_ids() == {of_bob, moved, untold, record().info.run_id}


def test_bundles_go_and_those_of_others_are_written_anew():
    own, both = adapter_of(NAME), made_run("both", table=scores("bob", NAME))
    gone = made_run("gone", table=scores(NAME, "bob"))
    ok("archive", own, both, "--to", "bundles")
    ok("archive", gone, "--to", "elsewhere", "--purge", "--yes")
    ok("forget", NAME, "--bundles", "elsewhere", "--yes")
    assert [path.name.split("-")[0] for path in Path("bundles").iterdir()] == ["both"]
    from asr_lab.tracking.archive import bundle
    from asr_lab.tracking.archive.archive import local_copy, parse_mark

    with local_copy(*parse_mark(client().get_run(both).data.tags["asr_lab.archived"])) as path:
        Path("unpacked").mkdir()
        bundle.extract(path, Path("unpacked"))
    [purged] = Path("elsewhere").iterdir()
    ok("restore", purged)
    assert mentions(NAME) == []
    assert mentions("bob", "unpacked") != []


def much_of_a_person() -> str:
    """Runs, bundles and versions of a person, found by name, by another name, by the registry; a run with others."""
    own = adapter_of(NAME)
    made_run("second", family="adapter", tags={"asr_lab.speaker": NAME}, table=scores("spk01", "spk01"))
    made_run("evaluated", tags={"asr_lab.kind": "evaluate"}, table=scores("spk01"))
    made_run("unmarked", register=f"deepspeech2-adapter-{NAME}")
    both = made_run("both", table=scores("bob", NAME, "spk01"))
    ok("archive", own, both, "--to", "bundles")
    return both


_STEPS = (
    "mark",
    "rewrite_bundles.rewrite_without",
    "scrub.scrub_artifacts",
    "archive.delete",
    "_delete_versions",
    "artifacts.remove",
    "Eraser.erase",
    "drop_names",
    "finish_record",
)


@pytest.mark.parametrize(("stop", "after"), [(step, 0) for step in _STEPS] + [("mark", 1), ("Eraser.erase", 2)])
def test_what_was_cut_off_is_finished(stop, after, monkeypatch):
    """`after` so many times that a step was done; what is found only by another name is found again."""
    import asr_lab.tracking.erasure.forget as module

    both = much_of_a_person()
    *place, name = stop.split(".")
    target = getattr(module, place[0]) if place else module
    real, left = getattr(target, name), [after]

    def cut_off(*arguments, **more):
        left[0] -= 1
        return real(*arguments, **more) if left[0] >= 0 else 1 / 0

    with monkeypatch.context() as patch:
        patch.setattr(target, name, cut_off)
        assert isinstance(run("forget", NAME, "--yes").exception, ZeroDivisionError)
    assert record().info.status == "RUNNING"
    ok("forget", NAME, "--yes")
    assert record().info.status == "FINISHED"
    assert all_run_ids() == {both, record().info.run_id}
    assert mentions(NAME) == mentions("spk01") == []


def test_what_a_server_leaves_is_erased_in_its_database(monkeypatch):
    both = much_of_a_person()
    with monkeypatch.context() as patch:
        patch.setattr("asr_lab.tracking.cleanup.erase.rows_of", lambda _: None)
        assert "not all is erased: rows of 5 runs" in refused("forget", NAME, "--yes")
    ok("forget", NAME, "--yes")
    assert all_run_ids() == {both, record().info.run_id}
    assert mentions(NAME) == mentions("spk01") == []


def test_every_bundle_of_a_run_is_found_and_those_moved_away_are_reported():
    own, both, moved = (
        adapter_of(NAME),
        made_run("both", table=scores("bob", NAME)),
        made_run("m", table=scores(NAME, "b")),
    )
    for folder in ("first", "second"):
        ok("archive", own, both, "--to", folder)
    ok("restore", own)  # it is not archived any more, and its bundles are still there
    ok("archive", moved, "--to", "first")
    assert client().get_run(both).data.tags["asr_lab.bundles"].splitlines() == [
        str(path.resolve()) for folder in ("second", "first") for path in Path(folder).glob("both*")
    ]
    mark = client().get_run(both).data.tags["asr_lab.archived"]
    [bundle] = Path("first").glob("m-*")
    Path("away").mkdir()
    bundle.rename(Path("away") / bundle.name)
    said = ok("forget", NAME, "--yes")
    assert "is not there" in said
    assert (
        sorted(path.name for folder in ("first", "second") for path in Path(folder).iterdir())
        == [f"both-{both[:8]}.tar.zst"] * 2
    )
    from asr_lab.tracking.archive import archive

    found = client().get_run(both).data.tags["asr_lab.archived"]
    assert archive.parse_mark(found)[0] == archive.parse_mark(mark)[0]
    with archive.local_copy(*archive.parse_mark(found)):
        pass
    ok("forget", NAME, "--bundles", "away", "--yes")
    for packed in Path().glob("*/*.tar.zst"):
        unpacked(packed)
    assert mentions(NAME, "unpacked") == []


def unpacked(packed: Path) -> None:
    from asr_lab.tracking.archive import bundle

    folder = Path("unpacked", packed.parent, packed.name)
    folder.mkdir(parents=True)
    bundle.extract(packed, folder)


def test_a_restored_run_knows_the_bundle_it_came_from():
    own = adapter_of(NAME)
    client().delete_registered_model(f"deepspeech2-adapter-{NAME}")
    ok("archive", own, "--to", "first")
    ok("archive", own, "--to", "second", "--purge", "--yes")
    ok("restore", next(Path("second").iterdir()))
    ok("forget", NAME, "--yes")
    assert not [*Path("first").iterdir(), *Path("second").iterdir()]


@pytest.mark.parametrize("name", ["김민수", "o'brien", 'ann "b"', NAME])
def test_spools_of_a_person_whatever_their_name(name):
    for place, form in enumerate((True, False)):
        Path("spool", f"own{place}").mkdir(parents=True)
        header = json.dumps({"tags": {"asr_lab.speaker": name}}, ensure_ascii=form)
        Path("spool", f"own{place}", "header.json").write_text(header, encoding="utf-8")
    for other in ("other", "tested", "figures"):
        Path("spool", other, "files", "1").mkdir(parents=True)
        Path("spool", other, "header.json").write_text(json.dumps({"tags": {"asr_lab.speaker": name + "2"}}))
    scores("bob", name).to_parquet("spool/tested/files/1/val.parquet")
    from asr_lab.metrics.catalog import in_a_name

    logged = {"kind": "metrics", "values": {f"val/wer_by_speaker/{in_a_name(name)}": 0.1}}
    Path("spool/figures/events.jsonl").write_text(json.dumps(logged, ensure_ascii=False), encoding="utf-8")
    said = ok("forget", name, "--yes")
    assert sorted(path.name for path in Path("spool").iterdir()) == ["figures", "other", "tested"]
    assert said.count("stays: not on the store yet") == 2
    assert not [line for line in said.splitlines() if "stays" in line and "spool/other" in line]


def test_comparisons_with_a_person_go_and_others_stay():
    own, base, other = adapter_of(NAME), made_run("base"), made_run("other")
    named, alike = made_run("named"), made_run("alike")
    log_comparison([own, base])
    log_comparison([other, alike], f"x{NAME}y")
    log_comparison([named], f"test/wer_by_speaker/{NAME}")
    ok("archive", base, "--to", "bundles")
    plan = json.loads(ok("forget", NAME, "--dry-run", "--format", "json"))
    told = {row["which"] for row in plan if row["then"] == "loses the comparison with them (compare/)"}
    assert told == {"base", "named"}
    ok("forget", NAME, "--yes")
    unpacked(next(Path("bundles").iterdir()))
    assert not list(Path("unpacked").rglob("compare"))
    has = {one for one in (base, other, named, alike) if client().list_artifacts(one, "compare")}
    assert has == {other, alike}
    assert {item.path for item in client().list_artifacts(base)} == {"config.yaml"}


def test_the_real_comparison_names_its_runs():
    own, base = adapter_of(NAME), made_run("base")
    ok("compare", own, base, "--log", "--metric", "val/wer")
    assert client().list_artifacts(base, "compare")
    ok("forget", NAME, "--yes")
    assert not client().list_artifacts(base, "compare")
    assert mentions(NAME) == []


def test_a_run_that_the_database_does_not_know_is_reported_before_anything_is_erased():
    first = adapter_of(NAME)
    shutil.copy("mlflow.db", "other.db")
    later = made_run("later", table=scores("bob", NAME))
    before = mentions(NAME)
    assert f"does not know run {later}" in refused(
        "forget", NAME, "--yes", "--backend-store-uri", f"sqlite:///{Path.cwd()}/other.db"
    )
    assert mentions(NAME) == before
    assert first in all_run_ids()
    assert client().get_experiment_by_name("forgotten") is None


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
