"""What recognition while audio comes in costs, and how long one waits for the text, on a trained streaming model.

Each utterance of a manifest goes in in pieces of 0.2, 0.5 and 2 s: processor time a piece, share of real time, and the
time from the end of speech to the final text (the last piece and what follows it); texts are compared with those of
whole recordings. Then many streams in one step of the network: how many one core carries in real time, and how many of
`asr-lab serve`, with 1 and 8 clients that send as fast as it answers.
Utterances with pauses between them, zeros or quiet noise: how many utterances were found, and their WER.
`--against`: how much later than in another model's output words end, by their times, where both wrote the same text.

    OMP_NUM_THREADS=1 python tests/bench/bench_streaming.py MODEL corpora/demo/test.jsonl.gz --against OTHER
"""

from __future__ import annotations

import argparse
import contextlib
import json
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import figures
import jiwer
import numpy as np
import psutil
import torch
from websockets.sync.client import connect

from asr_lab.data import manifest
from asr_lab.data.audio import Signal
from asr_lab.data.cut_audio import read_cut
from asr_lab.models import load_model
from asr_lab.models.deepspeech2_streaming import LATENCY_S
from asr_lab.serving.engine import Engine, Request, Result
from asr_lab.serving.streaming import DEFAULT_RULES, StreamingRecognizer
from asr_lab.tracking.models.model_store import MlflowStore
from asr_lab.units import SAMPLE_RATE

PIECES_S = (0.2, 0.5, 2.0)
AT_ONCE = (1, 4, 16, 64)
CLIENTS = (1, 8)
END = np.zeros(0, np.float32)


def pieces(samples: Signal, piece_s: float) -> Iterator[Signal]:
    size = round(piece_s * SAMPLE_RATE)
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def one_by_one(
    recognizer: StreamingRecognizer, signals: Sequence[Signal], piece_s: float, whole: list[str]
) -> dict[str, float]:
    """Return a line of the first table: milliseconds a piece and to the final text, share of real time, equal texts."""
    costs, ends, same, spent = [], [], 0, 0.0
    for samples, text in zip(signals, whole, strict=True):
        stream = recognizer.open()
        for part in pieces(samples, piece_s):
            began = time.process_time()
            recognizer.accept([stream], [part], [False])
            costs.append(time.process_time() - began)
            spent += costs[-1]
        began = time.process_time()
        recognizer.accept([stream], [END], [True])
        result = recognizer.result(stream)
        last = time.process_time() - began
        spent += last
        ends.append(costs[-1] + last)
        same += result.text == text
    return {
        "piece_ms": 1e3 * statistics.mean(costs),
        "piece_95_ms": 1e3 * float(np.quantile(costs, 0.95)),
        "real_time_share": spent / (sum(map(len, signals)) / SAMPLE_RATE),
        "final_ms": 1e3 * statistics.mean(ends),
        "final_95_ms": 1e3 * float(np.quantile(ends, 0.95)),
        "same_texts": same,
    }


