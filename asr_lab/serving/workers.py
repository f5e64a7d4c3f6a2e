"""Transcribe in several processes of one thread each: on CPUs, where batches do not pay.

Processes are forked, so they share the weights and start at once; the parent must not have computed with several
threads before. They end with the parent, also when that is killed.
"""

from __future__ import annotations

import os
import signal
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context

import torch

from asr_lab.errors import AsrLabError
from asr_lab.serving.engine import Engine, Request, Result
from asr_lab.system.stopping import end_with

_AHEAD = 4  # requests given to each process before its results are taken
_engine: Engine | None = None


def transcribe(engine: Engine, requests: Iterable[Request], workers: int, *, batch_size: int = 0) -> Iterator[Result]:
    """Yield the result of each request, in order; with one worker, or on a GPU, in this process.

    Raises `AsrLabError` if a process is killed, as for want of memory.
    """
    global _engine
    if workers < 2 or engine.recognizer.model.device.type != "cpu":
        yield from engine.transcribe(requests, batch_size=batch_size)
        return
    _engine = engine
    rest, waiting = iter(requests), deque[Future[Result]]()
    pool = ProcessPoolExecutor(workers, get_context("fork"), initializer=_start, initargs=(os.getpid(),))
    try:
        while True:
            for request in islice(rest, _AHEAD * workers - len(waiting)):
                waiting.append(pool.submit(_one, request))
            if not waiting:
                return
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        what = "a process that transcribes was killed, perhaps because there was too little memory"
        raise AsrLabError(what, hint="fewer --workers need less memory; --resume continues") from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        _engine = None


def _start(parent: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this one
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    end_with(parent)
    torch.set_num_threads(1)


def _one(request: Request) -> Result:
    assert _engine is not None
    (result,) = _engine.transcribe([request])
    return result
