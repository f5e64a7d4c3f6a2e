"""Configurations from YAML and overrides: values by the type of their key, and all errors at once."""

from pathlib import Path

import pytest
from conftest import ROOT, refused

from asr_lab.config.identity import differences, dump_yaml, flat
from asr_lab.config.load import load, parse_overrides, parse_words
from asr_lab.config.nearby import nearby_configs
from asr_lab.config.schema import ALIASES, DeepSpeech2Experiment
from asr_lab.config.yaml_files import read_yaml
from asr_lab.errors import AsrLabError
from asr_lab.families import FAMILIES, config_class


def written(tmp_path, text: str) -> Path:
    file = tmp_path / "c.yaml"
    file.write_text(text, encoding="utf-8")
    return file


def test_overrides_are_split_at_commas_before_a_key_only():
    parsed = parse_overrides(["hidden_dims=512,256,train.lr=2e-3", "num_epochs=3", "run.name=a b"])
    assert parsed == {
        "adapter.hidden_dims": [512, 256],
        "train.lr": 0.002,
        "train.epochs": 3,
        "run.name": "a b",
    }


TEXTS = [
    *("user@host 100% #1", "007", "no", "2026-11-29", "a: b", "a=b,c=d", "null", "1e5", "~", "[x]", "{a}", "'x'", '"x'),
    *('"x"', " x ", "train.lr=5,train.epochs=3", "", "True", "1:30", "!!str x", "&a", "*a", "- x", "a\nb", "\\n", "%"),
]


@pytest.mark.parametrize("text", TEXTS)
def test_the_value_of_a_key_that_holds_text_is_literal(text):
    typed = {"run.name": text, "experiment_name": text, "data.test": text, "fixed.run.name": text}
    parsed = parse_words([f"{key}={value}" for key, value in typed.items()])
    assert parsed == {"run.name": text, "data.test": text, "fixed.run.name": text}
    assert load(None, {"run.name": parsed["run.name"]}, "deepspeech2").run.name == text
    quoted = "'" + text.replace("'", "''") + "'"
    if "\n" not in text:  # YAML folds lines
        assert parse_overrides([f"run.name={quoted},train.epochs=3"]) == {"run.name": text, "train.epochs": 3}


def test_lists_of_overrides_split_at_keys_outside_quotes():
    assert parse_overrides(['run.name="a,b=c",run.seed=1 , run.license=a b,data.test=']) == {
        "run.name": "a,b=c", "run.seed": 1, "run.license": "a b", "data.test": "",
    }  # fmt: skip
    assert parse_overrides(["run.name=a,b=c"]) == {"run.name": "a", "b": "c"}  # b is refused by `load`
    assert parse_overrides([r'run.name="\q",run.seed=1']) == {"run.name": r'"\q"', "run.seed": 1}


@pytest.mark.parametrize(
    ("word", "value"),
    [
        ("train.epochs=010", 10),
        ("data.cross_fit=5", 5),
        ("data.cross_fit=no", "no"),
        ("data.cross_fit=block", "block"),
        ("adapter.strength=auto", "auto"),
        ("adapter.strength=5e-1", 0.5),
        ("train.mixed_precision=no", "no"),
        ("model.lora.targets=0123,1e5, no", ["0123", "1e5", "no"]),
        ('model.lora.targets=["a,b", c]', ["a,b", "c"]),
        ("adapter.hidden_dims=512,256", [512, 256]),
        ("curriculum.hard_share=null", None),
        ("data.phonemes=yes", True),
        ("arms.r32.model.lora.r=3", 3),
        ("sampler.options={n_startup_trials: 5}", {"n_startup_trials": 5}),
    ],
)
def test_other_values_are_read_by_the_type_of_their_key(word, value):
    ((_, parsed),) = parse_words([word]).items()
    assert parsed == value
    assert type(parsed) is type(value)


NOT_FINITE = [
    "inf",
    "-inf",
    "nan",
    ".inf",
    ".NaN",
    "1e400",
    "1e999",
    "Infinity",
    "-0.0",
    "1:30",
    "1,5",
    "yes",
    "true",
    "off",
]


@pytest.mark.parametrize("number", NOT_FINITE)
def test_numbers_are_finite(number, tmp_path):
    with pytest.raises(AsrLabError, match=r"train\.weight_decay"):
        load(None, parse_words([f"train.weight_decay={number}"]), "deepspeech2")
    file = tmp_path / "sweep.yaml"
    space = f"{{train.lr: {{low: 1.0e-4, high: {number if ':' not in number else '.inf'}}}}}"
    file.write_text(f"recipe: sweep\nexperiment: x.yaml\nobjective: val/wer\nspace: {space}\n")
    with pytest.raises(AsrLabError):
        load(file, {}, "sweep")


