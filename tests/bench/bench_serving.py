"""How fast the recognition engine is beside other ways, in one run: only the ratios of a line count.

For each family, utterances of mixed lengths by a plain loop over the network (features, forward pass, greedy decoding,
one at a time), and by the engine, with batches, one adapter, and an adapter per row. For wav2vec2 also by transformers'
own pipeline, on the same weights. Weights are drawn; speed does not depend on them. Ways alternate in each round, on a
CPU by processor time; the first round is not counted.

    OMP_NUM_THREADS=1 python tests/bench/bench_serving.py --rounds 5
    OMP_NUM_THREADS=1 python tests/bench/bench_serving.py --each 1000    16 threads of one speaker each, and no more
    OMP_NUM_THREADS=1 python tests/bench/bench_serving.py --workers 2    processes against one, and no more

`--values FILE` writes the figures of the first and the last of these.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import figures
import numpy as np
import torch
import transformers
from transformers import AutoConfig, AutoModelForCTC

from asr_lab.data.audio import Signal
from asr_lab.data.text import BLANK, SPACE, TextNormalizer
from asr_lab.models.adapter import AdapterManager, MLPAdapter
from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC
from asr_lab.models.deepspeech2_recognizer import DeepSpeech2Recognizer
from asr_lab.models.recognizer import Recognizer, best_device
from asr_lab.models.wav2vec2 import bases
from asr_lab.models.wav2vec2.network import SpeechCTC
from asr_lab.models.wav2vec2.recognizer import Wav2Vec2Recognizer
from asr_lab.serving import workers as parallel
from asr_lab.serving.adapter_cache import AdapterCache
from asr_lab.serving.engine import Engine, Request
from asr_lab.units import SAMPLE_RATE

UNITS = {unit: index for index, unit in enumerate([BLANK, SPACE, *"abcdefghijklmnopqrstuvwx"])}
TINY = {
    "hidden_size": 192,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "intermediate_size": 768,
    "conv_dim": (96,) * 7,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
}
XLSR = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True} | {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}

Way = Callable[[], object]


def deepspeech2(**sizes: int) -> DeepSpeech2Recognizer:
    """One of these sizes, by default the demo's: 2.15 M parameters."""
    torch.manual_seed(0)
    model = DeepSpeech2ForCTC(DeepSpeech2Config(vocab_size=len(UNITS), **sizes)).eval().to(best_device())
    return DeepSpeech2Recognizer(model, dict(UNITS), TextNormalizer())


def wav2vec2(sizes: dict[str, object]) -> Wav2Vec2Recognizer:
    """One of these sizes."""
    torch.manual_seed(0)
    config = bases.for_ctc(AutoConfig.for_model("wav2vec2", **sizes), len(UNITS), {})
    model = SpeechCTC(AutoModelForCTC.from_config(config)).eval().to(best_device())
    return Wav2Vec2Recognizer(
        model, dict(UNITS), TextNormalizer(), feature_extractor=bases.usual_extractor(model.config)
    )


def signals(count: int, longest_s: float) -> list[Signal]:
    """Noise that changes, so that it is taken for speech, of a tenth to the whole of `longest_s`, in random order."""
    draw = np.random.default_rng(0)
    made = []
    for seconds in draw.permutation(np.linspace(longest_s / 10, longest_s, count)):
        time_s = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
        made.append((draw.normal(0, 0.1, len(time_s)) * (1 + np.sin(20 * time_s))).astype(np.float32))
    return made


def plain_loop(recognizer: Recognizer, given: Sequence[Signal]) -> Way:
    """The network alone, one utterance at a time."""
    return lambda: list(recognizer.transcribe(given, batch_size=1))


def engine(own: Engine, given: Sequence[Signal], batch_size: int, adapters: Sequence[str] = ("",)) -> Way:
    """The engine, with these adapters in turn."""
    requests = [Request(audio=one, adapter=adapters[place % len(adapters)]) for place, one in enumerate(given)]
    return lambda: list(own.transcribe(requests, batch_size=batch_size))


