"""archive and restore as a user runs them: nothing is lost, nothing doubled, nothing broken let in."""

import io
import json
import math
import shutil
import tarfile
from pathlib import Path

import mlflow
import pyarrow as pa
import pytest
from conftest import ok, refused, run
from made import all_run_ids, client, made_run, scores
from mlflow.entities import Metric

pytestmark = pytest.mark.usefixtures("store")


@pytest.fixture
def full() -> str:
    """A run with all that a run can have: 1200 points of a metric, NaN, artifacts, a model, a dataset."""
    run_id = made_run("mine", points=1200, model=True, table=scores("ann", "bob"), days=5)
    client().log_batch(run_id, metrics=[Metric("odd", math.nan, 77, 1), Metric("odd", 2.0, 78, -1)])
    client().set_terminated(run_id, "FINISHED", 1_700_000_000_000)
    return run_id


def everything(run_id: str) -> dict:
    """All of a run that must survive, in a form that can be compared."""
    store = client()
    found = store.get_run(run_id)
    folder = Path(mlflow.artifacts.download_artifacts(f"runs:/{run_id}/"))
    [output] = found.outputs.model_outputs
    model = store.get_logged_model(output.model_id)
    weights = Path(mlflow.artifacts.download_artifacts(f"models:/{model.model_id}"))
    own = ("asr_lab.restored_from", "asr_lab.archived", "asr_lab.bundles")
    return {
        "info": (
            found.info.run_name,
            found.info.status,
            found.info.start_time,
            found.info.end_time,
            found.info.user_id,
        ),
        "params": found.data.params,
        "tags": {key: value for key, value in found.data.tags.items() if key not in own},
        "metrics": {
            name: sorted((one.step, one.timestamp, str(one.value)) for one in store.get_metric_history(run_id, name))
            for name in found.data.metrics
        },
        "data": [
            (*one.dataset.to_dictionary().items(), *((tag.key, tag.value) for tag in one.tags))
            for one in found.inputs.dataset_inputs
        ],
        "artifacts": contents(folder),
        "model": (model.name, model.model_type, model.params, str(model.status), model.tags["of"], output.step),
        "model metrics": [(one.key, one.value, one.timestamp, one.step) for one in model.metrics],
        "weights": contents(weights, but="registered_model_meta"),
    }


def contents(folder: Path, but: str = "") -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name != but
    }


def bundle_of(run_id: str, to: str = "bundles") -> Path:
    ok("archive", run_id, "--to", to)
    return Path(client().get_run(run_id).data.tags["asr_lab.archived"].split("#")[0])


def test_archived_and_back_by_the_mark(full):
    before = everything(full)
    bundle = bundle_of(full)
    location, digest = client().get_run(full).data.tags["asr_lab.archived"].split("#sha256=")
    assert Path(location) == bundle.resolve()
    assert len(digest) == 64
    assert "is no longer archived" in ok("restore", "mine")
    assert everything(full) == before
    assert "nothing to do" in ok("restore", "mine")
    assert "nothing to do" in ok("restore", bundle)
    assert all_run_ids() == {full}


def test_a_bundle_opens_with_tar_and_says_what_it_holds(full):
    bundle = bundle_of(full)
    with (
        pa.CompressedInputStream(pa.OSFile(str(bundle)), "zstd") as packed,
        tarfile.open(fileobj=io.BytesIO(packed.read())) as tar,
    ):
        names = tar.getnames()
        manifest = json.loads(tar.extractfile("manifest.json").read())
    assert names[0] == "run.json"
    assert names[-1] == "manifest.json"
    assert set(manifest["members"]) == set(names) - {"manifest.json"}
    assert {"metrics.parquet", "artifacts/config.yaml", "artifacts/eval/val.html"} <= set(names)
    assert any(name.startswith("models/m-") and name.endswith("/files/MLmodel") for name in names)


def test_after_a_purge_all_of_it_comes_back_and_twice_is_once(full):
    before = everything(full)
    said = ok("archive", full, "--to", "bundles", "--purge", "--yes")
    assert all_run_ids() == set()
    [bundle] = Path("bundles").iterdir()
    assert "1 run erased" in said
    assert "restored" in ok("restore", bundle)
    [again] = all_run_ids()
    assert again != full
    assert everything(again) == before
    assert "nothing to do" in ok("restore", bundle)
    assert "nothing to do" in ok("restore", full)  # by its old id
    assert all_run_ids() == {again}
    model = client().get_run(again).outputs.model_outputs[0].model_id
    assert mlflow.pyfunc.load_model(f"models:/{model}").predict([1]) == [1]