def test_a_text_that_no_store_can_keep_is_refused():
    with pytest.raises(AsrLabError, match=r"(?i)unicode|UTF-8"):
        load(None, {"run.name": "x\udcff", "data.test": "y\udcff"}, "deepspeech2")


@pytest.mark.parametrize("value", ["007", "no", "[x]", "{a}", "1.5"])
def test_a_text_that_yaml_reads_as_something_else_is_refused_with_advice(value, tmp_path):
    with pytest.raises(AsrLabError, match=r"run\.name.*quotes"):
        load(written(tmp_path, f"recipe: deepspeech2\nrun: {{name: {value}}}\n"), {})
    assert load(written(tmp_path, f'recipe: deepspeech2\nrun: {{name: "{value}"}}\n'), {}).run.name == value
    with pytest.raises(AsrLabError):
        load(written(tmp_path, f"recipe: deepspeech2\nrun: {{{value}: 1}}\n"), {})


def test_every_key_is_read_by_one_type_in_all_families():
    from asr_lab.config.load import _fields, _read

    kinds: dict[str, set[str]] = {}
    for name in FAMILIES:
        for key, info in _fields(config_class(name)):
            kinds.setdefault(key, set()).add(repr(_read("007", info.annotation)))
    assert {key: kind for key, kind in kinds.items() if len(kind) > 1} == {}


def test_what_is_no_override_is_reported_as_it_was_typed():
    said = refused("adapter", "my-corpus/test.jsonl.gz")
    assert "not an override: 'my-corpus/test.jsonl.gz'" in said
    assert "did you mean --data my-corpus/test.jsonl.gz?" in said
    said = refused("train", "base.yaml", "learn-fast")
    assert "not an override: 'learn-fast'" in said
    assert "did you mean" not in refused("train", "base.yaml", "models:/wav2vec2-korean/1")
    assert "'fast-er'" in refused("evaluate", "m", "d.jsonl.gz", "evaluate.batch-size=fast-er")


def test_a_number_written_2e_3_is_a_number():
    config = load(None, {"train.lr": "2e-3"}, "deepspeech2")
    assert config.train.lr == 0.002


def test_a_single_hidden_layer_may_be_written_as_a_number():
    config = load(None, parse_overrides(["adapter_name=john", "adapter_hidden_dims=256"]), "adapter")
    assert config.adapter.hidden_dims == (256,)


def test_all_errors_are_reported_at_once_with_the_nearest_key():
    wrong = parse_overrides(["train.batchsize=32", "train.lr=fast", "model.rnn_type=grr", "train.epochs=0"])
    with pytest.raises(AsrLabError) as caught:
        load(None, wrong, "deepspeech2")
    message = str(caught.value)
    assert "4 errors" in message
    assert "did you mean train.batch_size?" in message
    assert "'fast'" in message
    assert "'gru', 'lstm' or 'rnn'" in message
    assert "train.epochs: input should be greater than 0" in message


