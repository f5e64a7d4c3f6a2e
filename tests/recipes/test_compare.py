"""list, show and compare as a user runs them, on runs whose utterances are known."""

import contextlib
import io
import json
import re
import socket
import urllib.parse

import pandas as pd
import pytest
from browser import drawn, needs_chromium
from click.testing import CliRunner
from conftest import artifacts, ok, refused, run
from empty_store import empty_store
from made import made_run
from servers import KINDS, tracking_store

from asr_lab.errors import AsrLabError

WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "the", "dog", "ran", "far", "away"]
REFERENCES = {f"u{i:02d}": " ".join(WORDS[i % 6 : i % 6 + 4]) for i in range(60)}
IDS: dict[str, str] = {}


def make_run(
    name, *, wrong, family="deepspeech2", kind="train", params=None, data="d" * 16, text="nfc-lower", parent="",
    table=True, end=True, speaker="",
):  # fmt: skip
    """A finished run that got the first word of the first `wrong` utterances wrong; its id."""
    from asr_lab.interfaces.tracking import Dataset, RunSpec
    from asr_lab.metrics import error_rates
    from asr_lab.tracking.tracker import MlflowTracker

    hypotheses = {
        id: "fog " + said.split(" ", 1)[1] if number < wrong else said
        for number, (id, said) in enumerate(REFERENCES.items())
    }
    scores = error_rates.score(REFERENCES, hypotheses)
    spec = RunSpec(
        family=family, kind=kind, model_type=family, name=name, signature=f"s-{name}", config_yaml="recipe: x\n",
        params={"recipe": "deepspeech2", "train.lr": 0.001, "train.epochs": 10, "run.seed": 0, "run.name": name}
        | (params or {}),
        tags={"asr_lab.text": text} | ({"asr_lab.speaker": speaker} if speaker else {}), parent=parent,
    )  # fmt: skip
    run = MlflowTracker(new_run=True).start(spec)
    run.dataset(Dataset("lab/test", "test", data, "test.jsonl.gz", 60, 0.1))
    for step, loss in enumerate((3.0, 2.0, 1.0)):
        run.metrics({"train/loss": loss, "val/wer": error_rates.wer(scores) + loss / 100}, step)
    run.metrics({"test/wer": error_rates.wer(scores), "test/cer": error_rates.cer(scores)})
    if table:
        run.table(scores, "eval/test.parquet")
    if end:
        run.finish("FINISHED")
    else:
        run.tags({"asr_lab.process": _dead()})
        run._part()  # what it recorded is shipped, and it says no more
    IDS[name] = run.run_id
    return run.run_id


@pytest.fixture(scope="module")
def lab(tmp_path_factory):
    """A store with runs of known utterances: two alike, one worse, and those that cannot be compared."""
    folder = tmp_path_factory.mktemp("lab")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", empty_store(folder / "mlflow.db"))
        patch.delenv("MLFLOW_RUN_ID", raising=False)
        make_run("good", wrong=5, params={"train.lr": 0.01})
        make_run("alike", wrong=6, params={"train.lr": 0.02})
        make_run("bad", wrong=40, params={"train.lr": 0.03})
        make_run("elsewhere", wrong=1, data="e" * 16)
        make_run("othertext", wrong=1, text="raw")
        make_run("notable", wrong=2, table=False)
        make_run("김철수", wrong=7, family="adapter", speaker="김철수")
        sweep = make_run("sweep", wrong=9, kind="sweep")
        for number in range(3):
            make_run(f"trial{number}", wrong=10 + number, kind="trial", parent=sweep, params={"train.epochs": number})
        reproduced = make_run("again", wrong=5, parent=sweep)
        for seed in range(4):
            for lr in (0.1, 0.2):
                make_run(f"seeded{seed}-{lr}", wrong=int(lr * 100) + seed, params={"train.lr": lr, "run.seed": seed})
        make_run("evil<script>alert(1)</script>|*[bold]x", wrong=8)
        import mlflow

        client = mlflow.MlflowClient()
        client.set_tag(make_run("shelved", wrong=3), "asr_lab.archived", "s3://x/y")
        client.set_tag(make_run("cherished", wrong=4), "asr_lab.keep", "thesis")
        make_run("orphan", wrong=4, end=False)
        client.delete_run(make_run("removed", wrong=4))
        assert reproduced
    return folder


