"""Studies: figures recorded with what they depend on, found stale when that changes, and made again."""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, newest, ok, refused

FOLDER = Path("experiments/results")
STUDY = FOLDER / "john.yaml"
TEXT = 'john: {{ john.adapted["test/wer"].interval }}, base {{ john.adapted["test/wer_base"] }}\n'

pytestmark = pytest.mark.usefixtures("at_home")


@pytest.fixture
def study(home):
    """A study of john's adapter, the page made from it, and a README that quotes it."""
    shutil.rmtree("experiments", ignore_errors=True)
    FOLDER.mkdir(parents=True)
    (FOLDER / "RESULTS.md.jinja").write_text(TEXT)
    run_id = newest("adapter").info.run_id
    ok("results", "record", f"adapted={run_id}", "--study", "john", "--about", "john's adapter")
    ok("results", "write")
    quoted = 'WER {{ john.adapted["test/wer_base"].printed }} -> {{ john.adapted["test/wer"].printed }}'
    (FOLDER / "quotes.yaml").write_text(yaml.safe_dump({"README.md": [quoted]}))
    metrics = newest("adapter").data.metrics
    Path("README.md").write_text(f"see: WER {metrics['test/wer_base']:.1%} -> {metrics['test/wer']:.1%}.\n")
    return STUDY


def change(**replaced: object) -> None:
    """Change the recorded run in the study's file."""
    content = yaml.safe_load(STUDY.read_text())
    content["runs"]["adapted"] |= replaced
    STUDY.write_text(yaml.safe_dump(content))


def test_a_study_holds_what_its_figures_depend_on(study):
    content, run = yaml.safe_load(study.read_text()), newest("adapter")
    adapted = content["runs"]["adapted"]
    assert adapted["signature"] == run.data.tags["asr_lab.signature"]
    assert adapted["figures"]["test/wer"]["value"] == pytest.approx(run.data.metrics["test/wer"], rel=1e-5)
    assert {"low", "high"} <= adapted["figures"]["test/wer"].keys()
    assert adapted["settings"]["adapter.hidden_dims"] == [32, 16]
    assert not any(name.startswith(("perf/", "train/", "system/")) for name in adapted["figures"])
    assert content["versions"] == run.data.tags["asr_lab.versions"]
    rate = run.data.metrics["test/wer"]
    assert Path("experiments/RESULTS.md").read_text().startswith(f"john: {rate:.1%} (".replace("%", " %"))
    (row,) = json.loads(ok("results", "list", "--format", "json"))
    assert (row["study"], row["runs"]) == ("john", 1)


def test_what_still_stands_passes(study):
    ok("results", "check", "--no-data")


def stale() -> dict[str, dict[str, str]]:
    """What `check` finds, by what it is."""
    output = refused("results", "check", "--no-data", "--format", "json")
    return {row["what"]: row for row in json.JSONDecoder().raw_decode(output)[0]}


def test_other_defaults_are_stale(study):
    defaults = yaml.safe_load(STUDY.read_text())["runs"]["adapted"]["defaults"]
    change(defaults=defaults | {"adapter.form": "plain", "adapter.of_long_ago": 1})
    rows = {what: (row["recorded"], row["now"]) for what, row in stale().items()}
    assert rows == {
        "adapter.form of adapted": ("plain", "residual"),
        "adapter.of_long_ago of adapted": ("1", "no such key"),
    }


def test_settings_that_are_no_longer_valid_are_stale(study):
    change(settings={"adapter.hidden_units": 3})
    assert "adapter.hidden_units" in stale()["settings of adapted"]["now"]


def test_a_configuration_that_sets_something_else_is_stale(study):
    file = Path("experiments/small.yaml")
    content = yaml.safe_load(STUDY.read_text())
    STUDY.write_text(yaml.safe_dump(content | {"commands": [f"asr-lab adapter --config {file} --name john"]}))
    file.write_text("recipe: adapter\n")
    ok("results", "record", f"adapted={newest('adapter').info.run_id}", "--study", "john")
    file.write_text("recipe: adapter  # the default\n")
    ok("results", "check", "--no-data")
    file.write_text("recipe: adapter\ntrain: {epochs: 3}\n")
    assert list(stale()) == [str(file)]
    file.unlink()
    assert stale()[str(file)]["now"] == "no such file"


