"""Names that are markup, formulas, quotes, wildcards or commands of a terminal, through the commands as a user runs
them: they are shown as they are, found by themselves, and do nothing."""

import csv
import io
import json
import math
import re
import shutil
from dataclasses import replace

import mlflow
import pandas as pd
import pytest
from conftest import make_corpus, ok, refused, run
from empty_store import empty_store
from made import client, made_run
from outages import spec

from asr_lab.errors import AsrLabError, brief
from asr_lab.metrics import error_rates
from asr_lab.reports.markdown import code_span
from asr_lab.system.visible_text import one_line, visible
from asr_lab.tracking.tracker import MlflowTracker

NAMES = [
    *("x[/bold]", "[x] y", "[red]x", "p%_q\\`z", "a'b\"c", "<img src=x onerror=alert(1)>|", "=1+1", "007", "[", "no"),
    *("e\x1b[31m\u202e\nfake: kept", "🙂 👩‍👧", "-n", "*", "x\\", "한국어", "n" * 200),
]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a store with a run of each name, its name in parameters, tags and score tables too; the ids."""
    folder = tmp_path_factory.mktemp("hostile")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", empty_store(folder / "mlflow.db"))
        return folder, _make_runs()


@pytest.fixture
def runs(made, monkeypatch):
    """The ids of the runs; the test stands in their folder, with their store."""
    folder, ids = made
    monkeypatch.chdir(folder)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{folder}/mlflow.db")
    return ids


def _make_runs():
    table = error_rates.score({"a": "the [cat] sat"}, {"a": "[red]cat[/] \x1b[2Jsat"}).assign(speaker="[x] y")
    own = [{"params": {"run.name": name, "train.lr": name}, "tags": {"asr_lab.base": name}} for name in NAMES]
    tables = [table if number < 2 else None for number in range(len(NAMES))]
    return [made_run(name, table=one, **more) for name, one, more in zip(NAMES, tables, own, strict=True)]


def calm(output: str) -> str:
    """The output, in which there is nothing that a terminal acts on."""
    assert visible(output) == output
    assert not any(line.startswith("fake") for line in output.splitlines())
    return output


def test_lists_have_every_name_as_it_is(runs, tmp_path):
    said = calm(ok("list"))
    assert all(one_line(name) in said for name in NAMES)
    assert {row["run"] for row in json.loads(calm(ok("list", "--format", "json")))} == set(NAMES)
    text = ok("list", "--format", "csv")
    assert visible(text) == text
    cells = pd.read_csv(io.StringIO(text), dtype=str)["run"]
    assert not cells.str.match(r"[=+@-]").any()
    for style in ("table", "markdown", "latex", "json"):
        calm(ok("compare", "--format", style))
    page = tmp_path / "page.html"
    calm(ok("compare", "--format", "html", "--out", str(page)))
    assert "<img" not in page.read_text()


@pytest.mark.parametrize("number", range(len(NAMES)), ids=[ascii(name)[:20] for name in NAMES])
def test_a_run_is_shown_pinned_noted_and_cleaned_up_by_its_name(runs, number):
    name, shown = NAMES[number], one_line(NAMES[number])
    assert calm(ok("show", "--", name)).startswith(f"{shown}  {runs[number]}")
    assert calm(ok("keep", "--", name)).splitlines() == [f"{shown}: kept"]
    calm(ok("keep", "--undo", "--", name))
    assert calm(ok("note", "--", name, "a | b")).splitlines() == [f"{shown}: noted"]
    calm(ok("compare", "--", name, runs[number - 1]))
    planned = calm(ok("cleanup", f"--pattern={name}", "--dry-run"))
    assert f" {shown} " in planned
    if name not in ("*", "no", "[", "007"):  # parts of others
        assert calm(ok("cleanup", f"--pattern={name}", "--yes"))
        assert client().get_run(runs[number]).info.lifecycle_stage == "deleted"
        assert calm(ok("restore", "--", name)).splitlines()[0].startswith(shown)


@pytest.mark.parametrize("number", [0, 1, 4, 10])
def test_bundles_and_speakers(runs, number):
    name, shown = NAMES[number], one_line(NAMES[number])
    client().set_tag(runs[number], "asr_lab.speaker", name)
    assert shown in calm(ok("archive", name, "--to", "b[x]"))
    assert shown in calm(ok("forget", name, "--dry-run"))
    result = run("forget", name)
    assert result.exit_code == 1
    calm(result.output)
    assert client().get_run(runs[number]).info.lifecycle_stage == "active"


WRONG = [
    *(["show", "{}"], ["compare", "{}", "{}"], ["reproduce", "{}"], ["keep", "{}"], ["note", "{}", "x"]),
    *(["restore", "{}"], ["archive", "{}", "--to", "b"], ["register", "{}", "--name", "x"], ["promote", "{}"]),
    *(["transcribe", "{}.wav"], ["data", "stats", "{}.jsonl.gz"], ["data", "check", "{}.jsonl.gz"]),
    *(
        ["data", "import", "csv", "{}.csv", "out"],
        ["train", "{}.yaml"],
        ["train", "b.yaml", "{}"],
        ["sweep", "{}.yaml"],
    ),
    *(["train", "b.yaml", "train.lr={}"], ["adapter", "--name", "{}"], ["evaluate", "--model", "{}", "--data", "{}"]),
    *(
        ["list", "--pattern", "{}{}"],
        ["list", "--since", "{}"],
        ["list", "--filter", "{}'"],
        ["list", "--family", "{}"],
    ),
    *(["cleanup", "--days-old", "{}"], ["guide", "{}"], ["adapters", "info", "{}"], ["sync", "--drop", "{}"]),
    *(["pool", "{}", "{}", "--data", "{}"], ["list", "{}"], ["list", "--{}"], ["list", "--limit", "{}"], ["{}"]),
]


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_message_shows_what_was_typed(store, words):
    (store / "b.yaml").write_text("recipe: deepspeech2\n")
    made_run("base")
    for name in ("no[/such]", "[red]q\x1b[2J\u202e", "'\"%"):
        result = run(*(word.replace("{}", name) for word in words))
        assert result.exit_code in (1, 2), result.output
        assert isinstance(result.exception, SystemExit), result.exception
        assert calm(result.output).count("\n") >= 1


def test_nan_and_infinity_are_distinguished_from_gaps(store):
    values = {"nan": math.nan, "inf": math.inf, "gap": None, "good": 0.2}
    for name, value in values.items():
        made_run(name, wer=value, params={"run.seed": "1" if name in ("nan", "good") else "2"})
    shown = {line.split()[0]: line for line in ok("list").splitlines() if line.split()[:1]}
    assert [re.search(r"val/wer +(\S+)", shown[name])[1] for name in values] == ["NaN", "inf", "-", "20.0%"]
    rows = {row["run"]: row["value"] for row in json.loads(ok("list", "--format", "json"))}
    assert rows == {"nan": "NaN", "inf": "inf", "gap": None, "good": 0.2}
    table = pd.read_csv(io.StringIO(ok("compare", "--format", "csv").partition("best ")[0]), keep_default_na=False)
    assert dict(zip(table["run"], table["val/wer"], strict=True)) == {
        "nan": "NaN",
        "inf": "inf",
        "gap": "",
        "good": "0.2",
    }
    assert "best val/wer: good" in ok("compare")
    none = ok("compare", "nan", "inf", "gap")
    assert "best" not in none
    assert "no run has a finite val/wer" in none
    alone = ok("compare", "good")
    assert "nothing is compared" in alone
    assert "best" not in alone
    groups = {
        row["run.seed"]: row
        for row in json.loads(ok("compare", "--group-by", "run.seed", "--format", "json").partition("\n]")[0] + "\n]")
    }
    assert groups["1"]["val/wer"] == "NaN"
    assert groups["2"]["val/wer"] == "inf"
    for name, text in {"nan": "NaN", "inf": "inf"}.items():
        assert re.search(rf"val/wer +{text}\n", ok("show", name))
        assert json.loads(ok("show", name, "--format", "json"))["metrics"]["val/wer"] == text
    planned = json.loads(ok("cleanup", "--keep-best", "1", "--dry-run", "--format", "json"))
    assert {row["run"] for row in planned if row["what"] == "stays"} == {"good", "gap"}


def test_what_mlflow_would_cut_is_not_lost_in_silence(store):
    run_id = made_run("base")
    said = refused("note", "base", "z" * 9000)
    assert "z" * 100 not in said
    assert "mlflow.note.content" not in client().get_run(run_id).data.tags
    ok("note", "base", "z" * 8000)
    assert "16,002" not in ok("note", "base", "short", "--replace")
    assert client().get_run(run_id).data.tags["mlflow.note.content"] == "short"
    (store / "b.yaml").write_text("recipe: deepspeech2\n")
    assert "z" * 300 not in refused("train", "b.yaml", "run.name=" + "z" * 9000)


@pytest.mark.parametrize(
    "words",
    [["restore", "{}"], ["train", "{}"], ["evaluate", "--model", "{}", "--data", "{}"], ["data", "check", "{}"]],
)
@pytest.mark.parametrize("long", ["x" * 9000, "x y " * 2500])
def test_a_word_of_9000_characters_is_one_short_message(words, long, store):
    assert len(refused(*(word.format(long) for word in words))) < 3000


def test_usual_messages_are_shown_whole():
    text = str(AsrLabError("w " * 300, where="/" + "p" * 250, next_command="asr-lab show x"))
    assert (brief(text), "..." in text) == (text, False)


def test_what_is_listed_can_be_typed(store):
    made_run("new")
    started = json.loads(ok("list", "--format", "json"))[0]["started"]
    printed = re.search(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d[+-]\d\d:\d\d", ok("list"))[0]
    assert printed == started.replace("T", " ")
    for since in (printed, started, printed[:10], "2 weeks", "1 h ago"):
        assert "new" in ok("list", "--since", since)
    assert ok("cleanup", "--days-old", printed, "--dry-run")


@pytest.mark.slow
def test_a_training_with_a_hostile_name_is_recorded_as_it_is_called(store):
    corpus = make_corpus(store / "c[x] d", {"u1": "abba cab", "u2": "dad bed", "u3": "ace fad"}, speaker="[red]s[/]|`")
    name = "x[/bold] 100% #1 `|"
    (store / "b.yaml").write_text("recipe: deepspeech2\n")
    tiny = ["model.hidden_size=8", "model.conv_channels=4", "train.epochs=1", "train.batch_size=2", "data.test="]
    said = calm(ok("train", "b.yaml", f"run.name={name}", f"data.train={corpus}", f"data.val={corpus}", *tiny))
    assert f"training {name}-" in said
    (made,) = json.loads(ok("list", "--format", "json"))
    assert made["run"].startswith(name)
    params = mlflow.MlflowClient().search_runs(["1"])[0].data.params
    assert (params["run.name"], params["data.train"]) == (name, str(corpus))
    calm(ok("register", made["run"], "--name", "m|`x"))
    card = mlflow.MlflowClient().get_model_version("m|`x", "1").description
    assert r"# m\|\`x" in card.splitlines()
    assert code_span(made["run"]) in card
    assert calm(ok("show", made["run"])).startswith(made["run"])


FILE = "[red]x[/]|`$_\x1b[2J\u202e"


@pytest.mark.slow
def test_files_with_hostile_names(at_home, home, tmp_path):
    audio = tmp_path / f"{FILE}.wav"
    audio.parent.mkdir()  # there is a slash in the name
    shutil.copy(next((home / "corpus" / "audio").glob("*.wav")), audio)
    said = calm(ok("transcribe", audio, audio))
    assert all(line.startswith(f"{one_line(audio)}: ") for line in said.splitlines())
    (row,) = (json.loads(line) for line in calm(ok("transcribe", audio, "--json")).splitlines())
    assert row["file"] == str(audio)
    broken = audio.with_name(f"broken{audio.name}")
    broken.write_bytes(b"RIFF")
    assert one_line(broken) in calm(refused("transcribe", broken))
    table = tmp_path / f"{FILE}.csv"
    with table.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("audio", "text", "speaker"), (str(audio), "abba [cab]", FILE)])
    out = tmp_path / "out" / FILE
    assert one_line(out) in calm(ok("data", "import", "csv", table, out))
    manifest = next(out.glob("*.jsonl.gz"))
    for command in (["data", "stats", manifest], ["data", "check", manifest, manifest]):
        calm(ok(*command))
    model = ["--model", "models:/deepspeech2@champion", "--data", manifest]
    assert "test/wer" in calm(ok("evaluate", *model))


def test_pending_runs_with_hostile_names(store):
    name = "[red]x[/]|\x1b[2J"
    with MlflowTracker(offline=True).start(replace(spec(), name=name)) as made:
        made.metrics({"val/wer": 0.5})
        made.note(f"by {code_span(name)}")
    assert one_line(name) in calm(ok("sync", "--dry-run"))
    result = run("sync", "--drop", made.name)
    assert f"discard the pending data of {one_line(made.name)}?" in calm(result.output)
    assert one_line(name) in calm(ok("sync"))
    assert calm(ok("show", "x[/]")).startswith(one_line(name))