def _dead():
    import socket

    return f"{socket.gethostname()}|999999|1"


@pytest.fixture(autouse=True)
def _in_the_lab(lab, monkeypatch, request):
    import mlflow

    if "store" in request.fixturenames:
        return
    monkeypatch.chdir(lab)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{lab}/mlflow.db")
    monkeypatch.delenv("MLFLOW_RUN_ID", raising=False)
    mlflow.set_tracking_uri(f"sqlite:///{lab}/mlflow.db")


def called(name):
    return f"{name}-{IDS[name][:8]}"


def rows(*arguments):
    """What a command prints as JSON, by the runs' plain names."""
    from asr_lab.cli import cli

    result = CliRunner().invoke(cli, [*arguments, "--format", "json"])
    assert result.exit_code == 0, result.output
    return {re.sub(r"-[0-9a-f]{8}$", "", row["run"]): row for row in json.loads(result.stdout)}


THREE = ("good", "alike", "bad")


def three():
    return [IDS[name] for name in THREE]


def test_a_difference_is_distinguished_from_chance():
    said = ok("compare", *three(), "--metric", "test/wer")
    assert f"best test/wer: {called('good')}" in said
    assert f"significantly worse than {called('good')} in test/wer: {called('bad')}" in said
    assert f"no winner is called, too few utterances differ to tell (1): {called('alike')}" in said
    found = rows("compare", *three(), "--metric", "test/wer")
    assert list(found) == ["good", "alike", "bad"]  # best first
    assert found["bad"]["difference"] == pytest.approx(35 / 240)
    assert found["bad"]["low"] < 35 / 240 < found["bad"]["high"]
    assert found["bad"]["p"] < 0.01
    assert found["alike"]["p"] > 0.5
    assert found["good"]["p"] is None


def test_any_run_can_be_what_is_compared_with():
    found = rows("compare", IDS["good"], IDS["bad"], "--metric", "test/cer", "--vs", called("bad"))
    assert found["good"]["difference"] < 0
    found = rows("compare", IDS["good"], IDS["alike"], "--metric", "test/wer", "--vs", IDS["bad"])
    assert set(found) == set(THREE)  # it is among them though it was not named
    said = ok("compare", *three(), "--metric", "test/wer", "--vs", called("bad"))
    assert f"significantly better than {called('bad')} in test/wer: {called('good')}, {called('alike')}" in said


def test_only_what_differs_is_shown():
    found = rows("compare", *three())
    assert set(found["good"]) >= {"run", "train.lr", "val/wer", "test/wer"}
    assert not {"train.epochs", "run.seed", "run.name"} & set(found["good"])


def test_what_another_family_does_not_know_is_no_difference():
    import mlflow

    make_run("adapted", wrong=3, family="adapter", params={"adapter.form": "plain", "train.lr": 0.5})
    found = rows("compare", IDS["good"], IDS["adapted"])
    assert found["adapted"]["train.lr"] == "0.5"  # both have it
    assert "adapter.form" not in found["adapted"]
    found = rows("compare", IDS["good"], IDS["adapted"], IDS["김철수"])
    assert "adapter.form" not in found["adapted"]  # another of its family has none: it may be older than the key
    mlflow.MlflowClient().delete_run(IDS["adapted"])