def test_pages_with_other_figures_are_stale(study):
    change(figures={"test/wer": {"value": 0.5, "low": 0.4, "high": 0.6}, "test/wer_base": {"value": 0.9}})
    assert stale()["RESULTS.md"]["now"] == "another text"
    assert stale()["README.md"]["recorded"] == "WER 90.0% -> 50.0%"


def test_a_placeholder_without_a_figure_is_refused(study):
    page = Path("experiments/RESULTS.md").read_text()
    (FOLDER / "RESULTS.md.jinja").write_text('{{ john.adapted["test/war"] }}')
    assert "did you mean 'test/wer'" in refused("results", "write")
    (FOLDER / "RESULTS.md.jinja").write_text('{{ jane.adapted["test/wer"] }}')
    refused("results", "write")
    (FOLDER / "RESULTS.md.jinja").write_text('\n{{ john.adapted["test/wer" }}')
    assert "line 2" in refused("results", "write")
    assert Path("experiments/RESULTS.md").read_text() == page


@pytest.mark.parametrize(
    "words",
    [
        ["record", "--study", "john"],
        ["record", "adapted", "--study", "john"],
        ["record", "values=x", "--study", "john"],
        ["record", "a=nobody", "--study", "john"],
        ["record", "--study", "new", "--values", "README.md", "--about", "x"],
        ["check", "jon"],
        ["remake", "jon"],
        ["list", "--folder", "nowhere"],
    ],
)
def test_mistakes_are_refused_and_change_nothing(study, words):
    before = STUDY.read_text()
    refused("results", *words)
    assert STUDY.read_text() == before
    assert not (FOLDER / "new.yaml").exists()


@pytest.mark.parametrize("content", [b"a: [", b"- 1", b"services: {db: x}", b"\xff\xfe\x00", b"John: hello"])
@pytest.mark.parametrize("name", ["other.yaml", "quotes.yaml"])
def test_files_that_hold_something_else_are_named(study, name, content):
    (FOLDER / name).write_bytes(content)
    assert name in refused("results", "check", "--no-data")


@pytest.mark.parametrize("text", ['{{ john.adapted["test/wer"] + 1 }}', "{{ 1 / 0 }}", "{% include 'x' %}", "\xff"])
def test_placeholders_that_cannot_be_computed_are_refused(study, text):
    (FOLDER / "RESULTS.md.jinja").write_text(text, encoding="latin-1")
    assert "RESULTS.md.jinja" in refused("results", "write")


@pytest.mark.parametrize("content", ["", "[1]", '{"a": "x"}', '{"a": NaN}', '{"a": {"value": 1, "of": 2}}'])
def test_values_that_are_no_figures_are_refused(study, content):
    Path("speed.json").write_text(content)
    before = STUDY.read_text()
    assert "speed.json" in refused("results", "record", "--study", "john", "--values", "speed.json")
    assert STUDY.read_text() == before


def test_figures_of_a_benchmark(study):
    Path("speed.json").write_text(json.dumps({"training": {"value": 1.949, "low": 1.78, "high": 2.12}, "rounds": 3}))
    words = ["results", "record", "--study", "speed", "--values", "speed.json", "--about", "ratios of speed"]
    assert "--command" in refused(*words)
    ok(*words, "--command", "python bench.py --values speed.json")
    figure = 'speed["values"]["training"]'
    template = f'{{{{ {figure}.format_interval(".2f") }}}}, {{{{ {figure}.format_interval(".0%") }}}}'
    (FOLDER / "RESULTS.md.jinja").write_text(template)
    ok("results", "write")
    assert Path("experiments/RESULTS.md").read_text() == "1.95 (1.78 to 2.12), 195 % (178 to 212)"
    assert "edit the commands" in refused(*words, "--command", "python other.py")
    made = yaml.safe_load((FOLDER / "speed.yaml").read_text())
    assert made["commands"] == ["python bench.py --values speed.json"]
    (FOLDER / "speed.yaml").write_text(yaml.safe_dump(made | {"commands": []}))
    assert "commands" in refused("results", "check", "speed")


