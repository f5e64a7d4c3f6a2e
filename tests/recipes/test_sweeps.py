"""Sweeps as people run them: trials as runs, cut off and gone on with, by several processes and machines, pruned,
failed, joined; and an adapter's base that hears each utterance once."""

import io
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from threading import Timer

import mlflow
import numpy as np
import optuna
import psutil
import pytest
import sweepers
from conftest import TINY, WORDS, artifacts, make_corpus, ok, refused
from made import made_run
from namespaces import ran_inside, ray_cluster
from servers import postgres_database

from asr_lab.errors import AsrLabError
from asr_lab.interfaces.in_memory import FolderStore
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.recipes.run_spec import describe
from asr_lab.sweeps import sweep as sweeping
from asr_lab.sweeps import trial_states
from asr_lab.sweeps.storage import StorageLocation
from asr_lab.sweeps.study import ASKED, COORDINATOR
from asr_lab.sweeps.trial_states import PROCESS
from asr_lab.sweeps.worker import Backends
from asr_lab.system.processes import process_mark
from asr_lab.system.terminal import Console
from asr_lab.tracking.tracker import MlflowTracker

SCRIPT = Path(sweepers.__file__)
QUIET = Console(quiet=True)


def runs_of(kind: str) -> list:
    client = mlflow.MlflowClient(os.environ["MLFLOW_TRACKING_URI"])
    experiments = [one.experiment_id for one in client.search_experiments()]
    return client.search_runs(experiments, f"tags.`asr_lab.kind` = '{kind}'", order_by=["attributes.start_time"])


def by_status(runs) -> dict[str, int]:
    states = [run.info.status for run in runs]
    return {state: states.count(state) for state in sorted(set(states))}


def begun() -> list[list[str]]:
    """(Run id, process, learning rate) of each trial that was begun."""
    file = Path("begun.txt")
    return [line.split() for line in file.read_text().splitlines()] if file.is_file() else []


def wait_for(true, patience_s: float = 400) -> None:
    until = time.monotonic() + patience_s
    while not true():
        assert time.monotonic() < until, "it did not come to pass"
        time.sleep(0.05)


@pytest.fixture
def sweeper(store):
    """Starts a sweep of trials that train nothing, in a process of its own and an empty folder; ended with the test."""
    started: list[subprocess.Popen] = []

    def start(*arguments: object) -> subprocess.Popen:
        command = [sys.executable, str(SCRIPT), *map(str, arguments)]
        with Path("log.txt").open("ab") as log:
            started.append(subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True))
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def ended_well(process: subprocess.Popen) -> None:
    assert process.wait(timeout=500) == 0, Path("log.txt").read_text()[-4000:]


# an adapter's sweep, as a user runs it

SWEEP = """
recipe: sweep
experiment: adapter.yaml
fixed: {adapter.name: john, data.train: person/all.jsonl.gz, adapter.strength: 1.0, train.epochs: 2}
space:
  adapter.hidden_dims: {of: {low: 8, high: 32, log: true}, length: [1, 2]}
  adapter.dropout: [0.0, 0.2]
  train.lr: {low: 1e-3, high: 1e-2, log: true}
objective: train/loss
models: best
trials: 3
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a registered base that has hardly learned, a person's utterances and a sweep of their adapter."""
    folder = tmp_path_factory.mktemp("place")
    rng = np.random.default_rng(3)
    path = make_corpus(folder / "person", {f"p{i:02d}": " ".join(rng.choice(WORDS, 2)) for i in range(12)})
    (folder / "base.yaml").write_text("recipe: deepspeech2\nrun: {register_as: deepspeech2}\n")
    (folder / "adapter.yaml").write_text("recipe: adapter\n")
    (folder / "person.yaml").write_text(SWEEP)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{folder}/mlflow.db")
        ok("train", "base.yaml", f"data.train={path}", f"data.val={path}", *TINY, "train.epochs=1")
        ok("promote", "deepspeech2", "--force", "for a test")
    return folder


