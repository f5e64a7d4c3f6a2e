"""Engines: commands that end, give up, are killed, cancelled and watched by a later process; and what is refused."""

import os
import signal
import stat
import sys
import time
from pathlib import Path

import pytest
from namespaces import ran_inside, ray_cluster

from asr_lab.engines.crew import Crew
from asr_lab.engines.engine import Resources, make_engine, parse_resources
from asr_lab.engines.work import Piece, Work
from asr_lab.errors import AsrLabError

NAMES = ["local", "slurm-local"]
SLEEP = [sys.executable, "-c", "import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(600)"]


def engine_of(name, folder, resources=None, **env):
    if name != "local":
        pytest.importorskip("submitit", reason="submitit is not installed")
    return make_engine(name, folder / "logs", resources or Resources(), env)


@pytest.fixture(params=NAMES)
def engine(request, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return engine_of(request.param, tmp_path, GREETING="hello there")


def ended(task, patience_s=60):
    until = time.monotonic() + patience_s
    while task.state() in ("waiting", "running"):
        assert time.monotonic() < until, "it runs on"
        time.sleep(0.05)
    return task.state()


def process_of_task() -> int:
    until = time.monotonic() + 60
    while not (Path("pid").exists() and Path("pid").read_text()):
        assert time.monotonic() < until
        time.sleep(0.05)
    return int(Path("pid").read_text())


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_command_ends_with_its_code_and_leaves_its_output(engine):
    code = "import os, sys; print(os.environ['GREETING'], os.getcwd(), file=sys.stderr); sys.exit(3)"
    task = engine.submit([sys.executable, "-c", code])
    assert ended(task) == "ended"
    assert task.exit_code() == 3
    assert f"hello there {Path.cwd()}" in task.log.read_text()
    assert engine.watch(task.id).state() == "lost", "how it ended is not known later"


def test_a_command_that_is_killed_is_lost(engine):
    task = engine.submit(SLEEP)
    os.kill(process_of_task(), signal.SIGKILL)
    assert ended(task) == "lost"


@pytest.mark.slow
def test_a_command_is_cancelled_also_by_a_later_process(engine):
    for watched in (False, True):
        Path("pid").unlink(missing_ok=True)
        task = engine.submit(SLEEP)
        pid = process_of_task()
        later = engine.watch(task.id) if watched else task
        assert later.state() == "running"
        later.cancel()
        later.wait(60)
        assert ended(task) in ("lost", "ended")
        until = time.monotonic() + 20
        while engine.name == "local" and is_running(pid):
            assert time.monotonic() < until
            time.sleep(0.05)


def test_a_command_started_in_the_background_of_a_shell_is_cancelled(engine):
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell that is no terminal starts `command &`
    try:
        task = engine.submit(SLEEP)
    finally:
        signal.signal(signal.SIGINT, before)
    process_of_task()
    task.cancel()
    assert ended(task) in ("lost", "ended")


def test_a_crew_replaces_what_is_lost_and_not_what_gives_up(engine):
    commands = {1: SLEEP, 2: [sys.executable, "-c", "print('Error: no such manifest'); exit(1)"]}
    crew = Crew(engine, commands.__getitem__, most=2)
    crew.fill(1)
    (first,) = crew.tasks
    os.kill(process_of_task(), signal.SIGKILL)
    ended(first)
    crew.look()
    assert crew.tasks == []
    crew.fill(1)
    (second,) = crew.tasks
    ended(second)
    with pytest.raises(AsrLabError, match="a job gave up: no such manifest") as refusal:
        crew.look()
    assert refusal.value.where == str(second.log)
    with pytest.raises(AsrLabError, match="2 jobs were submitted"):
        crew.fill(1)


@pytest.mark.slow
def test_a_crew_adopts_what_still_runs(engine):
    crew = Crew(engine, lambda number: SLEEP, most=3)
    crew.fill(1)
    process_of_task()
    done = engine.submit([sys.executable, "-c", ""])
    ended(done)
    later = Crew(engine, lambda number: SLEEP, most=3)
    elsewhere = crew.ids[0].replace(crew.ids[0].partition("|")[0], "elsewhere")
    later.adopt([*crew.ids, done.id, elsewhere])
    assert later.ids == crew.ids
    later.fill(1)
    assert len(later.tasks) == 1, "there is one already"
    later.cancel()


def test_a_job_ends_with_the_process_that_started_it(tmp_path, monkeypatch):
    """asr-lab as a job of a process that is killed."""
    monkeypatch.chdir(tmp_path)
    job = (
        "import os, time; from asr_lab.system.stopping import ending_quietly\n"
        "with ending_quietly(lambda *_: open('ended', 'w').write('x')):\n"
        "    open('pid', 'w').write(str(os.getpid())); time.sleep(600)"
    )
    Path("job.py").write_text(job)
    starter = (
        "import sys, time; from pathlib import Path; from asr_lab.engines.engine import Resources, make_engine\n"
        "make_engine('local', Path('logs'), Resources()).submit([sys.executable, 'job.py']); time.sleep(600)"
    )
    pid = os.spawnv(os.P_NOWAIT, sys.executable, [sys.executable, "-c", starter])
    job_pid = process_of_task()
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    until = time.monotonic() + 20
    while is_running(job_pid):
        assert time.monotonic() < until
        time.sleep(0.05)
    assert Path("ended").exists(), "it closed what was open"


@pytest.mark.slow
def test_commands_on_ray_end_are_killed_cancelled_and_watched(tmp_path, monkeypatch, request):
    pytest.importorskip("ray", reason="ray is not installed: the extra `ray`, of 240 MB, is not part of `test`")
    if ran_inside(request):
        return
    monkeypatch.chdir(tmp_path)
    with pytest.raises(AsrLabError, match="no Ray cluster is reached"):
        engine_of("ray", tmp_path)
    ray_cluster(monkeypatch)
    engine = engine_of("ray", tmp_path, GREETING="hello there")
    code = "import os, sys; print(os.environ['GREETING'], os.getcwd()); sys.exit(3)"
    task = engine.submit([sys.executable, "-c", code])
    assert ended(task) == "ended"
    assert task.exit_code() == 3
    assert f"hello there {tmp_path}" in task.log.read_text()
    for end in ("killed", "cancelled"):
        Path("pid").unlink(missing_ok=True)
        task = engine.submit(SLEEP)
        pid, later = process_of_task(), engine.watch(task.id)
        if end == "killed":
            os.kill(pid, signal.SIGKILL)
        else:
            later.cancel()
            later.wait(60)
        assert ended(later) in ("lost", "ended")
        assert end != "killed" or later.why() == "SIGKILL"
        assert not is_running(pid)
    many = engine.submit_all([SLEEP] * 3)
    assert {task.state() for task in many} & {"waiting"}, "there are two processors"
    for task in many:
        task.cancel()
        assert ended(task) in ("lost", "ended")
    assert engine.watch(task.id).state() == "lost"
    with pytest.raises(AsrLabError, match="no limit of time"):
        engine_of("ray", tmp_path, Resources(hours=2))


def test_resources_are_parsed_and_what_an_engine_has_not_is_refused(tmp_path):
    asked = parse_resources(["cpus=4", "memory_gb=16.5,partition=gpu,nodelist=a1,a2"])
    assert asked == Resources(cpus=4, memory_gb=16.5, options={"partition": "gpu", "nodelist": "a1,a2"})
    for word in ("cpus", "cpus=0", "cpus=many", "hours=-1", "=3", "gpus=nan", "two words=1"):
        with pytest.raises(AsrLabError):
            parse_resources([word])
    for resources in (Resources(gpus=1), Resources(hours=2), Resources(options={"partition": "gpu"})):
        with pytest.raises(AsrLabError):
            engine_of("local", tmp_path, resources)
    with pytest.raises(AsrLabError, match="no resource 'cpu'; did you mean cpus") as refusal:
        engine_of("local", tmp_path, Resources(options={"cpu": "2"}))
    assert refusal.value.allowed == "cpus, processes"
    with pytest.raises(AsrLabError, match="did you mean partition"):
        engine_of("slurm-local", tmp_path, Resources(options={"partitoin": "gpu"}))


FAKE = {
    "srun": "#!/bin/sh\nexit 0\n",
    "sbatch": '#!/bin/sh\ncp "$1" submitted.sh\necho "Submitted batch job 77"\n',
    "sacct": "#!/bin/sh\nprintf 'JobID|State|NodeList\\n77|%s|node1\\n' \"$(cat state)\"\n",
    "scancel": '#!/bin/sh\necho "$@" > cancelled\n',
}


@pytest.fixture
def slurm(tmp_path, monkeypatch):
    """Programs of these names in place of Slurm's."""
    submitit = pytest.importorskip("submitit", reason="submitit is not installed")
    submitit.SlurmJob.watcher.clear()
    monkeypatch.chdir(tmp_path)
    for name, content in FAKE.items():
        file = tmp_path / "bin" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(content)
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    return tmp_path


def test_a_few_seconds_are_not_asked_for_as_no_limit(slurm):
    Path("state").write_text("PENDING")
    engine_of("slurm", slurm, Resources(hours=0.005)).submit(["true"])
    assert "#SBATCH --time=1\n" in Path("submitted.sh").read_text()


def test_what_slurm_is_asked_for(slurm, monkeypatch):
    resources = Resources(cpus=3, gpus=2, memory_gb=8, hours=1.5, options={"partition": "gpu", "account": "speech"})
    engine = engine_of("slurm", slurm, resources)
    Path("state").write_text("PENDING")
    task = engine.submit(["true"])
    script = Path("submitted.sh").read_text()
    for line in ("cpus-per-task=3", "gpus-per-node=2", "mem=8GB", "time=90", "partition=gpu", "account=speech"):
        assert f"#SBATCH --{line}\n" in script
    assert task.id == "77"
    assert task.state() == "waiting"
    task.cancel()
    assert Path("cancelled").read_text() == "77\n"
    later = engine.watch("77")
    monkeypatch.setattr(type(later._job), "_results_timeout_s", 0)
    later._job.watcher.clear()
    for state, ours in (("RUNNING", "running"), ("NODE_FAIL", "lost")):
        Path("state").write_text(state)
        later._job.watcher.clear()
        assert later.state() == ours


def test_parts_are_one_array_of_slurm(slurm):
    Path("state").write_text("PENDING")
    tasks = engine_of("slurm", slurm).submit_all([["true"]] * 3)
    assert [task.id for task in tasks] == ["77_0", "77_1", "77_2"]
    assert "#SBATCH --array=0-2" in Path("submitted.sh").read_text()
    assert len({task.log for task in tasks}) == 3


@pytest.mark.parametrize(
    ("state", "says"),
    [("CANCELLED by 1000", "it was cancelled"), ("OUT_OF_MEMORY", "memory was too little"), ("NODE_FAIL", "3 times")],
)
def test_what_slurm_ended_is_submitted_again_only_where_that_helps(slurm, state, says, monkeypatch):
    import submitit

    monkeypatch.setattr(submitit.SlurmJob, "_results_timeout_s", 0)
    monkeypatch.setattr(submitit.SlurmJob.watcher, "_delay_s", 0)
    Path("state").write_text(state)
    lines = []
    piece = Piece("training", ["true"], Path("done"))
    work = Work(engine_of("slurm", slurm), slurm / "work", [piece], lines.append, shows=True)
    work.submit()
    with pytest.raises(AsrLabError, match=says):
        work.wait()
    assert len([line for line in lines if "(NODE_FAIL), submitted again" in line]) == (2 if state == "NODE_FAIL" else 0)


@pytest.mark.parametrize(
    ("sbatch", "says"),
    [
        ("echo 'sbatch: error: invalid partition specified: gpu' >&2; exit 1", "invalid partition specified: gpu"),
        ("echo 'sbatch: error: QOSLimit' >&2; echo 'sbatch: error: Batch job submission failed' >&2; exit 1", "failed"),
        ("echo welcome to this cluster", "Could not make sense of sbatch output"),
    ],
)
def test_a_slurm_that_refuses_says_why(slurm, sbatch, says):
    Path("bin/sbatch").write_text(f"#!/bin/sh\n{sbatch}\n")
    with pytest.raises(AsrLabError, match=f"Slurm refuses the job: .*{says}"):
        engine_of("slurm", slurm).submit(["true"])


def test_a_machine_without_srun_has_no_slurm(slurm):
    Path("bin/srun").unlink()
    with pytest.raises(AsrLabError, match="no srun"):
        engine_of("slurm", slurm)


def test_jobs_that_wait_are_cancelled_once(slurm):
    Path("bin/scancel").write_text('#!/bin/sh\necho "$@" >> cancelled\n')
    Path("state").write_text("PENDING")
    crew = Crew(engine_of("slurm", slurm), lambda number: ["true"], most=1)
    crew.fill(1)
    crew.cancel(waiting=True)
    crew.cancel(waiting=True)
    assert Path("cancelled").read_text() == "77\n"
    Path("state").write_text("CANCELLED")
    crew.tasks[0]._job.watcher.clear()
    crew.tasks[0]._job._results_timeout_s = 0
    crew.look()
    assert crew.tasks == []