def pipeline(recognizer: Recognizer, given: Sequence[Signal], folder: Path, batch_size: int) -> Way:
    """transformers' own, on the same weights."""
    recognizer.save(folder)
    made = transformers.pipeline("automatic-speech-recognition", model=str(folder), device=best_device())
    inputs = [{"raw": one, "sampling_rate": SAMPLE_RATE} for one in given]
    return lambda: made([dict(one) for one in inputs], batch_size=batch_size)


def people(recognizer: DeepSpeech2Recognizer, folder: Path, count: int, spread: float = 0.0) -> Engine:
    """An engine with `count` adapters, `p0` and so on, of 512-256 each; `spread`: of weights that change the text."""
    base = recognizer.base()
    for number in range(count):
        torch.manual_seed(number)
        adapter = MLPAdapter(base.input_dim, (512, 256), base.output_dim, residual=True)
        for parameter in adapter.parameters() if spread else ():
            torch.nn.init.normal_(parameter, std=spread)
        AdapterManager(folder).save_adapter(f"p{number}", adapter, base)
    cache = AdapterCache(recognizer.adapter_loader(), kind=recognizer.adapter_kind, folder=folder)
    return Engine(recognizer, cache)


def at_once(each: int, threads: int = 16) -> None:
    """Ask one engine `each` times from every thread, each for a speaker of its own, and count the wrong texts."""
    given = signals(1, 5.0)[0]  # a tenth of it: half a second
    with tempfile.TemporaryDirectory() as staging:
        own = people(deepspeech2(hidden_size=16, conv_channels=4), Path(staging), threads, spread=1.0)
        requests = [Request(audio=given, adapter=f"p{number}") for number in range(threads)]
        alone = [next(own.transcribe([one])).text for one in requests]
        wrong = [0] * threads

        def ask(number: int) -> None:
            for _ in range(each):
                (result,) = own.transcribe([requests[number]])
                wrong[number] += (result.text, result.speaker) != (alone[number], f"p{number}")

        began, used = time.monotonic(), time.process_time()
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(ask, range(threads)))
    count, different = threads * each, len(set(alone))
    print(f"{threads} threads x {each}: {sum(wrong)} wrong of {count}, {different} different texts")
    each_ms = (time.process_time() - used) / count * 1000
    print(f"  {time.monotonic() - began:.0f} s, {each_ms:.1f} ms of processor time each")


def in_processes(workers: int, rounds: int, given: Sequence[Signal]) -> dict[str, figures.Value]:
    """Transcribe as `asr-lab transcribe --workers` does, in turns with one process; the speed is that of the clock.

    Every signal comes eight times: processes that end at once are measured by their start.
    """
    own = Engine(deepspeech2())
    requests = [Request(audio=one) for one in given] * 8
    clock: dict[int, list[float]] = {1: [], workers: []}
    used: dict[int, list[float]] = {1: [], workers: []}
    for number in range(rounds + 1):
        for count in list(clock) if number % 2 else list(reversed(clock)):
            began, before = time.monotonic(), all_processes_s()
            list(parallel.transcribe(own, requests, count))
            clock[count].append(time.monotonic() - began)
            used[count].append(all_processes_s() - before)
    made: dict[str, figures.Value] = {}
    for what, seconds in (("speed", clock), ("processor time", used)):
        ratios = [one / many for one, many in zip(seconds[1][1:], seconds[workers][1:], strict=True)]
        ratios = ratios if seconds is clock else [1 / one for one in ratios]
        spread = f"{min(ratios):.2f} to {max(ratios):.2f}"
        print(f"{workers} processes, {what} beside one: {statistics.median(ratios):.2f} ({spread})")
        made[f"processes_{workers}_{what.replace(' ', '_')}"] = figures.of_rounds(ratios)
    return made


def all_processes_s() -> float:
    """Return processor seconds of this process and of those that it waited for."""
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def measure(ways: dict[str, Way], rounds: int) -> dict[str, list[float]]:
    """Return the seconds of each way in each round."""
    clock = time.perf_counter if torch.cuda.is_available() else time.process_time
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(rounds + 1):
        for name in list(ways) if number % 2 else list(reversed(ways)):
            began = clock()
            ways[name]()
            if number:
                seconds[name].append(clock() - began)
    return seconds