@pytest.fixture
def person(place, monkeypatch):
    """Stand there, with its store."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    mlflow.set_tracking_uri(f"sqlite:///{place}/mlflow.db")
    return place


@pytest.mark.slow
def test_an_adapters_sweep_from_nothing_to_a_config_that_runs_again(person, monkeypatch):
    heard: list[str] = []
    encoded = DeepSpeech2Recognizer.iterate_encoder_outputs

    def counting(self, cuts, *more, **named):
        heard.extend(cut.id for cut in cuts)
        return encoded(self, cuts, *more, **named)

    monkeypatch.setattr(DeepSpeech2Recognizer, "iterate_encoder_outputs", counting)
    said = ok("sweep", "person.yaml", "--dry-run")
    assert "8 to 32, by logarithm" in said
    assert not runs_of("sweep")
    said = ok("sweep", "person.yaml")
    assert "3 finished" in said
    assert "asr-lab adapter --config sweeps/person-best.yaml" in said
    said = ok("sweep", "person.yaml", "--trials", "4")
    assert "continuing" in said
    assert "4 finished" in said
    assert sorted(heard) == sorted([*set(heard)] * 2), "each call of the command hears each utterance once"
    assert len(set(heard)) == 12

    (parent,), trials = runs_of("sweep"), runs_of("trial")
    assert by_status(trials) == {"FINISHED": 4}
    assert all(run.data.tags["mlflow.parentRunId"] == parent.info.run_id for run in trials)
    assert {run.data.tags["asr_lab.family"] for run in [parent, *trials]} == {"adapter"}
    assert parent.info.status == "FINISHED"
    assert sum(run.data.metrics["perf/base_pass_seconds"] for run in trials) == 0
    best = min(trials, key=lambda run: run.data.metrics["train/loss"])
    assert parent.data.metrics["train/loss"] == best.data.metrics["train/loss"]
    assert parent.data.metrics["test/wer"] == best.data.metrics["test/wer"]
    assert best.outputs.model_outputs, "the best one's model is kept"
    worse = [run for run in trials if not run.outputs.model_outputs]
    assert all(run.data.metrics["train/loss"] >= best.data.metrics["train/loss"] for run in worse)
    assert {"trials.csv", "sweep.html", "best.yaml"} <= artifacts(parent.info.run_id)
    drawn = artifacts(parent.info.run_id, "figures")
    assert {f"figures/{name}.png" for name in ("history", "importance", "parallel", "slice", "contour")} <= drawn
    page = Path(mlflow.artifacts.download_artifacts(run_id=parent.info.run_id, artifact_path="sweep.html")).read_text()
    assert page.count("<svg") == 5
    assert 'src="http' not in page, "it loads nothing"
    assert 'href="http' not in page
    assert not (person / "adapters").exists(), "a trial does not touch the person's file"
    assert not list((person / "checkpoints").glob("*/frames"))
    assert "deepspeech2-adapter-john" not in ok("list", "--children"), "trials are not registered"

    study = optuna.load_study(
        study_name="person", storage=StorageLocation("sweeps/person.journal").open(print, first=False)
    )
    study.set_user_attr(ASKED, 5)
    assert "trials run here: 1" in ok("sweep", "person.yaml", "--join")
    assert by_status(runs_of("trial")) == {"FINISHED": 5}
    assert sorted(heard) == sorted([*set(heard)] * 3), "one that joins hears each utterance once for itself"

    ok("adapter", "--config", "sweeps/person-best.yaml")
    again = runs_of("train")[-1]
    assert again.data.metrics["train/loss"] == pytest.approx(best.data.metrics["train/loss"], rel=1e-4)
    table = ok("compare", "--children", "--pattern", "person-00", "--format", "csv")
    assert "adapter.dropout" in table or "train.lr" in table
    assert "person-000" not in ok("list")
    assert "person-000" in ok("list", "--children")


@pytest.mark.slow
def test_error_against_size_keeps_the_models_of_the_front(person):
    ok("sweep", "person.yaml", "name=front", "objective=train/loss,model/size_mb", "trials=1",
       "objective.model/size_mb=lower")  # fmt: skip
    (trial,) = [run for run in runs_of("trial") if run.info.run_name.startswith("front")]
    assert trial.outputs.model_outputs


def test_what_is_wrong_is_said_before_anything_runs(person):
    other = [("objective=val/wer", "no adapter logs the metric 'val/wer'"), ("space.train.lr.low=1", "is above")]
    other += [
        ("space.train.lrr=0.1,0.2", "did you mean train.lr?"),
        ("adapter.dropuot=0.1", "did you mean adapter.dropout"),
    ]
    other += [("data.each=speaker", "one speaker"), ("experiment=nowhere.yaml", "no such config file")]
    for key, message in other:
        assert message in refused("sweep", "person.yaml", "name=wrong", key)
    mlflow_db = os.environ["MLFLOW_TRACKING_URI"].removeprefix("sqlite:///")
    assert "MLflow's own database" in refused("sweep", "person.yaml", "--storage", mlflow_db)
    assert "there is no study 'nobody'" in refused("sweep", "person.yaml", "name=nobody", "--join")
    assert not [run for run in runs_of("trial") if run.info.run_name.startswith("wrong")]


# processes that die, trials that fail: nothing is trained


@pytest.fixture
def sleepers(store):
    """Stand in an empty folder, with a store of its own."""
    return store


@pytest.mark.slow
def test_killed_and_gone_on_with(sweeper):
    process = sweeper("--trials", 6, "--sleep", 0.3)
    wait_for(lambda: len(begun()) >= 3)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    with Path("sweeps/sleepers.journal").open("ab") as journal:
        journal.write(b'{"op_code":5,"cut')  # a line that its writer did not finish
    cut_off = begun()[-1]
    ended_well(sweeper("--trials", 6, "--sleep", 0))
    lines = begun()
    assert len(lines) == 7, "only the trial that was cut off is run again"
    rates = [rate for _, _, rate in lines]
    assert rates.count(cut_off[2]) == 2, "with the same values"
    assert len(set(rates)) == 6, "no other trial twice"
    trials = runs_of("trial")
    assert by_status(trials) == {"FAILED": 1, "FINISHED": 6}
    (lost,) = [run for run in trials if run.info.status == "FAILED"]
    assert lost.info.run_id == cut_off[0]
    assert "its process died" in lost.data.tags["asr_lab.error"]
    (parent,) = runs_of("sweep")
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["sweep/trials"] == 6


@pytest.mark.slow
def test_a_worker_that_dies_is_replaced(sweeper):
    process = sweeper("--trials", 8, "--engine", "local", "--wait")
    wait_for(lambda: len({pid for _, pid, _ in begun()}) == 2)
    victim = begun()[-1]
    os.kill(int(victim[1]), signal.SIGKILL)
    Path("go").touch()
    ended_well(process)
    lines = begun()
    assert len(lines) == 9
    assert [rate for *_, rate in lines].count(victim[2]) == 2
    assert len({pid for _, pid, _ in lines}) >= 2
    assert by_status(runs_of("trial")) == {"FAILED": 1, "FINISHED": 8}
    numbers = sorted(int(run.data.tags["asr_lab.trial"]) for run in runs_of("trial"))
    assert numbers == sorted(set(numbers))


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["local", "slurm-local", "ray"])
def test_a_job_and_the_driver_are_killed_and_all_trials_are_counted_once(sweeper, engine, request, monkeypatch):
    if engine == "slurm-local":
        pytest.importorskip("submitit", reason="submitit is not installed")
    if engine == "ray":
        pytest.importorskip("ray", reason="ray is not installed: the extra `ray`, of 240 MB, is not part of `test`")
        if ran_inside(request):
            return
        ray_cluster(monkeypatch)
    command = ("--trials", 8, "--engine", engine, "--wait")
    driver = sweeper(*command)
    wait_for(lambda: len({pid for _, pid, _ in begun()}) == 2)
    os.kill(int(begun()[-1][1]), signal.SIGKILL)
    wait_for(lambda: len(begun()) == 3)
    os.kill(driver.pid, signal.SIGKILL)
    driver.wait()
    driver = sweeper(*command)
    wait_for(lambda: Path("log.txt").read_text().count("continuing sleepers"))
    Path("go").touch()
    ended_well(driver)
    finished = [run for run in runs_of("trial") if run.info.status == "FINISHED"]
    assert len(finished) == len({run.data.tags["asr_lab.trial"] for run in finished}) == 8
    assert {run.info.status for run in runs_of("trial")} <= {"FINISHED", "FAILED", "KILLED"}, "nothing is left running"
    study = optuna.load_study(
        study_name="sleepers", storage=StorageLocation("sweeps/sleepers.journal").open(print, first=False)
    )
    assert [trial.state.name for trial in trial_states.counted(study.get_trials())] == ["COMPLETE"] * 8
    (parent,) = runs_of("sweep")
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["sweep/trials"] == 8
    pids = {int(pid) for _, pid, _ in begun()}
    wait_for(lambda: not any(map(psutil.pid_exists, pids)), 60)


@pytest.mark.slow
def test_two_machines_share_a_study_in_postgresql(sweeper):
    with postgres_database() as database:
        leader = sweeper("--trials", 8, "--storage", database, "--host", "one", "--wait")
        wait_for(lambda: len(begun()) >= 1)
        joining = ("--join", "--storage", database, "--wait")
        helpers = [sweeper(*joining, "--host", name) for name in ("two", "three")]
        wait_for(lambda: len({pid for _, pid, _ in begun()}) == 3)
        os.kill(helpers[1].pid, signal.SIGKILL)  # another machine is lost: its heart stops
        helpers[1].wait()
        Path("go").touch()
        ended_well(leader)
        ended_well(helpers[0])
        study = optuna.load_study(study_name="sleepers", storage=database)
        states = [trial.state.name for trial in study.get_trials()]
        assert states.count("COMPLETE") == 8
        assert by_status(runs_of("trial")) == {"FAILED": 1, "FINISHED": 8}
        assert len({rate for _, _, rate in begun()}) == 8, "nobody proposes what another one does"
        assert len(runs_of("sweep")) == 1
        with pytest.raises(AsrLabError, match="MLflow's own database"):
            made_mlflows(database)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["journal", "postgresql"])
def test_clocks_ten_minutes_off_cost_no_trial_and_make_no_second_leader(sweeper, kind):
    with postgres_database() if kind == "postgresql" else nullcontext("shared.journal") as storage:
        common = ("--storage", storage, "--wait")
        leader = sweeper("--trials", 4, *common, "--host", "one", "--clock", -600)
        wait_for(lambda: len(begun()) == 1)
        second = sweeper("--trials", 4, *common, "--host", "two", "--clock", 600)
        assert second.wait(timeout=200) != 0
        assert f"is being run by process {leader.pid} on one" in Path("log.txt").read_text()
        helper = sweeper("--join", *common, "--host", "three", "--clock", 600)
        wait_for(lambda: len(begun()) == 2)
        Path("go").touch()
        ended_well(leader)
        ended_well(helper)
        assert by_status(runs_of("trial")) == {"FINISHED": 4}
        assert len(runs_of("sweep")) == 1


def made_mlflows(database: str) -> None:
    """The tables of MLflow in a database, and a sweep that would be kept there."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(database)
    with engine.begin() as connection:
        for table in ("experiments", "runs", "latest_metrics"):
            connection.execute(sqlalchemy.text(f"CREATE TABLE {table} (id integer)"))
    engine.dispose()
    StorageLocation(database).check("http://127.0.0.1:5000")


