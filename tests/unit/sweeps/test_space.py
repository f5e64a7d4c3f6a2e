"""What a sweep may search and seek: every mistake is told before anything runs."""

import math
from pathlib import Path

import optuna
import pytest
from conftest import ROOT
from optuna.trial import FixedTrial

from asr_lab.config.load import load
from asr_lab.config.schema.sweep import Choices, Floats, Integers
from asr_lab.errors import AsrLabError
from asr_lab.sweeps.objective import Objective
from asr_lab.sweeps.samplers import max_trials, pruner, sampler
from asr_lab.sweeps.space import Space
from asr_lab.sweeps.storage import StorageLocation

READY = sorted(Path(file).name for file in (ROOT / "experiments" / "sweeps").glob("*.yaml"))
TRAIN = "recipe: deepspeech2\ndata: {test: ''}\n"
LORA = "recipe: wav2vec2\nmodel: {pretrained: some/base, tune: lora}\n"
ADAPTER = "recipe: adapter\nadapter: {name: john}\n"


@pytest.fixture
def made(tmp_path):
    """A sweep of an experiment with a space and an objective."""

    def make(experiment: str, space: str, objective: str = "val/wer", more: str = ""):
        (tmp_path / "experiment.yaml").write_text(experiment)
        path = tmp_path / "sweep.yaml"
        head = f"recipe: sweep\nexperiment: {tmp_path}/experiment.yaml\nobjective: {objective}\n"
        path.write_text(f"{head}space:\n  {space}\n{more}")
        return load(path, {}, "sweep")

    return make


def test_domains_say_their_type_by_what_they_hold(made):
    space = "{train.lr: {low: 1e-4, high: 1e-2, log: true}, model.hidden_size: {low: 32, high: 64, step: 16}, model: "
    sweep = made(TRAIN, space + "{rnn_type: [gru, lstm]}}")
    domains = sweep.space
    assert isinstance(domains["train.lr"], Floats)
    assert isinstance(domains["model.hidden_size"], Integers)
    assert isinstance(domains["model.rnn_type"], Choices)
    for chosen in Space(sweep).samples(20):
        assert 1e-4 <= chosen["train.lr"] <= 1e-2
        assert chosen["model.hidden_size"] in (32, 48, 64)
        assert chosen["model.rnn_type"] in ("gru", "lstm")


def test_lists_and_conditions(made):
    space = (
        "{adapter.hidden_dims: {of: {low: 8, high: 9}, length: [1, 3]}, adapter.form: [plain, residual], "
        "adapter.strength: {low: 0.5, high: 1.0, when: {adapter.form: residual}}, data.learn_from: [2, 4]}"
    )
    drawn = Space(made(ADAPTER, space, "test/wer"))
    trials = drawn.samples(30)
    assert {len(one["adapter.hidden_dims"]) for one in trials} == {1, 2, 3}
    assert all(("adapter.strength" in one) == (one["adapter.form"] == "residual") for one in trials)
    drawn.check_values()
    whole = drawn.config(trials[0])
    assert list(whole.adapter.hidden_dims) == trials[0]["adapter.hidden_dims"]


def test_a_list_can_be_one_of_some(made):
    drawn = Space(made(ADAPTER, "{adapter.hidden_dims: {choices: [[256], [512, 256]]}}", "test/wer"))
    assert drawn.draw(FixedTrial({"adapter.hidden_dims": "512,256"})) == {"adapter.hidden_dims": [512, 256]}


@pytest.mark.parametrize(
    ("space", "said"),
    [
        (
            "{train.lr: {low: 0.1, high: 0.001}}",
            "space.train.lr: low=0.1 is above high=0.001",
        ),
        ("{train.lr: {low: 0, high: 0.1, log: true}}", "has no logarithm"),
        ("{model.hidden_size: {low: 8, high: 16, step: 4, log: true}}", "log=true and step do not go together"),
        ("{model.hidden_size: {low: 8, high: 16, step: 40}}", "step=40 does not fit"),
        ("{model.rnn_type: [gru, gru]}", "a choice is there twice"),
        ("{}", "there is nothing to search"),
        ("{train.lr: {low: 1, high: 2, type: real}}", "space.train.lr"),
    ],
)
def test_domains_that_are_none(made, space, said):
    with pytest.raises(AsrLabError, match="error") as refused:
        made(TRAIN, space)
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("space", "more", "said"),
    [
        ("{train.lrr: [1, 2]}", "", "space.train.lrr: no such key; did you mean train.lr?"),
        ("{hidden_size: [1, 2]}", "", "did you mean model.hidden_size?"),
        (
            "{train.lr: [0.1, 0.2]}",
            "fixed: {train.epoch: 3}\n",
            "fixed.train.epoch: no such key; did you mean train.epochs",
        ),
        ("{train.lr: {choices: [0.1], when: {model.rnn_type: gru}}, model.rnn_type: [gru]}", "", "has to stand before"),
    ],
)
def test_keys_that_are_not_there(made, space, more, said):
    with pytest.raises(AsrLabError) as refused:
        Space(made(TRAIN, space, more=more))
    assert said in str(refused.value)


