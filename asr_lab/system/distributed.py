"""The processes of `torchrun`: which one this is, how many there are, and what they agree on.

torch is imported where it is needed: commands that show runs ask for the rank too, and do without it.
"""

from __future__ import annotations

import os
from typing import TypeVar

T = TypeVar("T")


def rank_and_world_size() -> tuple[int, int]:
    """Return the rank of this process and the number of processes; (0, 1) without `torchrun`."""
    return int(os.environ.get("RANK") or 0), int(os.environ.get("WORLD_SIZE") or 1)


def is_first() -> bool:
    """Whether this process is rank 0, which records and prints."""
    return rank_and_world_size()[0] == 0


def is_launched() -> bool:
    """Whether `torchrun` started this process, be it the only one."""
    return "RANK" in os.environ or rank_and_world_size()[1] != 1


def connect_processes() -> None:
    """Connect the processes of `torchrun`; do nothing if there is one."""
    if rank_and_world_size()[1] > 1:
        import torch
        from accelerate import PartialState

        PartialState(cpu=not torch.cuda.is_available())


def from_rank_0(value: T) -> T:
    """Return the value of rank 0 on all ranks; with one process, the value itself."""
    import torch

    if not torch.distributed.is_initialized():
        return value
    shared = [value]
    torch.distributed.broadcast_object_list(shared, src=0)
    return shared[0]