def backends_of(train, *, offline: bool = False) -> Backends:
    return Backends(
        partial(MlflowTracker, offline=offline), FolderStore, lambda recipe, store, folder: sweepers.Training(train)
    )


def swept(train, *, asked: int = 4, plan=None, offline: bool = False, timeout_s: float = 0, **more):
    """A sweep in this process whose trials run `train(config, tracker)`."""
    backends = backends_of(train, offline=offline)
    return sweeping.sweep(plan or sweepers.planned(**more), backends, QUIET, asked=asked, timeout_s=timeout_s)


def started(config, tracker, wer_of):
    spec = describe(config, family="deepspeech2", kind="train", model_type="deepspeech2", name="x", data={})
    with tracker.start(spec) as run:
        wer_of(run)


def test_trials_that_fail_and_trials_that_are_pruned(sleepers):
    calls = []

    def train(config, tracker):
        calls.append(config)

        def record(run):
            if len(calls) == 2:
                raise RuntimeError("CUDA out of memory")
            for epoch in range(1, 4):
                run.metrics({"val/wer": len(calls) / epoch, "val/loss": 1.0}, epoch)

        started(config, tracker, record)

    found = swept(train, pruner={"name": "median", "options": {"n_startup_trials": 1}})
    assert found.counts() == {"finished": 1, "pruned": 2, "failed": 1}
    trials = runs_of("trial")
    assert [run.info.status for run in trials] == ["FINISHED", "FAILED", "KILLED", "KILLED"]
    assert trials[1].data.tags["asr_lab.error"] == "RuntimeError: CUDA out of memory"
    assert "pruned after 1 reports" in trials[2].data.tags["asr_lab.error"]
    assert found.best[0].number == 0