ROWS_OF = "asr_lab.tracking.cleanup.erase.rows_of"


@pytest.mark.parametrize("rows", [True, False], ids=["database", "server"])
@pytest.mark.parametrize("stop", ["archive.purge.mark", "artifacts.delete", "cleanup.erase.erase_local", "finished"])
def test_a_purge_that_was_cut_off_is_finished(full, stop, rows, monkeypatch):
    before, other = everything(full), made_run("other", model=True)
    command = ("archive", full, other, "--to", "bundles", "--purge", "--yes")
    with monkeypatch.context() as server:
        if not rows:  # as through a tracking server, which offers no way to erase them
            server.setattr(ROWS_OF, lambda _: None)
        if stop == "finished":
            assert rows != ("their rows are only hidden" in ok(*command))
        else:
            with monkeypatch.context() as patch:
                patch.setattr(f"asr_lab.tracking.{stop}", lambda *_, **__: 1 / 0)
                assert isinstance(run(*command).exception, ZeroDivisionError)
        [mine] = Path("bundles").glob("mine*")
        kept = mine.read_bytes()
        ok(*command)
    if stop != "archive.purge.mark":  # what is in its bundle, and half erased, is not packed again
        assert mine.read_bytes() == kept
    assert not list(Path("mlruns").rglob("MLmodel"))
    if not rows:
        assert {client().get_run(one).info.lifecycle_stage for one in (full, other)} == {"deleted"}
        ok("cleanup", "--purge", "--yes")  # in the server's database
    assert all_run_ids() == set()
    assert "erased from the store before; it is in" in ok(*command)
    ok("restore", mine)
    [again] = all_run_ids()
    assert everything(again) == before