@pytest.mark.parametrize(("name", "why"), [("elsewhere", "data (test)"), ("othertext", "text normalisation")])
def test_no_winner_across_data_or_text(name, why):
    said = ok("compare", IDS["good"], IDS[name], "--metric", "test/wer")
    assert f"evaluated on different {why}" in said
    assert "best test/wer" not in said
    refusal = refused("compare", IDS["good"], IDS[name], "--metric", "test/wer", "--vs", "best")
    assert "no best run to compare with" in refusal
    said = ok("compare", IDS["good"], IDS["bad"], IDS[name], "--metric", "test/wer", "--vs", IDS["good"])
    assert f"no winner is called, evaluated on different {why}: {called(name)}" in said
    assert f"significantly worse than {called('good')}" in said


def test_a_metric_is_assessed_by_its_own_split():
    """Other test data says nothing about val/wer."""
    said = ok("compare", IDS["good"], IDS["elsewhere"], "--metric", "val/wer")
    assert f"best val/wer: {called('elsewhere')}" in said


def test_a_run_without_utterances_is_said():
    said = ok("compare", IDS["good"], IDS["notable"], IDS["bad"], "--metric", "test/wer", "--vs", IDS["good"])
    assert f"no winner is called, it has no utterances of test: {called('notable')}" in said
    assert "no significance" in ok("compare", IDS["good"], IDS["notable"], "--metric", "test/wer")
    assert "no utterances of test" in refused(
        "compare", IDS["good"], IDS["notable"], "--metric", "test/wer", "--vs", "best"
    )


def test_a_table_that_was_cut_off_is_said(lab, tmp_path):
    import mlflow

    run_id = make_run("cut", wrong=1)
    file = next(lab.rglob(f"{run_id}/artifacts/eval/test.parquet"))
    file.write_bytes(file.read_bytes()[:200])
    said = ok("compare", IDS["bad"], run_id, "--metric", "test/wer", "--vs", IDS["bad"])
    assert "cannot be read" in said
    mlflow.MlflowClient().delete_run(run_id)


def test_runs_without_the_metric_are_named():
    said = refused("compare", *three(), "--metric", "test/werr")
    assert "did you mean 'test/wer'" in said
    assert "have no interval" in refused("compare", *three(), "--metric", "train/loss", "--vs", "best")


def test_seeds_are_folded():
    found = ok("compare", "--pattern", "seeded*", "--group-by", "train.lr", "--metric", "test/wer", "--format", "json")
    table = pd.DataFrame(json.loads(found[: found.rindex("]") + 1])).set_index("train.lr")
    assert table["n"].to_dict() == {"0.1": 4, "0.2": 4}
    expected = pd.Series([(10 + seed) / 240 for seed in range(4)])
    assert table.loc["0.1", "test/wer"] == pytest.approx(expected.mean())
    assert table.loc["0.1", "test/wer_std"] == pytest.approx(expected.std())
    said = ok("compare", "--pattern", "seeded*", "--group-by", "train.lr", "--metric", "test/wer")
    assert "4.8% ± 0.5%" in said
    assert "best mean test/wer: train.lr=0.1" in said
    assert "more than the seed" not in said
    assert "more than the seed: train.lr" in ok("compare", "--pattern", "seeded*", "--group-by", "train.epochs")
    assert "did you mean 'train.lr'" in refused("compare", "--pattern", "seeded*", "--group-by", "train.lrr")


def test_a_mean_of_fewer_runs_says_so(lab):
    import mlflow

    for seed in range(3):
        run_id = make_run(f"holey{seed}", wrong=5, params={"run.seed": seed, "train.lr": 0.5})
        if seed < 2:
            mlflow.MlflowClient().log_metric(run_id, "val/cer", 0.1)
    said = ok("compare", "--pattern", "holey", "--group-by", "train.lr", "--log")
    assert "means of fewer than n runs: val/cer of 0.5 (2 of 3)" in said
    assert artifacts(IDS["holey0"], "compare") == {"compare/table.csv", "compare/curves.png"}  # groups have no page


def test_runs_that_are_equally_good_are_all_named():
    make_run("twin", wrong=5, params={"train.lr": 0.77})
    said = ok("compare", IDS["good"], IDS["twin"], IDS["bad"], "--metric", "test/wer")
    assert re.search(rf"best test/wer: ({called('good')}, {called('twin')}|{called('twin')}, {called('good')})", said)


