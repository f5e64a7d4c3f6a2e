"""Every command and the notebook functions take the same run for a word, or refuse it alike."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import ok, refused, run
from empty_store import empty_store
from made import client, made_run

from asr_lab.errors import AsrLabError

ODD = 'it\'s 100%_"q"'


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Name -> id, in a store whose runs have the ids that the words below are about."""
    folder = tmp_path_factory.mktemp("named")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", empty_store(folder / "mlflow.db"))
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        made = {name: made_run(name) for name in ("first", "second", ODD, "pair-one", "pair-two", "removed", "left")}
        made["twin 1"], made["twin 2"] = made_run("twin"), made_run("twin")
        made["called"] = made_run(made["second"][:8])
        made["restored"] = made_run("restored", tags={"asr_lab.restored_from": f"{'abcd' * 8} sha256:0"})
        made["alike 1"] = made_run("alike 1", tags={"asr_lab.restored_from": f"{'1234' * 8} sha256:0"})
        made["alike 2"] = made_run("alike 2", tags={"asr_lab.restored_from": f"{'1234' * 4}{'5' * 16} sha256:0"})
        client().delete_run(made["removed"])
        yield made


def words(runs: dict[str, str]) -> dict[str, str]:
    """What is typed -> the run that is meant, or the error's kind."""
    return {
        runs["first"]: "first",
        "first": "first",
        runs["first"][:8]: "first",
        runs["first"][:1]: "RunNotFoundError",
        runs["first"][:3]: "RunNotFoundError",
        "IRS": "first",
        "fir*": "first",
        "pair": "AmbiguousRunError",
        "twin": "AmbiguousRunError",
        "1234": "AmbiguousRunError",
        "abcd": "restored",
        "abcd" * 8: "restored",
        runs["second"][:8]: "called",
        runs["second"][:9]: "second",
        ODD: ODD,
        "100%_": ODD,
        "%": ODD,
        "removed": "DeletedRunError",
        runs["removed"]: "DeletedRunError",
        "godo": "RunNotFoundError",
    }


def test_the_finder_and_the_notebook_agree(runs):
    from asr_lab.tracking import curves
    from asr_lab.tracking.queries.find import find_each, find_run

    for word, meant in words(runs).items():
        for find in (lambda word: find_run(word).info.run_id, lambda word: curves([word], ["val/wer"])["run"][0]):
            if meant.endswith("Error"):
                with pytest.raises(AsrLabError) as raised:
                    find(word)
                assert type(raised.value).__name__ == meant, word
            else:
                assert find(word) in (runs[meant], client().get_run(runs[meant]).info.run_name), word
    several = find_each(["first", "left", runs["first"]])
    assert [run.info.run_id for run in several] == [runs["first"], runs["left"]]


@pytest.mark.parametrize(
    "command",
    [
        ("show", "WORD"),
        ("keep", "WORD"),
        ("note", "WORD", "text"),
        ("register", "WORD", "--name", "x"),
        ("reproduce", "WORD"),
        ("compare", "WORD"),
        ("compare", "left", "--vs", "WORD"),
        ("compare", "left", "WORD", "--utterances"),
        ("pool", "WORD", "--data", "x.jsonl.gz"),
        ("archive", "WORD", "--to", "bundles"),
        ("archive", "WORD", "--to", "bundles", "--purge", "--yes"),
        ("restore", "WORD"),
        ("archive", "WORD", "--to", "bundles", "--dry-run"),
        ("restore", "WORD", "--dry-run"),
        ("register", "WORD", "--name", "x", "--dry-run"),
    ],
    ids=" ".join,
)
def test_every_command_refuses_alike(command, runs):
    from asr_lab.tracking.queries.find import find_run

    before = {id: client().get_run(id).data.tags for id in runs.values()}
    for word, meant in words(runs).items():
        if not meant.endswith("Error") or (command[0] == "restore" and meant == "DeletedRunError"):
            continue
        with pytest.raises(AsrLabError) as raised:
            find_run(word)
        said = refused(*(word if part == "WORD" else part for part in command))
        assert raised.value.what in said, word
        if meant != "RunNotFoundError":
            assert raised.value.next_command in said
    assert {id: client().get_run(id).data.tags for id in runs.values()} == before


def test_every_command_takes_the_same_run(runs):
    for word, meant in words(runs).items():
        if meant.endswith("Error"):
            continue
        name = client().get_run(runs[meant]).info.run_name
        assert runs[meant] in ok("show", word)
        assert f"{name}: noted" in ok("note", word, f"as {word}")
        assert f"{name}: kept" in ok("keep", word)
        assert f"{name}: " in ok("archive", word, "--to", "bundles")
        assert f"{name} ({runs[meant][:8]}) is no longer archived" in ok("restore", word)
        assert f"run {runs[meant][:8]} logged no model" in refused("register", word, "--name", "x")
        rows, _ = json.JSONDecoder().raw_decode(ok("compare", word, "left", "--format", "json"))
        assert {row["run"] for row in rows} == {name, "left"}
        assert client().get_run(runs[meant]).data.tags["mlflow.note.content"].endswith(f"as {word}")
    kept = {name for name, id in runs.items() if "asr_lab.keep" in client().get_run(id).data.tags}
    assert kept == {meant for meant in words(runs).values() if not meant.endswith("Error")}