def at_once(recognizer: StreamingRecognizer, signals: Sequence[Signal], piece_s: float, count: int) -> float:
    """Seconds of audio that a second of processor time transcribes, of so many streams in each step."""
    joined = np.concatenate(signals)
    streams = [recognizer.open() for _ in range(count)]
    size, steps = round(piece_s * SAMPLE_RATE), max(3, round(6 / piece_s))
    offsets = [number * len(joined) // count for number in range(count)]
    spent = 0.0
    for step in range(steps):
        places = [(offset + step * size) % (len(joined) - size) for offset in offsets]
        parts = [joined[place : place + size] for place in places]
        began = time.process_time()
        recognizer.accept(streams, parts, [False] * count)
        spent += time.process_time() - began if step else 0  # the first warms up
    return count * piece_s * (steps - 1) / spent


def transcribed(folder: Path, signals: Sequence[Signal]) -> tuple[list[Result], float]:
    """Results with words of whole recordings, and their share of real time."""
    engine = Engine(load_model(folder))
    list(engine.transcribe([Request(audio=signals[0])]))
    began = time.process_time()
    results = list(engine.transcribe([Request(audio=one, words=True) for one in signals]))
    return results, (time.process_time() - began) / (sum(map(len, signals)) / SAMPLE_RATE)


def later(ours: Sequence[Result], theirs: Sequence[Result]) -> list[float]:
    """How much later words end in our results, in seconds."""
    return [
        word.end_s - other.end_s
        for mine, against in zip(ours, theirs, strict=True)
        if mine.text == against.text
        for word, other in zip(mine.words, against.words, strict=True)
    ]


def with_pauses(
    recognizer: StreamingRecognizer, signals: Sequence[Signal], references: list[str], level: float
) -> tuple[int, float]:
    """Transcribe utterances with pauses of 1 to 1.5 s between them as one stream, cut by the rules of the server.

    Returns how many utterances were found, and the WER of all.
    """
    draw, parts, texts = np.random.default_rng(0), [], []
    for samples in signals:
        pause = draw.normal(0, level, int(draw.uniform(1.0, 1.5) * SAMPLE_RATE)).astype(np.float32)
        parts += [samples, pause]
    stream = recognizer.open()
    for part in pieces(np.concatenate(parts), PIECES_S[0]):
        recognizer.accept([stream], [part], [False])
        if recognizer.ends(stream, DEFAULT_RULES):
            recognizer.accept([stream], [END], [True])
            texts.append(recognizer.result(stream).text)
            stream = recognizer.open()
    recognizer.accept([stream], [END], [True])
    texts = [text for text in (*texts, recognizer.result(stream).text) if text]
    return len(texts), jiwer.wer(" ".join(references), " ".join(texts))


def client(address: str, samples: Signal) -> None:
    """Send an utterance in pieces of 0.2 s, wait for its text."""
    with connect(address, open_timeout=60) as connection:
        given = {"format": {"type": "audio/pcm", "rate": SAMPLE_RATE}, "turn_detection": None}
        session = {"type": "transcription", "audio": {"input": given}}
        connection.send(json.dumps({"type": "session.update", "session": session}))
        for part in pieces(samples, PIECES_S[0]):
            connection.send((32767 * part).astype("<i2").tobytes())
        connection.send(json.dumps({"type": "input_audio_buffer.commit"}))
        while not json.loads(connection.recv(60))["type"].endswith("completed"):
            pass


def served(folder: Path, signals: Sequence[Signal]) -> list[float]:
    """Seconds of audio that a second of the server's processor time transcribes, for 1 and 8 clients at once."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = ["serve", "--model", str(folder), "--port", str(port)]
    server = subprocess.Popen([sys.executable, "-m", "asr_lab", *words], stderr=subprocess.DEVNULL)
    try:
        address = f"ws://127.0.0.1:{port}/v1/realtime"
        for _ in range(600):
            with contextlib.suppress(OSError):
                client(address, signals[0])  # warms up
                break
            time.sleep(0.5)
        rates, process = [], psutil.Process(server.pid)
        for count in CLIENTS:
            before = process.cpu_times()
            with ThreadPoolExecutor(count) as clients:
                list(clients.map(lambda samples: client(address, samples), signals))
            after = process.cpu_times()
            spent = after.user + after.system - before.user - before.system
            rates.append(sum(map(len, signals)) / SAMPLE_RATE / spent)
        return rates
    finally:
        server.terminate()
        server.wait()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", help="URI or folder")
    parser.add_argument("manifest")
    parser.add_argument("--against", help="URI or folder of another model")
    parser.add_argument("--label", default="", help="before the names of the values")
    parser.add_argument("--utterances", type=int, default=60)
    figures.add_values_option(parser)
    options = parser.parse_args()
    torch.set_num_threads(1)
    folder = MlflowStore().resolve(options.model)
    cuts = list(manifest.read(options.manifest))[: options.utterances]
    signals, references = [read_cut(cut) for cut in cuts], [manifest.text(cut) for cut in cuts]
    results, share = transcribed(folder, signals)
    recognizer = StreamingRecognizer(Engine(load_model(folder)))
    alone = jiwer.wer(references, [one.text for one in results])
    made: dict[str, figures.Value] = {"utterances": len(signals), "whole_real_time_share": share, "alone_wer": alone}
    print(f"{len(signals)} utterances, {sum(map(len, signals)) / SAMPLE_RATE:.0f} s; an output needs {LATENCY_S:.3f} s")
    print(f"whole recordings: {share:.4f} of real time")
    print("   piece    ms/piece    95 %  of real time   ms to final    95 %   same text")
    for piece_s in PIECES_S:
        line = one_by_one(recognizer, signals, piece_s, [one.text for one in results])
        made |= {f"{piece_s}_s/{name}": value for name, value in line.items()}
        row = "{piece_ms:>12.1f}{piece_95_ms:>8.1f}{real_time_share:>14.4f}{final_ms:>14.1f}{final_95_ms:>8.1f}"
        print(f"{piece_s:>6.1f} s{row.format(**line)}{line['same_texts']:>8} of {len(signals)}")
    print("streams that one core carries, by streams in a step:")
    print("   piece " + "".join(f"{count:>8}" for count in AT_ONCE))
    for piece_s in PIECES_S:
        rates = {count: at_once(recognizer, signals, piece_s, count) for count in AT_ONCE}
        made |= {f"{piece_s}_s/streams_of_{count}": rate for count, rate in rates.items()}
        print(f"{piece_s:>6.1f} s " + "".join(f"{rate:>8.0f}" for rate in rates.values()))
    print(f"each alone: WER {alone:.1%}; with pauses between them:")
    for kind, level in (("zeros", 0.0), ("noise", 1e-3)):
        found, wer = with_pauses(recognizer, signals, references, level)
        made |= {f"{kind}_found": found, f"{kind}_wer": wer}
        print(f"  {kind}: {found} of {len(signals)}, WER {wer:.1%}")
    of_server = dict(zip(CLIENTS, served(folder, signals), strict=True))
    made |= {f"served_to_{count}": rate for count, rate in of_server.items()}
    print("of asr-lab serve, 1 and 8 clients: " + ", ".join(f"{rate:.0f}" for rate in of_server.values()))
    if options.against:
        late = later(results, transcribed(MlflowStore().resolve(options.against), signals)[0])
        made |= {"later_ms": 1e3 * statistics.mean(late), "later_95_ms": 1e3 * float(np.quantile(late, 0.95))}
        print(f"words end later by {made['later_ms']:.0f} ms (95 % {made['later_95_ms']:.0f} ms)")
    figures.write(made, options.values, options.label)


if __name__ == "__main__":
    main()