def test_the_best_of_many_was_chosen_and_is_tested_as_such():
    """Against a run that was named p is Holm's; against the best, any pair might have been the tested one."""
    runs = [*three(), IDS["cherished"]]
    named = rows("compare", *runs, "--metric", "test/wer", "--vs", IDS["cherished"])
    chosen = rows("compare", *runs, "--metric", "test/wer", "--vs", "best")
    assert chosen["alike"]["p"] == 1.0
    assert chosen["bad"]["p"] == pytest.approx(2 * named["bad"]["p"])  # k / 2 of four runs


def test_utterances_side_by_side():
    said = ok("compare", IDS["bad"], IDS["good"], "--utterances", "--metric", "test/wer", "--limit", "3")
    assert "35 better, 0 worse, 25 equal, of 60 utterances" in said
    assert "test/wer 16.7% -> 2.1%, difference -14.6%" in said
    block = said.split("better")[1].splitlines()
    assert block[1].split()[1:] == REFERENCES["u05"].split()
    assert "fog" in block[2]
    assert "32 more changed" in said
    result = ok("compare", IDS["bad"], IDS["good"], "--utterances", "--metric", "test/wer", "--format", "csv")
    assert len(result.splitlines()) == 61
    assert "different data (test)" in refused(
        "compare", IDS["elsewhere"], IDS["good"], "--utterances", "--metric", "test/wer"
    )
    without_metric = ok("compare", IDS["bad"], IDS["good"], "--utterances")  # val decides, only test was scored
    assert "test/wer 16.7% -> 2.1%" in without_metric
    assert "no utterances of test" in refused(
        "compare", IDS["notable"], IDS["good"], "--utterances", "--metric", "test/wer"
    )
    assert "compares two runs, not 3" in refused("compare", *three(), "--utterances")


def test_options_without_effect_are_refused(tmp_path):
    pair = (IDS["bad"], IDS["good"], "--utterances", "--metric", "test/wer")
    assert "has no curves" in refused("compare", *pair, "--curves", str(tmp_path / "c.png"))
    assert "is not logged" in refused("compare", *pair, "--log")
    ok("compare", *pair, "--format", "csv", "--out", str(tmp_path / "u.csv"))
    assert len((tmp_path / "u.csv").read_text().splitlines()) == 61
    assert "do not go together" in refused("compare", IDS["good"], "--pattern", "bad")


def test_patterns_families_and_filters():
    assert {"good", "bad"} <= set(rows("compare", "--family", "deepspeech2"))
    assert set(rows("list", "--pattern", "GOO")) == {"good"}
    assert set(rows("list", "--pattern", "*철수*")) == {"김철수"}
    assert set(rows("list", "--pattern", "goo[dx]-*")) == {"good"}
    assert set(rows("list", "--pattern", "ADAPT")) == {"김철수"}  # by family
    assert set(rows("list", "--filter", "params.`train.lr` = '0.02'")) == {"alike"}
    assert rows("list", "--since", "1h")
    assert "no run matches --since '2999-01-01'" in refused("list", "--since", "2999-01-01")
    assert "no run matches --pattern '%'" in refused("list", "--pattern", "%")  # no wildcard of SQL gets through
    assert set(rows("list", "--pattern", "evil<s")) == {"evil<script>alert(1)</script>|*[bold]x"}


def test_parts_of_sweeps_fold_under_their_parent():
    shown = rows("list", "--limit", "100")
    assert {"sweep", "again"} <= set(shown)  # a reproduction is a run of its own
    assert not {"trial0", "trial1", "trial2"} & set(shown)
    assert {"trial0", "trial1", "trial2"} <= set(rows("list", "--limit", "100", "--children"))
    said = refused("compare", "--pattern", "trial")
    assert "there are some with --children" in said
    assert ok("show", IDS["trial1"]).startswith("trial1-")  # by name or id every run is found


