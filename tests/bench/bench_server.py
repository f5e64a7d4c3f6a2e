"""What the server costs above its engine: processor time of a request, by the API and by MLflow's protocol.

A server in a process of its own, with a DeepSpeech2 of the demo's sizes (drawn weights), is asked by one client for the
same WAV file of 1.5 s, with words; its processor time is read off the system before and after. The engine's own cost is
that of the same bytes in a process without a server.

    OMP_NUM_THREADS=1 python tests/bench/bench_server.py [--requests 200] [--values FILE]
"""

from __future__ import annotations

import argparse
import base64
import io
import json
import multiprocessing
import os
import time
import urllib.request
from collections.abc import Callable

import figures
import numpy as np
import psutil
import soundfile
from bench_serving import deepspeech2, signals

from asr_lab.serving import http_server
from asr_lab.serving.engine import Engine, Request
from asr_lab.serving.http_api import Limits
from asr_lab.serving.served_models import ServedModels
from asr_lab.units import SAMPLE_RATE

MARK = "boundary"


def recording(seconds: float) -> bytes:
    file = io.BytesIO()
    signal = signals(1, seconds * 10)[0][: round(seconds * SAMPLE_RATE)]
    soundfile.write(file, np.clip(signal, -1, 1), SAMPLE_RATE, format="WAV")
    return file.getvalue()


def serve(port: multiprocessing.Queue[str]) -> None:
    with http_server.bind("127.0.0.1", 0) as bound:
        models = ServedModels(Engine(deepspeech2()), "models:/bench/1")
        http_server._log_to_stderr = lambda: None
        http_server.run(models, bound, Limits(), "", port.put)


def form(content: bytes) -> tuple[bytes, str]:
    fields = {"model": "bench", "response_format": "verbose_json"}
    head = "".join(
        f'--{MARK}\r\nContent-Disposition: form-data; name="{key}"\r\n\r\n{value}\r\n' for key, value in fields.items()
    )
    head += f'--{MARK}\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    return head.encode() + content + f"\r\n--{MARK}--\r\n".encode(), f"multipart/form-data; boundary={MARK}"


def table(content: bytes) -> tuple[bytes, str]:
    rows = [{"audio": base64.b64encode(content).decode()}]
    return json.dumps({"dataframe_records": rows, "params": {"words": True}}).encode(), "application/json"


def post(address: str, body: bytes, kind: str) -> None:
    request = urllib.request.Request(address, body, {"Content-Type": kind})
    with urllib.request.urlopen(request) as response:
        response.read()


def each_ms(ask: Callable[[], object], clock: Callable[[], float], count: int) -> float:
    for _ in range(10):
        ask()
    began = clock()
    for _ in range(count):
        ask()
    return (clock() - began) / count * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=1.5)
    figures.add_values_option(parser)
    wanted = parser.parse_args()
    content = recording(wanted.seconds)
    own = Engine(deepspeech2())
    request = Request(audio=content, words=True)
    context = multiprocessing.get_context("spawn")
    port = context.Queue()
    server = context.Process(target=serve, args=(port,), daemon=True)
    server.start()
    address, process = port.get(timeout=300), psutil.Process(server.pid)

    def used() -> float:
        times = process.cpu_times()
        return float(times.user + times.system)

    engine_ms = each_ms(lambda: list(own.transcribe([request])), time.process_time, wanted.requests)
    print(f"load {os.getloadavg()[0]:.1f}; engine {engine_ms:.1f} ms of processor time for {wanted.seconds} s of audio")
    made: dict[str, figures.Value] = {"engine_ms": engine_ms}
    for path, (body, kind) in (("/v1/audio/transcriptions", form(content)), ("/invocations", table(content))):
        served_ms = each_ms(
            lambda path=path, body=body, kind=kind: post(address + path, body, kind), used, wanted.requests
        )
        print(f"  {path:26} {served_ms:.1f} ms, {served_ms - engine_ms:+.1f} above the engine")
        made[f"{path.rpartition('/')[2]}_above_ms"] = served_ms - engine_ms
    server.terminate()
    figures.write(made, wanted.values, "server")


if __name__ == "__main__":
    main()
