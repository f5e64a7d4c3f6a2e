"""torchrun on two hosts, which are two networks with a cable between them: one run, also when a worker is lost."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import mlflow
import psutil
import pytest
from conftest import TINY
from namespaces import ran_inside

FRESH_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
"""Without it workers that are restarted read where those before them listened, and are refused."""
ADDRESSES = ("10.77.0.1", "10.77.0.2")


def ip(*words: str, of: int = 0) -> None:
    """Run `ip` here, or in the network of a process."""
    subprocess.run([*(["nsenter", "-t", str(of), "-n"] if of else []), "ip", *words], check=True)


def second_host() -> int:
    """Make a second network, joined with this one; return a process in it."""
    host = subprocess.Popen(["unshare", "--net", "sleep", "infinity"]).pid
    own = Path("/proc/self/ns/net").readlink()
    until = time.monotonic() + 30
    while Path(f"/proc/{host}/ns/net").readlink() == own:
        assert time.monotonic() < until
        time.sleep(0.01)
    ip("link", "add", "here", "type", "veth", "peer", "name", "there")
    ip("link", "set", "there", "netns", str(host))
    for device, address, of in zip(("here", "there"), ADDRESSES, (0, host), strict=True):
        ip("addr", "add", f"{address}/24", "dev", device, of=of)
        ip("link", "set", device, "up", of=of)
    ip("link", "set", "lo", "up", of=host)
    return host


def torchrun(number: int, inside: int, words: list[str]) -> subprocess.Popen:
    """Start what is typed on a host."""
    options = ["--nnodes=2", "--nproc-per-node=1", "--max-restarts=3", "--rdzv-backend=c10d", "--rdzv-id=two-hosts"]
    options += [f"--rdzv-endpoint={ADDRESSES[0]}:29400", f"--rdzv-conf=is_host={1 - number}"]
    command = [sys.executable, "-m", "torch.distributed.run", *options, f"--local-addr={ADDRESSES[number]}"]
    env = {**os.environ, "GLOO_SOCKET_IFNAME": ("here", "there")[number], "OMP_NUM_THREADS": "1", FRESH_STORE: "1"}
    enter = ["nsenter", "-t", str(inside), "-n"] if inside else []
    with Path(f"host{number}.txt").open("wb") as log:
        return subprocess.Popen([*enter, *command, "-m", "asr_lab", *words], stdout=log, stderr=log, env=env)


def worker_of(agent: subprocess.Popen) -> int:
    (worker,) = psutil.Process(agent.pid).children()
    return worker.pid


@pytest.mark.slow
def test_two_hosts_train_one_run_and_go_on_when_a_worker_is_lost(request, store, corpus):
    if ran_inside(request):
        return
    Path("base.yaml").write_text("recipe: deepspeech2\n")
    words = ["train", "base.yaml", f"data.train={corpus}", f"data.val={corpus}", *TINY, "train.epochs=10"]
    agents = [torchrun(number, inside, words) for number, inside in enumerate((0, second_host()))]

    def logs() -> str:
        return "\n".join(Path(f"host{number}.txt").read_text()[-4000:] for number in range(2))

    until = time.monotonic() + 300
    while not list(Path("checkpoints").glob("*/checkpoint-*/COMPLETE")):
        assert time.monotonic() < until, logs()
        assert all(agent.poll() is None for agent in agents), logs()
        time.sleep(0.05)
    lost = worker_of(agents[1])
    os.kill(lost, signal.SIGKILL)
    until = time.monotonic() + 400
    while any(agent.poll() is None for agent in agents):
        assert time.monotonic() < until, logs()
        assert not any(agent.poll() for agent in agents), logs()
        time.sleep(0.1)
    client = mlflow.MlflowClient()
    (run,) = client.search_runs([one.experiment_id for one in client.search_experiments()])
    assert run.info.status == "FINISHED"
    assert "continuing" in logs(), "it began at the last checkpoint"
    points = client.get_metric_history(run.info.run_id, "val/wer")
    assert [point.step for point in points] == sorted({point.step for point in points})
    assert len(points) == 10
    assert not list(Path("jobs").iterdir()), "the mark of the lost process is taken away"
