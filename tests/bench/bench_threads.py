"""Training beside other work on the same cores: how OpenMP's threads should wait, and how many there should be.

Between two pieces of an update the threads of a training wait for each other. GNU OpenMP spins while it waits, for
milliseconds: where other processes want the core, that time is taken from the very thread that is waited for. Here
the same training runs for some seconds in a process of its own, under each policy, on free cores, beside 2 and 8
processes that never rest, and beside another training under the same policy. All policies take turns in each round;
ratios are to the first one in the same round.

    python tests/bench/bench_threads.py [--rounds 3] [--seconds 20] [--neighbours 0 2 8 training]
                                        [--models deepspeech2 wav2vec2] [--policies plain passive asr_lab]

`plain` is PyTorch as it is, `asr_lab` what the commands do (`asr_lab/system/threads.py`), `spin=N` GOMP_SPINCOUNT=N,
`threads=N` OMP_NUM_THREADS=N.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import figures


def environment(policy: str) -> dict[str, str]:
    """The variables of a policy, over those of this process without what OpenMP reads."""
    unset = {name: value for name, value in os.environ.items() if not name.startswith(("OMP_", "GOMP_", "KMP_"))}
    kind, _, number = policy.partition("=")
    own = {
        "plain": {},
        "asr_lab": {},
        "passive": {"OMP_WAIT_POLICY": "PASSIVE"},
        "spin": {"GOMP_SPINCOUNT": number},
        "threads": {"OMP_NUM_THREADS": number},
    }
    return {**unset, **own[kind]}


@contextmanager
def busy(number: int) -> Iterator[None]:
    """So many processes that never rest."""
    processes = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(number)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


@contextmanager
def training(policy: str, model: str, seconds: float) -> Iterator[subprocess.Popen[str]]:
    """A process that has imported all it needs, and trains for some seconds when it reads a line."""
    words = [sys.executable, __file__, "--child", model, policy, str(seconds)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(words, env=environment(policy), text=True, **pipes) as process:
        assert process.stdout.readline() == "ready\n"
        yield process
        process.kill()


def go(process: subprocess.Popen[str]) -> None:
    process.stdin.write("go\n")
    process.stdin.flush()


def updates_per_second(policy: str, model: str, neighbours: str, seconds: float) -> float:
    """How fast a process trains whose neighbours were there before it began."""
    with training(policy, model, seconds) as own, ExitStack() as stack:
        if neighbours == "training":
            other = stack.enter_context(training(policy, model, 1e9))
            go(other)
        else:
            stack.enter_context(busy(int(neighbours)))
        time.sleep(2)
        go(own)
        return float(own.stdout.readline())


def child(model: str, policy: str, seconds: float) -> None:
    """Train until the time is over; updates a second, the last one counted whole."""
    import torch

    from asr_lab.system import threads

    network, batch = deepspeech2() if model == "deepspeech2" else wav2vec2()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-4)
    print("ready", flush=True)
    sys.stdin.readline()
    if policy == "asr_lab":
        torch.set_num_threads(threads.choose().number)

    def update() -> None:
        optimizer.zero_grad()
        network(**batch).loss.backward()
        optimizer.step()

    update()
    began, updates = time.perf_counter(), 0
    while (took := time.perf_counter() - began) < seconds:
        update()
        updates += 1
    print(updates / took, flush=True)


def deepspeech2():
    """The demo's base, and a batch of 16 utterances of 4 s."""
    import torch

    from asr_lab.models.deepspeech2_pretrained import DeepSpeech2Config, DeepSpeech2ForCTC

    torch.manual_seed(0)
    network = DeepSpeech2ForCTC(DeepSpeech2Config(vocab_size=32, hidden_size=256, num_layers=2, conv_channels=16))
    lengths = torch.full((16,), 400)
    labels = torch.randint(1, 32, (16, 28))
    return network.train(), {"input_features": torch.randn(16, 400, 80), "feature_lengths": lengths, "labels": labels}


def wav2vec2():
    """The tiny wav2vec2 of `experiments/wav2vec2/tiny.yaml`, and a batch of 8 utterances of 4 s."""
    import torch

    from asr_lab.config.schema import Wav2Vec2Model
    from asr_lab.models.wav2vec2 import bases
    from asr_lab.models.wav2vec2.network import SpeechCTC

    torch.manual_seed(0)
    shape = bases.for_ctc(bases.tiny(Wav2Vec2Model()), 32, {"pad_token_id": 0})
    network = SpeechCTC(bases.from_scratch(shape))
    samples, mask = torch.randn(8, 64_000), torch.ones(8, 64_000, dtype=torch.long)
    return network.train(), {
        "input_values": samples,
        "attention_mask": mask,
        "labels": torch.randint(1, 32, (8, 28)),
    }


def show(model: str, neighbours: str, rounds: Sequence[Mapping[str, float]]) -> dict[str, figures.Value]:
    """Print a line a policy: seconds an update, and its speed as a share of the first policy's; return them."""
    made: dict[str, figures.Value] = {}
    first = next(iter(rounds[0]))
    for policy in rounds[0]:
        took = statistics.median(1 / one[policy] for one in rounds)
        speed = [one[policy] / one[first] for one in rounds]
        made[f"{model}_{neighbours}_{policy}_s"] = took
        made[f"{model}_{neighbours}_{policy}_speed"] = figures.of_rounds(speed)
        spread = f"{min(speed):.2f} to {max(speed):.2f}"
        print(
            f"{model:12} beside {neighbours:8}  {policy:12} {took:7.2f} s an update"
            f"   {statistics.median(speed):6.2f} times {first} ({spread})",
            flush=True,
        )
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--neighbours", nargs="+", default=["0", "2", "8", "training"])
    parser.add_argument("--models", nargs="+", default=["deepspeech2", "wav2vec2"])
    parser.add_argument("--policies", nargs="+", default=["plain", "passive", "asr_lab"])
    figures.add_values_option(parser)
    options = parser.parse_args()
    made: dict[str, figures.Value] = {}
    for neighbours in options.neighbours:
        for model in options.models:
            rounds = []
            for number in range(options.rounds):
                turn = number % len(options.policies)
                order = options.policies[turn:] + options.policies[:turn]
                speed = {policy: updates_per_second(policy, model, neighbours, options.seconds) for policy in order}
                rounds.append({policy: speed[policy] for policy in options.policies})
            made |= show(model, neighbours, rounds)
    figures.write(made, options.values)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], sys.argv[3], float(sys.argv[4]))
    else:
        main()