def test_archived_runs_are_hidden():
    assert "shelved" not in rows("list", "--limit", "100")
    assert rows("list", "--limit", "100", "--archived")["shelved"]["marks"] == "archived"
    assert "there are some with --archived" in refused("compare", "--pattern", "shelved")


def test_list_says_what_a_run_is():
    import mlflow

    client = mlflow.MlflowClient()
    client.create_registered_model("lab-model")
    client.create_model_version("lab-model", f"runs:/{IDS['good']}/model", run_id=IDS["good"])
    client.set_registered_model_alias("lab-model", "champion", "1")
    shown = rows("list", "--limit", "100")
    assert shown["good"]["marks"] == "lab-model/1@champion"
    assert shown["cherished"]["marks"] == "kept"
    assert shown["orphan"]["state"] == "cut off"
    assert shown["orphan"]["seconds"] is None
    assert shown["good"]["state"] == "finished"
    assert (shown["good"]["metric"], shown["김철수"]["metric"]) == ("val/wer", "test/wer")
    assert shown["good"]["bytes"] > 1000
    said = ok("list", "--pattern", "good")
    assert "now" in said or "min ago" in said
    assert "kB" in said
    assert "3.1%" in said  # val/wer: 5 of 240 words, and what the last epoch added


def test_a_running_run_has_a_duration_till_now():
    import mlflow

    from asr_lab.system.processes import process_mark

    run_id = make_run("busy", wrong=3, end=False)
    mlflow.MlflowClient().set_tag(run_id, "asr_lab.process", process_mark())
    row = rows("list", "--state", "running")["busy"]
    assert row["state"] == "running"
    assert row["seconds"] >= 0
    mlflow.MlflowClient().set_terminated(run_id)


def test_show_says_what_differs_and_where_it_comes_from():
    said = ok("show", called("good"))
    assert "differs from the defaults\n  train.lr  0.01" in said.replace("  run.name  good\n", "")
    assert re.search(r"train/loss +█\S*▁  3 -> 1, best 1 at step 2", said)
    assert "lab/test, digest dddd" in said
    content = json.loads(ok("show", IDS["sweep"], "--format", "json"))
    assert content["lineage"]["children"].startswith("4 (4 finished)")
    assert content["id"] == IDS["sweep"]
    trial = json.loads(ok("show", IDS["trial0"], "--format", "json"))
    assert trial["lineage"]["part of"] == IDS["sweep"][:8]


def test_runs_that_are_not_there():
    said = refused("show", "godo")
    assert "no run 'godo'" in said
    assert called("good") in said
    shared = next(a for a in IDS.values() if sum(b.startswith(a[:1]) for b in IDS.values()) > 1)
    assert shared
    assert "'seeded' matches" in refused("show", "seeded")
    assert "is deleted" in refused("show", called("removed"))
    assert "is deleted" in refused("compare", IDS["removed"], IDS["good"])
    assert "asr-lab restore" in refused("show", IDS["removed"])
    assert "no finished run matches --pattern 'zebra'" in refused("compare", "--pattern", "zebra")


def test_a_wrong_filter_is_one_message():
    said = refused("list", "--filter", "metrics.wer ~ 3")
    assert "Invalid comparator '~'" in said
    assert "joined by AND" in said
    assert "is not understood" in refused("compare", "--filter", "tags.a = 'b' OR tags.a = 'c'")
    assert "'tomorrow'" in refused("list", "--since", "tomorrow")


def test_options_that_do_not_go_together():
    assert "--group-by and --ways do not go together" in refused("compare", "--group-by", "train.lr", "--ways")
    assert "--group-by and --vs do not" in refused("compare", "--group-by", "train.lr", "--vs", "best")
    assert "has no page" in refused("compare", "--ways", "--format", "html")
    assert "--out needs a format" in refused("compare", "--out", "x.txt")