def test_several_failures_in_a_row_end_a_sweep(sleepers):
    def train(config, tracker):
        raise AsrLabError("no such manifest")

    with pytest.raises(AsrLabError, match="3 trials in a row failed, the last one because: no such manifest"):
        swept(train, asked=20)
    (parent,), trials = runs_of("sweep"), runs_of("trial")
    assert parent.info.status == "FAILED"
    assert {"trials.csv", "sweep.html"} <= artifacts(parent.info.run_id), "what there is, is recorded"
    assert by_status(trials) == {"FAILED": 3}, "also one that fails before its own run is begun"
    assert {run.data.tags["asr_lab.error"] for run in trials} == {"no such manifest"}


def test_values_that_do_not_go_together_are_a_failed_trial(sleepers):
    def train(config, tracker):
        started(config, tracker, lambda run: run.metrics({"val/wer": 0.5}))

    plan = sweepers.planned()
    config_of = plan.space.config
    seen = []

    def config(chosen):
        seen.append(chosen)
        if len(seen) == 2:
            raise AsrLabError("these do not go together")
        return config_of(chosen)

    plan.space.config = config
    swept(train, plan=plan, asked=3)
    trials = runs_of("trial")
    assert [run.info.status for run in trials] == ["FINISHED", "FAILED", "FINISHED"]
    assert "these do not go together" in trials[1].data.tags["asr_lab.error"]
    assert "train.lr" in trials[1].data.params