def report(title: str, seconds: dict[str, list[float]], reference: str, speech_s: float) -> dict[str, figures.Value]:
    """Print speeds beside that of the reference, and return them with the real-time factors."""
    made: dict[str, figures.Value] = {}
    print(f"\n{title}: {speech_s:.0f} s of speech, speed beside the {reference}")
    for name, own in seconds.items():
        shares = [one / other for one, other in zip(seconds[reference], own, strict=True)]
        spread = f"{min(shares):.2f} to {max(shares):.2f}"
        factor = statistics.median(own) / speech_s
        print(f"  {name:34} {statistics.median(shares):5.2f} ({spread})  real-time factor {factor:.5f}", flush=True)
        made |= {f"{name}/speed": figures.of_rounds(shares), f"{name}/real_time_factor": factor}
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=12.0, help="of the longest; the shortest has a tenth")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--xlsr", action="store_true", help="wav2vec2 of XLS-R's 300 M parameters, as for a GPU")
    parser.add_argument("--each", type=int, default=0, help="requests of each of 16 threads at once, and nothing else")
    parser.add_argument("--workers", type=int, default=0, help="processes, against one, and nothing else")
    figures.add_values_option(parser)
    wanted = parser.parse_args()
    print(
        f"{best_device()}, {torch.get_num_threads()} threads, load {os.getloadavg()[0]:.1f}, torch {torch.__version__}"
    )
    if wanted.each:
        at_once(wanted.each)
        return
    given = signals(wanted.utterances, wanted.seconds)
    if wanted.workers:
        figures.write(in_processes(wanted.workers, wanted.rounds, given), wanted.values)
        return
    speech_s = sum(map(len, given)) / SAMPLE_RATE
    with tempfile.TemporaryDirectory() as staging:
        recognizer = deepspeech2()
        own = people(recognizer, Path(staging), 16)
        names = [f"p{number}" for number in range(16)]
        ways = {
            "plain loop": plain_loop(recognizer, given),
            "engine": engine(own, given, 0),
            "engine, batches of 16": engine(own, given, 16),
            "engine, one adapter": engine(own, given, 0, ["p0"]),
            "engine, 16 adapters": engine(own, given, 0, names),
            "engine, one adapter, batches of 16": engine(own, given, 16, ["p0"]),
            "engine, 16 adapters, batches of 16": engine(own, given, 16, names),
        }
        seconds = measure(ways, wanted.rounds)
        deepspeech2_figures = report("DeepSpeech2 of the demo's sizes", seconds, "plain loop", speech_s)
        for size, of in (("", "one at a time"), (", batches of 16", "in batches of 16")):
            pairs = zip(seconds[f"engine, one adapter{size}"], seconds[f"engine, 16 adapters{size}"], strict=True)
            ratios = [one / many for one, many in pairs]
            print(f"  16 adapters beside one, {of}: {statistics.median(ratios):.3f}")
            deepspeech2_figures[f"16 adapters beside one{size}"] = figures.of_rounds(ratios)
        encoder = wav2vec2(XLSR if wanted.xlsr else TINY)
        folder = Path(staging) / "wav2vec2"
        ways = {
            "pipeline of transformers": pipeline(encoder, given, folder, 1),
            "pipeline, batches of 16": pipeline(encoder, given, folder, 16),
            "plain loop": plain_loop(encoder, given),
            "engine": engine(Engine(encoder), given, 0),
            "engine, batches of 16": engine(Engine(encoder), given, 16),
        }
        same = [one["text"] for one in ways["pipeline of transformers"]()] == [one.text for one in ways["engine"]()]
        title = f"wav2vec2 of {'XLS-R' if wanted.xlsr else 'tiny.yaml'}'s sizes ({'same' if same else 'OTHER'} texts)"
        encoder_figures = report(title, measure(ways, wanted.rounds), "pipeline of transformers", speech_s)
    made = {f"deepspeech2/{name}": value for name, value in deepspeech2_figures.items()}
    made |= {f"wav2vec2/{name}": value for name, value in encoder_figures.items()}
    figures.write(made, wanted.values)


if __name__ == "__main__":
    main()
