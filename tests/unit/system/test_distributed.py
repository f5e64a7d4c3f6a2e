"""The processes of torchrun: their number and place, and that asking for them needs no torch."""

import os
import socket
import subprocess
import sys

import pytest

from asr_lab.system.distributed import connect_processes, from_rank_0, is_first, is_launched, rank_and_world_size


@pytest.fixture
def launched(monkeypatch):
    def set_to(**values: str) -> None:
        for name in ("RANK", "WORLD_SIZE"):
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return set_to


def test_a_process_alone(launched):
    for values in ({}, {"RANK": "", "WORLD_SIZE": ""}):
        launched(**values)
        assert (rank_and_world_size(), is_first()) == ((0, 1), True)
    launched()
    assert not is_launched()
    connect_processes()
    assert from_rank_0("own") == "own"


def test_one_of_several(launched):
    launched(RANK="1", WORLD_SIZE="2")
    assert (rank_and_world_size(), is_first(), is_launched()) == ((1, 2), False, True)
    launched(RANK="0", WORLD_SIZE="1")  # torchrun with one process
    assert (is_first(), is_launched()) == (True, True)


def test_the_rank_is_known_without_torch():
    code = (
        "import sys; from asr_lab.system.distributed import connect_processes, rank_and_world_size; "
        "connect_processes(); rank_and_world_size(); sys.exit('torch' in sys.modules)"
    )
    alone = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    assert subprocess.run([sys.executable, "-c", code], env=alone).returncode == 0


@pytest.mark.slow
def test_ranks_agree_on_what_rank_0_has():
    code = (
        "from asr_lab.system.distributed import from_rank_0, connect_processes, rank_and_world_size as place; "
        "connect_processes(); print(from_rank_0(f'of {place()[0]}'))"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            env={**os.environ, **address, "RANK": rank, "LOCAL_RANK": rank},
            stdout=subprocess.PIPE,
            text=True,
        )
        for rank in ("0", "1")
    ]
    assert [rank.communicate(timeout=120)[0].strip() for rank in ranks] == ["of 0", "of 0"]