def test_a_missing_file_lists_the_configs_there_are(monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(AsrLabError, match=r"experiments/deepspeech2/base\.yaml"):
        load(Path("experiments/deepspeech2/bass.yaml"), {})


def test_a_config_of_another_recipe_is_refused():
    with pytest.raises(AsrLabError, match="for the recipe 'adapter'"):
        load(ROOT / "experiments/adapter/default.yaml", {}, "deepspeech2")


OTHERS = ("sweeps", "results")
EXPERIMENTS = sorted(file for file in ROOT.glob("experiments/*/*.yaml") if file.parent.name not in OTHERS)


@pytest.mark.parametrize("file", EXPERIMENTS, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_every_experiment_loads_and_is_a_delta(file):
    needed = {"adapter": {"adapter.name": "someone"}, "curriculum": {"model.pretrained": "a-base"}}
    needed["arms"] = {"arms.one": {}, "arms.two": {}}
    name = needed.get(file.parent.name, {})
    config = load(file, name)
    said = flat(load(None, name, config.recipe))
    for key in differences(config):
        assert flat(config)[key] != said.get(key) or key in name


def test_config_yaml_runs_again(tmp_path):
    config = load(None, parse_overrides(["train.lr=0.003", "augment.speed_factors=0.9,1.1"]), "deepspeech2")
    again = tmp_path / "config.yaml"
    again.write_text(dump_yaml(config))
    assert load(again, {}) == config
    for file in ("arms/tiny.yaml", "curriculum/synthetic-korean.yaml"):
        several = load(ROOT / "experiments" / file, {})
        again.write_text(dump_yaml(several))
        assert load(again, {}) == several
        assert load(again, {}).model.model_fields_set == several.model.model_fields_set  # its parts have their own


def test_configuration_is_frozen():
    with pytest.raises(ValueError, match="frozen"):
        DeepSpeech2Experiment().train.lr = 1.0


def test_aliases_point_at_keys_that_exist():
    from asr_lab.config.load import keys

    known = {key for name in FAMILIES for key in keys(config_class(name))}
    assert set(ALIASES.values()) <= known


@pytest.mark.parametrize("text", ["train: [1,\n", "a: &a {b: *a}\n"], ids=["broken", "cyclic"])
def test_broken_yaml_is_one_message(tmp_path, text):
    with pytest.raises(AsrLabError, match="not valid YAML"):
        load(written(tmp_path, text), {})


@pytest.mark.parametrize(
    "text",
    [
        "train: {lr: 0.5}\ntrain: {epochs: 3}\n",
        "train: {lr: 0.5, lr: 0.1}\n",
        "train.lr: 0.5\ntrain: {lr: 0.1}\n",
        "train: 3\ntrain.lr: 0.1\n",
        "train: {lr: 0.5, 'lr': 0.5}\n",
    ],
)
def test_a_key_given_twice_in_a_file_is_refused(tmp_path, text):
    with pytest.raises(AsrLabError, match="given twice") as refusal:
        load(written(tmp_path, text), {}, "deepspeech2")
    assert refusal.value.where == str(tmp_path / "c.yaml")


def test_numbers_of_a_file_are_decimal_as_on_the_command_line(tmp_path):
    config = load(written(tmp_path, "train: {epochs: 010, lr: 1e-3}\nrun: {name: 2026-11-29}\n"), {}, "deepspeech2")
    assert (config.train.epochs, config.train.lr, config.run.name) == (10, 1e-3, "2026-11-29")
    with pytest.raises(AsrLabError, match=r"train\.lr"):
        load(written(tmp_path, "train: {lr: 1:30}\n"), {}, "deepspeech2")


@pytest.mark.parametrize("name", ["1e3", "010", "2026-11-29", "0x10", "1:30", ".inf", "1_000", "no", "="])
def test_what_was_written_is_read_again(tmp_path, name):
    config = load(None, {"run.name": name, "train.lr": 1e-5}, "deepspeech2")
    assert load(written(tmp_path, dump_yaml(config)), {}) == config


def test_yaml_merges_defaults_of_an_anchor(tmp_path):
    text = "model: &small {hidden_size: 16}\ntrain: {epochs: 3}\naugment: {}\n"
    assert load(written(tmp_path, text), {}, "deepspeech2").model.hidden_size == 16
    read = read_yaml(written(tmp_path, "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\n"))
    assert read["b"] == {"x": 1, "y": 3}
    deep = "usual: {deep: {a: &a {<<: {x: 1}, x: 2}}}\nb: {<<: *a}\n"  # `b` is built before `a`
    assert read_yaml(written(tmp_path, deep))["usual"]["deep"]["a"] == {"x": 2}


def test_files_that_are_no_configuration_are_not_named_as_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name, text in (("own", "recipe: wav2vec2"), ("date", "day: 2024-13-45"), ("deep", "[" * 2000), ("list", "- 1")):
        Path(f"{name}.yaml").write_text(text)
    assert nearby_configs() == ["own.yaml"]


def test_a_section_without_a_line_has_its_defaults(tmp_path):
    text = "recipe: deepspeech2\ntrain:\n  # lr: 0.5\nmodel: null\n"
    assert load(written(tmp_path, text), {}) == load(None, {}, "deepspeech2")


@pytest.mark.parametrize("recipe", ["[a]", "{a: b}", "5", "true", "[deepspeech2]"])
def test_a_recipe_that_is_no_word_is_refused(tmp_path, recipe):
    with pytest.raises(AsrLabError) as refusal:
        load(written(tmp_path, f"recipe: {recipe}\n"), {})
    assert "deepspeech2" in refusal.value.allowed


@pytest.mark.parametrize("seed", [-1, 2**32, 10**30])
def test_a_seed_that_numpy_does_not_take_is_refused(seed):
    with pytest.raises(AsrLabError, match=r"run\.seed"):
        load(None, {"run.seed": seed}, "deepspeech2")


@pytest.mark.parametrize("word", ["run.threads=-4", "run.threads=99999999999", f"train.epochs={10**26}"])
def test_a_number_that_no_library_counts_to_is_refused(word):
    with pytest.raises(AsrLabError, match=word.split("=")[0]):
        load(None, parse_words([word]), "deepspeech2")