def test_what_is_erased_is_named_before(runs):
    from asr_lab.cli import cli

    ids = [made_run(f"many-{number}") for number in range(8)]
    answered = CliRunner().invoke(cli, ["archive", *ids, "--to", "bundles", "--purge"], input="n\n")
    assert answered.exit_code == 1
    assert all(f"many-{number} ({ids[number][:8]})" in answered.output for number in range(5))
    assert "and 3 more" in answered.output
    assert "8 runs" in answered.output
    answered = CliRunner().invoke(cli, ["archive", "many-7", "--to", "bundles", "--purge"], input="n\n")
    assert f"many-7 ({ids[7][:8]})" in answered.output
    assert "1 run," in answered.output
    answered = CliRunner().invoke(cli, ["cleanup", "--pattern", "many-7"], input="n\n")
    assert f"delete many-7 ({ids[7][:8]}) (1 run," in answered.output
    assert not list(Path("bundles").glob("many*"))
    assert all(client().get_run(id).info.lifecycle_stage == "active" for id in ids)


def dump() -> list[str]:
    """Everything in the database of the working folder."""
    with closing(sqlite3.connect("mlflow.db")) as database:
        return list(database.iterdump())


def test_what_will_happen_is_shown_by_name_before_it_does(runs):
    one, other = made_run("plan-one", model=True, register="planned"), made_run("plan-two", model=True)
    made_run("plan-john", tags={"asr_lab.speaker": "joanna"})
    client().delete_run(other)
    bundle = ok("archive", "left", "--to", "plans").split(": ")[-1].split(",")[0]
    before = dump()
    for command, *shown in (
        (("archive", "plan-one", "--to", "plans"), f"plan-one ({one[:8]}) -> ", "plans/plan-one"),
        (("archive", "plan-john", "--to", "plans", "--purge"), "plan-john (", "erased from the store"),
        (("restore", "plan-two", bundle), f"plan-two ({other[:8]}) will no longer be deleted", "left (", "archived"),
        (("register", "plan-one", "--name", "fresh"), f"plan-one ({one[:8]}) becomes a new version of fresh", "champ"),
        (("register", one, "--name", "planned"), f"plan-one ({one[:8]}) is planned/1 already"),
        (("register", "plan-one", "--name", "fresh", "--merged"), "with any adapters merged"),
        (("promote", "planned", "--alias", "candidate"), "models:/planned/1 (plan-one) for @candidate"),
        (("forget", "joanna"), "plan-john ("),
        (("cleanup", "--pattern", "plan-john"), "plan-john"),
    ):
        said = ok(*command, "--dry-run")
        assert all(part in said for part in shown), said
        assert dump() == before, command
    assert [path.name for path in Path("plans").iterdir()] == [Path(bundle).name]
    assert f"plan-one ({one[:8]}) becomes" in ok("register", "plan-one", "--name", "fresh")
    assert "(plan-one) for @champion, now models:/fresh/1 (plan-one)" in run("promote", "fresh").output


def test_of_several_words_one_that_is_refused_stops_all(runs):
    good, running = made_run("several-good"), made_run("several-running", status="RUNNING")
    deleted = made_run("several-deleted")
    client().delete_run(deleted)
    before = dump()
    refused("archive", good, running, "--to", "stops")
    refused("archive", good, "pair", "--to", "stops")
    refused("restore", deleted, "nowhere.tar.zst")
    refused("restore", deleted, "pair")
    refused("keep", good, "pair")
    refused("compare", good, "pair")
    refused("pool", good, "pair", "--data", "x.jsonl.gz")
    assert dump() == before
    assert not Path("stops").exists()


def test_a_file_called_like_a_run_is_no_bundle(runs):
    hidden = made_run("likewise")
    client().delete_run(hidden)
    Path("likewise").write_text("no bundle")
    assert "is no longer deleted" in ok("restore", "likewise")
    assert "not whole" in refused("restore", "./likewise")


def test_bundles_of_two_runs_of_a_name_are_distinguished(runs):
    first, second = made_run("namesake"), made_run("namesake")
    ok("archive", first, second, "--to", "namesakes", "--purge", "--yes")
    said = refused("archive", "namesake", "--to", "namesakes", "--purge", "--yes")
    assert first[:8] in said
    assert second[:8] in said
    assert first[:8] in ok("archive", first, "--to", "namesakes", "--purge", "--yes")


@pytest.mark.parametrize("alias", ["latest", "Latest", "v1", "V22", "", "with space", "a/b", "x" * 256, "@champion"])
def test_an_alias_that_no_version_can_have_is_refused_before_all_else(alias, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")  # is not even asked
    said = refused("promote", "nothing", "--alias", alias, "--data", "nowhere.jsonl.gz")
    assert f"no version can have the alias {alias!r}" in said


def test_what_is_only_in_its_bundle_is_no_part_of_another_name(runs):
    first, second = made_run("solo"), made_run("solo-again")
    ok("archive", first, "--to", "bundles", "--purge", "--yes")
    assert "erased from the store before" in ok("archive", "solo", "--to", "bundles", "--purge", "--yes")
    assert client().get_run(second).info.lifecycle_stage == "active"