def test_values_that_no_trial_can_have(made):
    with pytest.raises(AsrLabError, match=r"(?s)space.model.rnn_type: no trial can have gruu: .*model.rnn_type"):
        Space(made(TRAIN, "{model.rnn_type: [gru, gruu]}")).check_values()
    with pytest.raises(AsrLabError, match=r"no trial can have 0"):
        Space(made(TRAIN, "{train.batch_size: {low: 0, high: 8}}")).check_values()
    with pytest.raises(AsrLabError, match="no trial can have ia3"):  # it has no rank
        Space(made(LORA, "{model.lora.r: [4, 8], model.lora.method: [lora, ia3]}")).check_values()
    rank = "model.lora.r: {choices: [4, 8], when: {model.lora.method: lora}}"
    Space(made(LORA, f"{{model.lora.method: [lora, ia3], {rank}}}")).check_values()
    with pytest.raises(AsrLabError, match=r"(?s)final: no trial can be trained again with it: .*train.epochs"):
        Space(made(TRAIN, "{train.lr: [1e-3, 1e-4]}", more="final: {train.epochs: many}")).check_values()


@pytest.mark.parametrize(
    ("experiment", "objective", "said"),
    [
        (TRAIN, "val/werr", "no deepspeech2 logs the metric 'val/werr'; did you mean 'val/wer'?"),
        (TRAIN, "test/wer", "'test/wer' without data.test"),
        (TRAIN, "val/per", "'val/per' without data.phonemes=true"),
        (ADAPTER, "val/wer", "no adapter logs the metric 'val/wer'"),
        (ADAPTER, "fold/wer", "'fold/wer' without data.cross_fit"),
        (ADAPTER, "train/imitation_loss", "'train/imitation_loss' without adapter.form=plain"),
        (TRAIN, "model/size_mb", "metric model/size_mb has no known direction"),
    ],
)
def test_metrics_that_nobody_logs(made, experiment, objective, said):
    space = Space(made(experiment, "{train.lr: [0.1, 0.2]}", objective))
    with pytest.raises(AsrLabError) as refused:
        Objective.of(space.sweep, space.recipe, space.usual)
    assert said in str(refused.value)


def test_two_objectives_and_their_directions(made):
    space = Space(made(TRAIN, "{train.lr: [0.1, 0.2]}", "{val/wer: '', model/size_mb: lower, }"))
    objective = Objective.of(space.sweep, space.recipe, space.usual)
    assert objective.metrics == ("val/wer", "model/size_mb")
    assert objective.directions == ("minimize", "minimize")
    with pytest.raises(AsrLabError, match="with two objectives no trial can be pruned"):
        made(TRAIN, "{train.lr: [0.1, 0.2]}", "[val/wer, val/cer]", "pruner: median\n")
    with pytest.raises(AsrLabError, match="one metric or two, not 3"):
        made(TRAIN, "{train.lr: [0.1, 0.2]}", "[val/wer, val/cer, val/loss]")


def test_an_adapter_is_pruned_by_its_folds_alone(made):
    space = Space(made(ADAPTER, "{train.lr: [0.1, 0.2]}", "test/wer", "pruner: median\n"))
    with pytest.raises(AsrLabError, match="there is nothing to prune by"):
        Objective.of(space.sweep, space.recipe, space.usual)
    folds = space.usual | {"data.cross_fit": 5}
    assert Objective.of(space.sweep, space.recipe, folds).prune_on == "fold/wer"


def test_trials_are_pruned_by_what_is_better_the_same_way(made):
    def pruned_by(objective: str, metric: str = "") -> str:
        asked = f"pruner: {{name: median, metric: {metric or repr('')}}}\n"
        space = Space(made("recipe: pronunciation\n", "{train.lr: [0.1, 0.2]}", objective, asked))
        return Objective.of(space.sweep, space.recipe, space.usual).prune_on

    assert pruned_by("val/error_f1") == "val/error_f1"
    assert pruned_by("val/per") == "val/per", "not by the F1, of which more is better"
    assert pruned_by("val/per", "val/loss") == "val/loss"
    with pytest.raises(AsrLabError, match="val/error_f1 is better higher, but the objective val/per is to be lower"):
        pruned_by("val/per", "val/error_f1")


def test_choosing_on_test_data_is_warned_of(made):
    space = Space(made(ADAPTER + "data: {test: test.jsonl.gz}\n", "{train.lr: [0.1, 0.2]}", "test/wer"))
    objective = Objective.of(space.sweep, space.recipe, space.usual)
    assert "chosen on the test data (test.jsonl.gz)" in objective.warning(space.usual)
    assert objective.warning(space.usual | {"data.test": ""}) == ""