def test_seeds_two_objectives_and_a_study_of_another_space(sleepers):
    def train(config, tracker):
        wer = 0.2 + config.run.seed / 10
        size = {"model/params": float(config.model.hidden_size)}
        started(config, tracker, lambda run: run.metrics({"val/wer": wer, "val/cer": wer / 2} | size))

    found = swept(train, seeds=3, asked=2)
    assert [trial.values for trial in found.trials] == [[pytest.approx(0.3)]] * 2
    trials, seeds = runs_of("trial"), runs_of("seed")
    assert len(seeds) == 6
    assert {run.data.tags["mlflow.parentRunId"] for run in seeds} == {run.info.run_id for run in trials}
    assert trials[0].data.metrics["val/wer_std"] == pytest.approx(0.1)
    assert by_status(trials) == {"FINISHED": 2}

    with pytest.raises(AsrLabError, match="minimize then, maximize now"):
        swept(train, asked=3, seeds=3, objective={"val/wer": "higher"})
    with pytest.raises(
        AsrLabError, match=r"(?s)the study 'sleepers' was begun with other settings:.*seeds: 3 then, 1 now"
    ):
        swept(train, asked=3)
    two = {"objective": {"val/wer": "", "model/params": "lower"}, "name": "two"}
    found = swept(train, plan=sweepers.planned(**two), asked=4)
    assert found.best, "the front"
    drawn = artifacts(found.run_id, "figures")
    assert "figures/pareto.png" in drawn


def test_with_several_seeds_a_trial_that_cannot_be_is_one_that_failed(sleepers):
    def train(config, tracker):
        if config.run.seed == 1:
            raise AsrLabError("this seed is unlucky")
        started(config, tracker, lambda run: run.metrics({"val/wer": 0.5}))

    found = swept(train, asked=1, seeds=2)
    assert found.counts() == {"failed": 1}
    assert found.trials[0].user_attrs["reason"] == "this seed is unlucky"
    assert by_status(runs_of("trial")) == {"FAILED": 1}
    assert by_status(runs_of("seed")) == {"FINISHED": 1}