def test_a_study_of_benchmarks_is_made_again(study):
    value = {"value": 2.0, "low": 1.5, "high": 2.5}
    write = f"mkdir values && echo '{json.dumps({'ratio': value, 'rounds': 3})}' > values/speed.json"
    content = {"about": "ratios", "commands": [write], "cheap": True, "date": "2026-01-01"}
    path = FOLDER / "speed.yaml"
    path.write_text(yaml.safe_dump(content | {"values": {"ratio": {"value": 1.9, "low": 1.8, "high": 2.1}}}))
    output = ok("results", "remake", "--format", "json")
    rows = json.JSONDecoder().raw_decode(output[output.index("[") :])[0]
    assert [(row["study"], row["metric"], row["then"], row["now"]) for row in rows] == [("speed", "ratio", 1.9, 2.0)]
    path.write_text(yaml.safe_dump(content | {"values": {"ratio": {"value": 3.0}, "gone": {"value": 1.0}}}))
    before = path.read_text()
    assert "2 of 2 figures do not agree" in refused("results", "remake", "speed", "--record")
    assert path.read_text() == before  # for not all of them were made
    path.write_text(yaml.safe_dump(content))
    ok("results", "remake", "speed", "--record")
    assert yaml.safe_load(path.read_text())["values"] == {"ratio": value, "rounds": {"value": 3.0}}
    path.write_text(yaml.safe_dump(content | {"needs": {"corpus": "sounds"}}))
    assert "--corpus corpus=FOLDER" in refused("results", "remake")


@pytest.fixture
def small(study, home):
    """A study of an evaluation, whose data and base come with `--corpus`."""
    uri = f"MLFLOW_TRACKING_URI=sqlite:///{home}/mlflow.db"
    content = yaml.safe_load(study.read_text())
    data = "asr-lab data split john/all.jsonl.gz split --by text --val 0 --test 0.5"
    content |= {"needs": {"john": "john's recordings"}, "data_commands": [data], "cheap": True}
    content |= {"commands": [f"false && {uri}"]}
    study.write_text(yaml.safe_dump(content, sort_keys=False))
    return study


@pytest.mark.slow
def test_data_that_come_out_otherwise_are_stale(small, home, tmp_path):
    change(data={"test": {"path": "split/test.jsonl.gz", "digest": "0" * 32}})
    shutil.rmtree(tmp_path / "w", ignore_errors=True)
    words = ["results", "check", "john", "--corpus", f"john={home}/john", "--work", str(tmp_path / "w")]
    assert "split/test.jsonl.gz" in refused(*words)
    assert "not empty" in refused(*words)
    assert (home / "john" / "all.jsonl.gz").is_file()


@pytest.mark.slow
def test_a_study_is_made_again_and_held_against_the_recorded_figures(study, home, tmp_path):
    shutil.copy("base.yaml", "experiments/base.yaml")
    train = (
        "asr-lab train experiments/base.yaml data.train=corpus/all.jsonl.gz data.val=corpus/all.jsonl.gz data.test= "
    )
    train += "model.hidden_size=32 model.conv_channels=8 train.epochs=1 train.batch_size=4 run.seed=1"
    content = {"about": "a base", "needs": {"corpus": "sounds"}, "commands": [train], "date": "2026-01-01"}
    old = {"name": "base-00000000", "recipe": "deepspeech2", "signature": "none", "settings": {}, "data": {}}
    old |= {"figures": {"val/wer": {"value": 7.0, "low": 6.9, "high": 7.1}}}
    (FOLDER / "base.yaml").write_text(yaml.safe_dump(content | {"runs": {"base": old}}))
    words = ["results", "remake", "base", "--corpus", f"corpus={home}/corpus", "--record"]
    assert "base val/wer" in refused(*words, "--work", str(tmp_path / "first"))
    assert "all" in ok(*words)  # as it was just recorded
    made = yaml.safe_load((FOLDER / "base.yaml").read_text())
    assert made["runs"]["base"]["settings"]["run.seed"] == 1
    assert made["commands"] == [train]
    (FOLDER / "base.yaml").write_text(yaml.safe_dump(made | {"commands": ["echo so; exit 3"]}))
    assert "ended with 3" in refused(*words)


@pytest.mark.slow
def test_the_data_of_our_own_cheap_studies_come_out_as_recorded(tmp_path):
    ok("results", "check", "--folder", str(ROOT / FOLDER), "--work", str(tmp_path / "made"))