def test_samplers_and_pruners_by_name(made):
    for name in ("tpe", "random", "gp", "qmc", "nsga2", "nsga3", "grid", "brute_force"):
        sweep = made(TRAIN, "{model.rnn_type: [gru, lstm]}", more=f"sampler: {name}\n")
        assert sampler(sweep, Space(sweep))
    for name in ("none", "median", "successive_halving", "hyperband"):
        assert pruner(made(TRAIN, "{model.rnn_type: [gru, lstm]}", more=f"pruner: {name}\n"))
    wrong = made(TRAIN, "{train.lr: {low: 0.1, high: 0.2}}", more="sampler: {name: tpe, options: {n_startup: 3}}\n")
    with pytest.raises(AsrLabError, match="sampler=tpe has no option 'n_startup'; did you mean 'n_startup_trials'"):
        sampler(wrong, Space(wrong))
    endless = made(TRAIN, "{train.lr: {low: 0.1, high: 0.2}}", more="sampler: grid\n")
    with pytest.raises(AsrLabError, match=r"space\.train\.lr has infinitely many values"):
        sampler(endless, Space(endless))
    two = made(TRAIN, "{train.lr: {low: 0.1, high: 0.2}}", "[val/wer, val/cer]", "sampler: cmaes\n")
    with pytest.raises(AsrLabError, match="cmaes"):
        sampler(two, Space(two))
    with pytest.raises(AsrLabError, match="pruner=percentile"):
        pruner(made(TRAIN, "{train.lr: {low: 0.1, high: 0.2}}", more="pruner: percentile\n"))


def test_those_that_take_part_at_once_propose_different_trials(made):
    sweep = made(TRAIN, "{train.lr: {low: 0.1, high: 0.2}}", more="sampler: random\n")
    space = Space(sweep)

    def drawn(*draws: int) -> list[float]:
        study = optuna.create_study(sampler=sampler(sweep, space, *draws))
        return [space.draw(study.ask())["train.lr"] for _ in range(3)]

    assert drawn(0) == drawn(0)
    assert len({*drawn(0), *drawn(7, 0), *drawn(8, 0), *drawn(8, 1)}) == 12


def test_how_many_trials_all_values_are(made):
    space = (
        "{model.rnn_type: [gru, lstm], model.num_layers: {low: 1, high: 3}, "
        "train.lr: {low: 0.1, high: 0.3, step: 0.1}, "
        "model.bidirectional: {choices: [true, false], when: {model.rnn_type: lstm}}}"
    )
    grid = made(TRAIN, space, more="sampler: grid\n")
    assert max_trials(grid, Space(grid)) == 2 * 3 * 3 * 2
    every = made(TRAIN, space, more="sampler: brute_force\n")
    assert max_trials(every, Space(every)) == (1 + 2) * 3 * 3
    lists = "{adapter.hidden_dims: {of: {low: 1, high: 3}, length: [1, 2]}, adapter.form: [plain, residual]}"
    lists = made(ADAPTER, lists, "test/wer", "sampler: brute_force\n")
    assert max_trials(lists, Space(lists)) == (3 + 9) * 2
    assert max_trials(made(TRAIN, space), Space(made(TRAIN, space))) == math.inf


def test_storages_that_are_none(tmp_path):
    with pytest.raises(AsrLabError, match="studies cannot be stored in sqlite"):
        StorageLocation("sqlite:///sweeps.db").check("")
    with pytest.raises(AsrLabError, match="MLflow's own database"):
        StorageLocation("postgresql://ada:secret@db/mlflow").check("postgresql://ada:secret@db/mlflow")
    (tmp_path / "mlflow.db").write_bytes(b"SQLite format 3\0 and more")
    with pytest.raises(AsrLabError, match="MLflow's own database"):
        StorageLocation(str(tmp_path / "mlflow.db")).check(f"sqlite:///{tmp_path}/mlflow.db")
    (tmp_path / "notes.txt").write_text("buy milk\n")
    with pytest.raises(AsrLabError, match="not the journal of a study"):
        StorageLocation(str(tmp_path / "notes.txt")).check("")
    with pytest.raises(AsrLabError, match="cannot be used") as refused:
        StorageLocation("postgresql://ada:secret@127.0.0.1:1/sweeps").check("")
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("name", READY)
def test_ready_sweeps_are_in_order(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    sweep = load(Path("experiments/sweeps") / name, {}, "sweep")
    if not sweep.experiment.is_file():
        pytest.skip(f"{sweep.experiment} is not there yet")
    space = Space(sweep)
    space.check_values()
    objective = Objective.of(sweep, space.recipe, space.usual)
    assert objective.warning(space.usual) == ""
    assert sampler(sweep, space)
    assert pruner(sweep)