def test_ways_say_what_was_not_trained(tmp_path):
    make_run("judged", wrong=5, family="evaluate", kind="evaluate")
    assert rows("compare", IDS["judged"], IDS["good"], "--ways")["judged"]["way"] == "evaluate"


def test_formats_hold_what_is_written_in_names(tmp_path):
    evil = IDS["evil<script>alert(1)</script>|*[bold]x"]
    said = ok("compare", evil, IDS["good"])
    assert "alert(1)</script>|*[bold]x" in said
    assert r"\|\*\[bold\]x" in ok("compare", evil, IDS["good"], "--format", "markdown")
    assert r"\_" not in ok("compare", evil, IDS["good"], "--format", "csv")
    page = ok("compare", evil, IDS["good"], "--format", "html")
    assert "<script>alert" not in page
    assert page.count("<script") == 2


def test_the_page_is_one_file(tmp_path):
    file = tmp_path / "pages" / "three.html"
    ok("compare", *three(), "--metric", "test/wer", "--format", "html", "--out", file)
    page = file.read_text(encoding="utf-8")
    content = json.loads(page.split('id="data">')[1].split("</script>")[0])
    assert [row["shown"][0] for row in content["rows"]] == [called(name) for name in THREE]
    assert content["rows"][2]["tested"]["p"] < 0.01
    assert content["baseline"] == IDS["good"]
    assert content["curves"]["train/loss"][called("bad")][-1][1] == 1.0
    assert f"significantly worse than {called('good')}" in page
    assert "http://" not in page
    assert "https://" not in page
    assert "cannot be written" in refused("compare", *three(), "--format", "html", "--out", "/proc/nowhere/x.html")


@needs_chromium
def test_the_page_draws_in_a_browser(tmp_path):
    file = tmp_path / "three.html"
    ok("compare", *three(), "--metric", "test/wer", "--format", "html", "--out", file)
    page = drawn(file)
    body = page.split('<tbody id="rows">')[1].split("</tbody>")[0]
    assert body.count("<tr") == 3
    assert body.count('class="rail"') == 2
    assert 'class="n best">2.1%' in body
    parallel = page.split('<svg id="parallel"')[1].split("</svg>")[0]
    assert parallel.count('class="run"') == 3
    curves = page.split('<div id="curves">')[1].split("<script")[0]
    assert curves.count('class="run"') == 6  # train/loss and val/wer of three runs


def test_a_comparison_is_kept_with_its_runs():
    ok("compare", IDS["good"], IDS["bad"], "--metric", "test/wer", "--log")
    for name in ("good", "bad"):
        kept = artifacts(IDS[name], "compare")
        assert kept == {"compare/table.csv", "compare/curves.png", "compare/comparison.html"}


def test_data_frames_for_notebooks():
    from asr_lab import tracking

    table = tracking.find_runs("seeded", where="metrics.`test/wer` < 0.06")
    assert table["train.lr"].unique().tolist() == ["0.1"]
    assert table.index.name == "run_id"
    judged = tracking.compare_runs(["good-", "alike-", "bad-"], metric="test/wer", vs="best")
    assert judged.loc[IDS["bad"], "p"] < 0.01
    mixed = tracking.compare_runs([IDS["good"], IDS["elsewhere"]], metric="test/wer", vs=IDS["good"])
    assert mixed.loc[IDS["elsewhere"], "silent"] == "evaluated on different data (test)"
    assert len(tracking.utterances(called("bad"))) == 60
    assert tracking.curves([called("bad")], ["train/loss"])["value"].tolist() == [3.0, 2.0, 1.0]