def test_a_grid_ends_when_all_of_it_was_tried(sleepers):
    tried = []

    def train(config, tracker):
        tried.append((config.train.lr, config.model.num_layers))
        started(config, tracker, lambda run: run.metrics({"val/wer": 0.5}))

    space = {"train.lr": [1e-3, 1e-2], "model.num_layers": {"low": 1, "high": 2}}
    for sampler in ("grid", "brute_force"):
        tried.clear()
        found = swept(train, asked=9, name=sampler, space=space, sampler=sampler)
        assert len(found.trials) == len(tried) == len(set(tried)) == 4


@pytest.mark.parametrize("begun_already", [True, False])
def test_a_trial_that_others_took_over_is_not_counted_twice(sleepers, begun_already):
    """This machine was silent for so long that another one put the trial back."""
    calls = []

    def take_over():
        place = plan.location.open(lambda *_: None, first=False)
        study = optuna.load_study(study_name="sleepers", storage=place)
        (lost,) = study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
        study.tell(lost.number, state=optuna.trial.TrialState.FAIL)
        trial_states.lose(MlflowTracker(), study, lost)

    def train(config, tracker):
        calls.append(config.train.lr)
        if len(calls) == 2 and not begun_already:
            take_over()

        def record(run):
            if len(calls) == 2 and begun_already:
                take_over()
            run.metrics({"val/wer": 0.5})

        started(config, tracker, record)

    plan = sweepers.planned()
    found = swept(train, asked=3, plan=plan)
    assert found.counts() == {"finished": 3}
    assert len(calls) == 4
    assert calls.count(calls[1]) == 2
    assert by_status(runs_of("trial")) == {"FAILED": 1, "FINISHED": 3}
    assert "others try the trial again" in runs_of("trial")[1].data.tags["asr_lab.error"]


def test_a_cleanup_ranks_sweeps_and_not_their_trials(sleepers):
    made_run("lone", wer=0.3)
    parent = made_run("whole", wer=0.2, tags={"asr_lab.kind": "sweep"})
    for number in range(3):
        made_run(f"part-{number}", wer=0.2, parent=parent, tags={"asr_lab.kind": "trial"})
    said = ok("cleanup", "--keep-best", "2", "--yes")
    assert "part-0" in said
    assert [run.info.run_name for run in runs_of("trial")] == []
    assert len(runs_of("sweep") + runs_of("train")) == 2


def test_a_sweep_that_is_being_run_can_only_be_joined(sleepers):
    def train(config, tracker):
        with pytest.raises(AsrLabError, match="is being run by process"):
            swept(train)
        started(config, tracker, lambda run: run.metrics({"val/wer": 0.5}))

    swept(train, asked=1)


def test_ctrl_c_closes_trial_and_sweep_and_the_trial_is_run_again(sleepers):
    calls = []

    def train(config, tracker):
        calls.append(config.train.lr)

        def record(run):
            if len(calls) == 2:
                raise KeyboardInterrupt
            run.metrics({"val/wer": 0.5})

        started(config, tracker, record)

    with pytest.raises(KeyboardInterrupt):
        swept(train, asked=3)
    assert [run.info.status for run in runs_of("trial")] == ["FINISHED", "KILLED"]
    assert runs_of("sweep")[0].info.status == "KILLED"
    swept(train, asked=3)
    assert calls[1] == calls[2]
    assert len(calls) == 4
    assert runs_of("sweep")[0].info.status == "FINISHED"