def test_cleanup_finishes_a_purge_too_and_half_erased_runs_are_not_packed(full, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("asr_lab.tracking.artifacts.delete", lambda *_, **__: 1 / 0)
        run("archive", full, "--to", "bundles", "--purge", "--yes")
    [bundle] = Path("bundles").iterdir()
    content = bundle.read_bytes()
    assert "archive --purge" in refused("archive", full, "--to", "bundles")
    assert "some of mine is erased" in refused("restore", full)
    ok("cleanup", "--purge", "--yes")
    assert all_run_ids() == set()
    assert bundle.read_bytes() == content


def test_what_is_half_erased_is_never_packed_over_its_bundle(full, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(ROWS_OF, lambda _: None)
        patch.setattr("asr_lab.tracking.cleanup.erase.erase_local", lambda *_: 1 / 0)
        run("archive", full, "--to", "bundles", "--purge", "--yes")
    [bundle] = Path("bundles").iterdir()
    content = bundle.read_bytes()
    assert "erased already" in refused("archive", full, "--to", "bundles")
    assert bundle.read_bytes() == content


def test_another_database_than_the_runs_is_reported_before_anything_is_done(full):
    shutil.copy("mlflow.db", "other.db")
    later = made_run("later")
    said = refused(
        "archive", later, "--to", "b", "--purge", "--yes", "--backend-store-uri", f"sqlite:///{Path.cwd()}/other.db"
    )
    assert "does not know run" in said
    assert not Path("b").exists()
    assert "asr_lab.cleanup" not in client().get_run(later).data.tags


def test_files_out_of_reach_are_not_packed_as_if_there_were_none(full):
    Path("mlruns").rename("unmounted")
    assert "out of reach" in refused("archive", full, "--to", "bundles")
    assert not list(Path().glob("bundles/*"))
    assert "asr_lab.archived" not in client().get_run(full).data.tags
    Path("unmounted").rename("mlruns")
    models = next(Path("mlruns").glob("*/models"))
    models.rename("unmounted")
    assert "out of reach" in refused("archive", full, "--to", "bundles")


def test_into_another_store(full, tmp_path, monkeypatch):
    before, bundle = everything(full), bundle_of(full).resolve()
    other = tmp_path / "other"
    other.mkdir()
    monkeypatch.chdir(other)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}/mlflow.db")
    ok("restore", bundle)
    [again] = all_run_ids()
    assert everything(again) == before
    client().delete_run(again)
    assert "no longer deleted" in ok("restore", bundle)
    assert all_run_ids() == {again}


@pytest.mark.parametrize(
    "stop", ["log_inputs", "log_artifacts", "log_model_artifacts", "log_outputs", "set_terminated"]
)
def test_a_restoring_that_was_cut_off_is_finished(full, stop, monkeypatch):
    before = everything(full)
    ok("archive", full, "--to", "bundles", "--purge", "--yes")
    [bundle] = Path("bundles").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, stop, lambda *_, **__: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            raise run("restore", bundle).exception
    [half] = all_run_ids()
    assert client().get_run(half).info.status == "RUNNING"
    assert "finished" in ok("restore", bundle)
    assert all_run_ids() == {half}
    assert everything(half) == before
    assert len(client().search_logged_models([client().get_run(half).info.experiment_id])) == 1


def half_restored(bundle: Path, monkeypatch) -> str:
    """A run of which the restoring was cut off near its end; its id."""
    with monkeypatch.context() as patch:
        patch.setattr(mlflow.MlflowClient, "set_terminated", lambda *_, **__: 1 / 0)
        run("restore", bundle)
    [half] = all_run_ids()
    return half


def test_nobody_takes_a_half_restored_run_for_one_that_was_cut_off(monkeypatch):
    from asr_lab.interfaces.tracking import RunSpec
    from asr_lab.system.processes import process_mark
    from asr_lab.tracking import orphans

    gone = process_mark().split("|")[0] + "|999999999|1"
    tags = {"asr_lab.process": gone, "asr_lab.signature": "s1"}
    run_id = made_run("mine", days=9, status="FAILED", tags=tags)
    ok("archive", run_id, "--to", "bundles", "--purge", "--yes")
    [bundle] = Path("bundles").iterdir()
    half = half_restored(bundle, monkeypatch)
    assert not tags.keys() & client().get_run(half).data.tags.keys()
    for key, value in tags.items():  # as another version may have left it
        client().set_tag(half, key, value)
    spec = RunSpec(
        family="deepspeech2", kind="train", model_type="", name="", signature="s1", params={}, config_yaml=""
    )
    orphans.close_unstarted(client())
    assert orphans.find_on_store(client(), spec, own=False) == ""
    assert client().get_run(half).info.status == "RUNNING"
    for what in (["--stale-running"], ["--pattern", "mine"], ["--failed", "--stale-running", "--purge"]):
        ok("cleanup", *what, "--yes")
    assert client().get_run(half).info.lifecycle_stage == "active"
    assert "being restored" in ok("cleanup", "--pattern", "mine", "--dry-run")
    assert "half restored" in refused("restore", half)
    ok("restore", bundle)
    found = client().get_run(half)
    assert found.info.status == "FAILED"
    assert tags.items() <= found.data.tags.items()


def test_a_half_restored_run_that_nobody_finishes_can_go(full, monkeypatch):
    from asr_lab.system.processes import process_mark

    ok("archive", full, "--to", "bundles", "--purge", "--yes")
    half = half_restored(next(Path("bundles").iterdir()), monkeypatch)
    client().set_tag(half, "asr_lab.restoring", process_mark().split("|")[0] + "|999999999|1")
    assert "half restored" in ok("cleanup", "--pattern", "mine", "--dry-run")
    ok("cleanup", "--stale-running", "--purge", "--yes")
    assert all_run_ids() == set()


def test_a_deleted_run_comes_back_from_its_bundle_as_itself(full):
    bundle = bundle_of(full)
    ok("restore", full)
    client().delete_run(full)
    assert "is no longer deleted" in ok("restore", bundle)
    assert all_run_ids() == {full}


def test_parent_and_child_find_each_other_again():
    parent = made_run("sweep")
    child = made_run("trial", parent=parent)
    ok("archive", parent, child, "--to", "bundles", "--purge", "--yes")
    bundles = {path.name.split("-")[0]: path for path in Path("bundles").iterdir()}
    ok("restore", bundles["trial"], bundles["sweep"])
    made = {client().get_run(id).info.run_name: id for id in all_run_ids()}
    assert client().get_run(made["trial"]).data.tags["mlflow.parentRunId"] == made["sweep"]


def test_a_registered_run_is_archived_with_its_name_but_not_purged():
    run_id = made_run("mine", register="deepspeech2")
    assert "registered as deepspeech2/1 @champion" in refused("archive", "mine", "--to", "b", "--purge", "--yes")
    assert not Path("b").exists()
    bundle = bundle_of(run_id)
    client().delete_registered_model("deepspeech2")
    ok("cleanup", "--family", "deepspeech2", "--purge", "--yes")  # archived: untouched
    ok("restore", run_id)
    ok("cleanup", "--family", "deepspeech2", "--purge", "--yes")
    assert "it was registered as deepspeech2/1 @champion" in ok("restore", bundle)


def test_a_run_that_runs_is_not_archived():
    made_run("mine", status="RUNNING")
    assert "RUNNING" in refused("archive", "mine", "--to", "bundles")
    assert not list(Path().glob("bundles/*"))


def test_no_rights_where_the_bundles_go(full, monkeypatch):
    Path("taken").write_text("a file")
    assert "cannot be archived: File exists" in refused("archive", full, "--to", "taken")
    assert "asr_lab.archived" not in client().get_run(full).data.tags


def repacked(bundle: Path, *, change=None, add=()) -> Path:
    """A copy of a bundle, with members changed (name, bytes -> bytes) or added (TarInfo, bytes)."""
    made = bundle.with_name("repacked.tar.zst")
    with (
        pa.CompressedInputStream(pa.OSFile(str(bundle)), "zstd") as packed,
        tarfile.open(fileobj=io.BytesIO(packed.read())) as old,
        pa.CompressedOutputStream(pa.OSFile(str(made), "wb"), "zstd") as out,
        tarfile.open(fileobj=out, mode="w|") as new,
    ):
        for info, content in add:
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
        for info in old.getmembers():
            content = old.extractfile(info).read()
            content = change(info.name, content) if change else content
            info.size = len(content)
            new.addfile(info, io.BytesIO(content))
    return made


def link(name: str, to: str, kind: bytes) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, to
    return info


def bad_bundles(good: Path):
    yield "not what the manifest says", repacked(good, change=lambda name, old: b"!" if "config" in name else old)
    yield "not what the manifest says", repacked(good, add=[(tarfile.TarInfo("artifacts/more"), b"x")])
    for name in ("../evil", "artifacts/../../evil", "/tmp/evil", "artifacts\\..\\evil", "./evil"):
        yield "would leave its place", repacked(good, add=[(tarfile.TarInfo(name), b"x")])
    yield "not a plain file", repacked(good, add=[(link("artifacts/l", "/etc/passwd", tarfile.SYMTYPE), b"")])
    yield "not a plain file", repacked(good, add=[(link("artifacts/h", "run.json", tarfile.LNKTYPE), b"")])
    yield "twice", repacked(good, add=[(tarfile.TarInfo("run.json"), b"{}")])
    yield "of format", repacked(good, change=lambda name, old: b"{}" if name == "manifest.json" else old)
    yield "not is not", repacked(good, change=lambda name, old: b"]" if name == "manifest.json" else old)
    cut = good.with_name("cut.tar.zst")
    for share in (0.0, 0.2, 0.9, 0.999):
        cut.write_bytes(good.read_bytes()[: int(good.stat().st_size * share)])
        yield "is not whole", cut
    cut.write_bytes(b"no bundle at all")
    yield "is not whole", cut
    yield "no such bundle", good.with_name("missing.tar.zst")


def test_bad_bundles_are_refused_and_change_nothing(full, tmp_path):
    ok("archive", full, "--to", "bundles", "--purge", "--yes")
    [bundle] = Path("bundles").iterdir()
    before = {path: path.stat().st_mtime for path in tmp_path.parent.rglob("evil*")}
    for message, bad in bad_bundles(bundle):
        said = refused("restore", bad)
        assert message.replace("not is not", "JSON") in said, (message, said)
        assert all_run_ids() == set()
        bad.unlink(missing_ok=True)
    assert {path: path.stat().st_mtime for path in tmp_path.parent.rglob("evil*")} == before
    ok("restore", bundle)


def test_another_bundle_in_the_place_of_the_archived_one_is_reported(full):
    other = made_run("other")
    first, second = bundle_of(full), bundle_of(other)
    shutil.copy(second, first)
    from asr_lab.errors import AsrLabError
    from asr_lab.tracking.archive.archive import local_copy, parse_mark

    tag = client().get_run(full).data.tags["asr_lab.archived"]
    with pytest.raises(AsrLabError, match="checksum"), local_copy(*parse_mark(tag)):
        pass