@pytest.mark.parametrize("vs", ["best", "alike", "notable", ""])
def test_notebooks_and_commands_give_the_same_figures(vs):
    from asr_lab import tracking

    among = [IDS[name] for name in (*THREE, "cherished")]
    asked = IDS.get(vs, vs)
    if vs == "notable":
        said = refused("compare", *among, "--metric", "test/wer", "--vs", asked)
        with pytest.raises(AsrLabError) as error:
            tracking.compare_runs(among, metric="test/wer", vs=asked)
        assert error.value.what in said
        return
    by_command = rows("compare", *among, "--metric", "test/wer", *(["--vs", asked] if vs else []))
    by_notebook = tracking.compare_runs(among, metric="test/wer", vs=asked)
    assert by_notebook["run"].tolist() == [row["run"] for row in by_command.values()]
    tested = {"difference", "low", "high", "p"}
    assert set(by_notebook) - {"silent"} == set(next(iter(by_command.values()))) - (set() if vs else tested)
    for row, (_, ours) in zip(by_command.values(), by_notebook.iterrows(), strict=True):
        for name in set(ours.index) - {"silent"}:
            same = ours[name] == pytest.approx(row[name], abs=1e-9)  # JSON has ten decimals
            assert same or (row[name] is None and pd.isna(ours[name])), name


def test_many_runs_are_not_tested_unless_asked(monkeypatch):
    said = ok("compare", "--family", "deepspeech2", "--metric", "test/wer")
    assert "significant" not in said


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_on_each_kind_of_store(kind, tmp_path, monkeypatch):
    """The same on each store, artifacts and all; of servers, after they were killed too."""
    from asr_lab.tracking import store

    monkeypatch.chdir(tmp_path)
    with tracking_store(kind, tmp_path) as env:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        make_run("near", wrong=5)
        make_run("far", wrong=40)
        said = ok("compare", "--pattern", "NEAR-*", "--metric", "test/wer", "--vs", IDS["far"])
        assert f"significantly better than {called('far')} in test/wer: {called('near')}" in said
        assert set(rows("list", "--pattern", "DeepSpeech")) == {"near", "far"}  # by model type
        assert (rows("list")["far"]["bytes"] is None) == (kind != "sqlite")  # where they lie with the server
        assert "lab/test" in ok("show", IDS["near"])
        assert "is not understood" in refused("list", "--filter", "metrics.wer ~ 3")
        assert "35 better" in ok("compare", IDS["far"], IDS["near"], "--utterances")
        assert "no run 'neat'" in refused("show", "neat")
        said = ok("doctor")
        assert ("server and client are MLflow" in said) == (kind != "sqlite")
        assert "written, read, removed" in said
        assert not list(tmp_path.rglob("probe.txt"))
        uri = urllib.parse.urlsplit(env["MLFLOW_TRACKING_URI"])
    if kind != "sqlite":
        with contextlib.suppress(ConnectionRefusedError):
            while True:  # its workers die a moment later
                socket.create_connection((uri.hostname, uri.port)).close()
        store._make_ready_once.cache_clear()  # as in a process of its own
        assert "does not answer" in refused("list", "--since", "1h")


def test_a_sweep_is_left_out_beside_its_trials_and_a_missing_key_is_no_difference(store):
    searched = {"sampler.name": "tpe", "space.train.lr": "[0.1, 0.2]"}
    sweep = made_run("lr-sweep", wer=0.2, params=searched, tags={"asr_lab.kind": "sweep", "asr_lab.data.val": "other"})
    for place, (lr, wer) in enumerate((("0.1", 0.4), ("0.2", 0.2))):
        made_run(f"lr-sweep-{place:03d}", parent=sweep, wer=wer, params={"train.lr": lr, "train.epochs": "3"})
    made_run("lr-sweep-older", parent=sweep, wer=0.3, params={"train.lr": "0.2"})  # before train.epochs was logged
    done = run("compare", "--pattern", "lr-sweep", "--children", "--format", "csv")
    assert done.exit_code == 0
    table = pd.read_csv(io.StringIO(done.stdout))
    assert set(table) - {"run", "difference", "low", "high", "p"} == {"train.lr", "val/wer"}
    assert "lr-sweep" not in set(table["run"])
    assert any("left out" in line and line.endswith("lr-sweep") for line in done.stderr.splitlines())
    assert "best val/wer: lr-sweep-001" in done.stderr
