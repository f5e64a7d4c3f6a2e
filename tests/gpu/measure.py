"""What training and recognition do on a GPU: one script, one JSON, under eight minutes.

    python tests/gpu/measure.py                          on a machine with a GPU; without one every part is skipped
    python tests/gpu/measure.py --device cpu --quick     tiny sizes: shows that the script runs, its ratios mean nothing
    python tests/gpu/measure.py --only xlsr,bmm --values gpu.json

Each part runs in a process of its own with a time budget; one that fails or takes too long is reported as such, and
the others go on. `--values FILE` writes the figures for `asr-lab results record --study gpu --values FILE`.
Nothing is tracked: MLflow is not needed. `tests/gpu/requirements.txt` says what a machine with PyTorch and
transformers may lack, and how it gets there without a network.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
ALL_S = 480.0
DONE, FAILED, SKIPPED = "done", "failed", "skipped"

Part = Callable[["Given"], Mapping[str, float]]


@dataclass(frozen=True)
class Given:
    """What a part works with."""

    folder: Path
    """Its working folder, shared with the other parts: the corpora in it are made once."""
    quick: bool
    device: str
    """`cuda` or `cpu`."""


@dataclass(frozen=True)
class Result:
    """How a part ended."""

    status: str
    seconds: float = 0.0
    figures: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""

    def report(self) -> dict[str, Any]:
        shown = {"status": self.status, "seconds": round(self.seconds, 1)}
        return shown | ({"reason": self.reason} if self.reason else {}) | dict(self.figures)


class SkipPart(Exception):  # noqa: N818 - not an error
    """Raised by a part that cannot be measured here; says why."""


GOALS: dict[str, tuple[str, float]] = {
    "precision.deepspeech2_loss_ratio": ("within", 0.02),
    "precision.wav2vec2_loss_ratio": ("within", 0.02),
    "precision.adapter_loss_ratio": ("within", 0.02),
    "precision.pronunciation_loss_ratio": ("within", 0.02),
    "demo.deepspeech2_logits_difference": ("at most", 1e-3),
    "precision.wav2vec2_logits_difference": ("at most", 1e-3),
    "xlsr.lora16_speed_ratio": ("at least", 1.5),
    "xlsr.lora32_speed_ratio": ("at least", 1.5),
    "xlsr.frozen_layers_with_gradient": ("at most", 0.0),
    "adapter_cost.residual_ratio": ("at most", 1.35),
    "torchrun.loss_ratio": ("within", 1e-4),
}
"""Figure -> how it is compared, and with what; `within`: of 1."""


def goals_met(figures: Mapping[str, float]) -> dict[str, dict[str, Any]]:
    """Compare the figures that were measured with their goals."""
    checks = {
        "within": lambda value, bound: abs(value - 1) <= bound,
        "at most": lambda value, bound: value <= bound,
        "at least": lambda value, bound: value >= bound,
    }
    return {
        name: {"value": figures[name], "goal": f"{how} {bound:g}", "met": checks[how](figures[name], bound)}
        for name, (how, bound) in GOALS.items()
        if name in figures
    }


def run_part(part: Part, given: Given, budget_s: float) -> Result:
    """Run a part in a process of its own, which is ended after `budget_s`."""
    fork = multiprocessing.get_context("fork")  # imports are there already; CUDA is not used in this process
    receiver, sender = fork.Pipe(duplex=False)
    began = time.monotonic()
    process = fork.Process(target=_in_a_process, args=(part, given, sender))
    process.start()
    sender.close()
    ended = _received(receiver, budget_s)
    _end(process, patience_s=0 if ended is None else 5)
    ended = ended or Result(FAILED, reason=f"not done within {budget_s:g} s")
    return Result(ended.status, time.monotonic() - began, ended.figures, ended.reason)


def _received(receiver: Connection, budget_s: float) -> Result | None:
    """Return what the process sends, or None if nothing comes in time."""
    if not receiver.poll(budget_s):
        return None
    try:
        result: Result = receiver.recv()
    except EOFError:
        return Result(FAILED, reason="its process ended without a result: killed, or out of memory")
    return result


def _end(process: Any, patience_s: float) -> None:
    """Wait for a process that has sent its result; end it with all it started if it does not end by itself."""
    process.join(patience_s)
    if process.is_alive():
        os.killpg(process.pid, signal.SIGKILL)
        process.join()


def _in_a_process(part: Part, given: Given, sender: Connection) -> None:
    os.setsid()
    os.dup2(2, 1)  # standard output has the JSON alone
    sys.stdout = sys.stderr
    try:
        result = Result(DONE, figures={name: float(value) for name, value in part(given).items()})
    except SkipPart as reason:
        result = Result(SKIPPED, reason=str(reason))
    except BaseException as error:
        traceback.print_exc()
        result = Result(FAILED, reason=f"{type(error).__name__}: {error}"[:2000])
    sender.send(result)


def run_parts(parts: Mapping[str, tuple[Part, float]], given: Given, within_s: float = ALL_S) -> dict[str, Result]:
    """Run parts (each with its budget in seconds) one after the other; what no time is left for is skipped."""
    ends, results = time.monotonic() + within_s, {}
    for name, (part, budget_s) in parts.items():
        left = ends - time.monotonic()
        if left < 2:
            results[name] = Result(SKIPPED, reason="no time left")
            continue
        results[name] = run_part(part, given, min(budget_s, left))
        print(f"{name}: {json.dumps(results[name].report())}", file=sys.stderr, flush=True)
    return results


def why_not(device: str) -> str:
    """Return why nothing can be measured on a device; "" if it can."""
    if device == "cpu":
        return ""
    import torch

    if not torch.cuda.is_available():
        built = f"built for CUDA {torch.version.cuda}" if torch.version.cuda else "built without CUDA"
        return f"PyTorch {torch.__version__}, {built}, sees no GPU"
    return ""


def circumstances(given: Given) -> Mapping[str, float]:
    """The GPU, in a process of its own; text goes through its working folder."""
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import torch

    known = {"python": platform.python_version(), "device": given.device, "reason": why_not(given.device)}
    for name in ("torch", "torchaudio", "transformers", "accelerate", "peft", "lhotse", "numpy"):
        try:
            known[name] = version(name)
        except PackageNotFoundError:
            known[name] = "not installed"
    if given.device == "cuda" and torch.cuda.is_available():
        known["gpu"] = torch.cuda.get_device_name(0)
        known["bf16"] = str(torch.cuda.is_bf16_supported())
    (given.folder / "circumstances.json").write_text(json.dumps(known))
    return {}


def measure(names: Sequence[str], given: Given, within_s: float) -> dict[str, Any]:
    """Run the parts of these names; return everything that is reported."""
    began = time.monotonic()
    asked = run_part(circumstances, given, 120)
    if asked.status != DONE:
        return {"error": asked.reason}
    known = json.loads((given.folder / "circumstances.json").read_text())
    if known["reason"]:
        results = dict.fromkeys(names or ["all"], Result(SKIPPED, reason=known["reason"]))
    else:
        import gpu_parts  # once, for all parts: they are forks of this process

        chosen = {
            name: (part, within_s if given.quick else budget_s)
            for name, (part, budget_s) in gpu_parts.PARTS.items()
            if not names or name in names
        }
        results = run_parts(chosen, given, within_s)
    figures = {f"{part}.{name}": value for part, one in results.items() for name, value in one.figures.items()}
    return {
        "circumstances": known,
        "quick": given.quick,
        "seconds": round(time.monotonic() - began, 1),
        "parts": {name: one.report() for name, one in results.items()},
        "goals": goals_met(figures),
        "figures": figures,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], default="cuda")
    parser.add_argument("--quick", action="store_true", help="tiny sizes")
    parser.add_argument("--only", metavar="PART,...", default="", help="these parts alone")
    parser.add_argument("--within", type=float, default=ALL_S, metavar="SECONDS", help="for all parts  [480]")
    parser.add_argument("--values", type=Path, metavar="FILE", help="write the figures here too")
    asked = parser.parse_args()
    os.environ["PYTORCH_NVML_BASED_CUDA_CHECK"] = "1"  # asking for a GPU must not touch it before the forks
    if asked.device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    sys.path[:0] = [str(HERE.parents[1]), str(HERE.parent), str(HERE.parent / "bench"), str(HERE)]
    names = [name for name in asked.only.split(",") if name]
    with tempfile.TemporaryDirectory(prefix="asr-lab-gpu-") as folder:
        reported = measure(names, Given(Path(folder), asked.quick, asked.device), asked.within)
    if asked.values:
        asked.values.write_text(json.dumps(reported.get("figures", {}), indent=1) + "\n")
    print(json.dumps(reported, indent=1))


if __name__ == "__main__":
    sys.modules["measure"] = sys.modules["__main__"]  # one module, whatever it is imported as
    main()