def test_out_of_time_no_trial_is_begun_and_those_of_others_are_waited_for(sleepers):
    plan = sweepers.planned()

    def train(config, tracker):
        study = optuna.load_study(study_name="sleepers", storage=plan.location.open(lambda *_: None, first=False))
        others = study.ask()
        plan.space.draw(others)
        others.set_user_attr(PROCESS, process_mark())
        Timer(2.0, lambda: study.tell(others.number, 0.1)).start()
        started(config, tracker, lambda run: run.metrics({"val/wer": 0.5}))
        time.sleep(0.5)

    said = Console(file=io.StringIO(), width=200)
    found = sweeping.sweep(plan, backends_of(train), said, asked=9, timeout_s=0.5)
    assert f"waiting for trials that others run: 1 (process {os.getpid()} on" in said.file.getvalue()
    assert sorted(found.table()["val/wer"]) == [0.1, 0.5]
    assert sweeping.join(plan, backends_of(train), QUIET, timeout_s=0) == 0
    assert len(begun()) == 0, "nobody begins one when the leader's time is over"
    assert len(runs_of("trial")) == 1


def test_what_a_machine_that_is_gone_left_is_run_again(sleepers):
    """A container that was killed: its successor has another name, and a journal has no heartbeat."""

    def train(config, tracker):
        started(config, tracker, lambda run: run.metrics({"val/wer": 0.5}))

    plan = sweepers.planned()
    swept(train, asked=1, plan=plan)
    study = optuna.load_study(study_name="sleepers", storage=plan.location.open(lambda *_: None, first=False))
    lost = study.ask()
    plan.space.draw(lost)
    lost.set_user_attr(PROCESS, "container-1|7|1763700000")
    study.set_user_attr(COORDINATOR, "container-1|7|1763700000")
    found = swept(train, asked=2, plan=plan)
    assert found.counts() == {"finished": 2}
    assert found.trials[1].params == lost.params


def test_what_a_killed_process_shared_is_taken_away_by_the_next(sleepers):
    def train(config, tracker):
        started(config, tracker, lambda run: run.metrics({"val/wer": 0.5}))

    plan = sweepers.planned()
    swept(train, asked=1, plan=plan)
    host, began = socket.gethostname(), psutil.Process(1).create_time()
    marks = f"{host}|{2**22 + 1}|{began:.0f}", f"{host}|1|{began:.0f}", f"another|1|{began:.0f}"
    dead, living, elsewhere = (Path("checkpoints") / f"joined-{mark}" for mark in marks)
    for folder in (dead, living, elsewhere):
        folder.mkdir(parents=True)
    sweeping.join(plan, backends_of(train), QUIET, timeout_s=0)
    assert [folder.exists() for folder in (dead, living, elsewhere)] == [False, True, True]


@pytest.mark.slow
def test_why_a_job_gave_up_is_said(sweeper):
    process = sweeper("--trials", 4, "--engine", "local", "--broken")
    assert process.wait(timeout=300) == 1
    assert "a job gave up: the store of runs is out of reach" in Path("log.txt").read_text()
    assert runs_of("sweep")[0].info.status == "FAILED"


def test_a_sweep_begun_offline_goes_on_in_the_run_that_was_synced(sleepers):
    def train(config, tracker):
        started(config, tracker, lambda run: run.metrics({"val/wer": 0.5}))

    swept(train, asked=1, offline=True)
    assert not runs_of("sweep")
    ok("sync")
    swept(train, asked=2)
    (parent,) = runs_of("sweep")
    assert parent.data.metrics["sweep/trials"] == 2
    assert [run.data.tags["mlflow.parentRunId"] for run in runs_of("trial")] == [parent.info.run_id] * 2


def test_a_deepspeech2_is_pruned_by_its_validation(store, corpus):
    """The recipe's own epochs are what the pruner sees."""
    Path("ds2.yaml").write_text(
        f"recipe: deepspeech2\ndata: {{train: {corpus}, val: {corpus}, test: ''}}\n"
        "model: {hidden_size: 16, conv_channels: 4, num_layers: 1}\ntrain: {epochs: 2, batch_size: 12}\n"
    )
    Path("sizes.yaml").write_text(
        "recipe: sweep\nexperiment: ds2.yaml\nspace: {train.lr: [1e-3, 1e-4]}\nobjective: val/loss\n"
        "pruner: {name: threshold, options: {upper: 0.0}, metric: val/loss}\n"
    )
    assert "no trial finished" in refused("sweep", "sizes.yaml", "--trials", "1")
    (trial,) = runs_of("trial")
    assert trial.info.status == "KILLED"
    assert "pruned after 1 reports: val/loss" in trial.data.tags["asr_lab.error"]
