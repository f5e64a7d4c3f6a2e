"""Exponential moving average of the trainable weights (Polyak and Juditsky 1992, "Acceleration of stochastic
approximation by averaging"). The average is validated and saved; training continues from the weights themselves.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import TrainerCallback

FILE = "ema.safetensors"


class WeightAverage(TrainerCallback):  # type: ignore[misc]
    """Averages the trainable weights after every update; a `decay` of 0.999 spans about 1000 updates.

    The span starts at a tenth of the updates so far, so that short trainings are averaged too.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:
        file = Path(args.output_dir) / f"checkpoint-{state.global_step}" / FILE
        weights = _trainable(model)
        if state.global_step and file.is_file():
            saved = load_file(file)
            self.average = {name: saved[name].to(weight.device) for name, weight in weights.items()}
        else:
            self.average = {name: weight.clone() for name, weight in weights.items()}

    def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        torch._foreach_lerp_(list(self.average.values()), list(_trainable(model).values()), 1 - decay)

    def save(self, folder: Path) -> None:
        """Write the average to a checkpoint."""
        save_file({name: value.contiguous() for name, value in self.average.items()}, folder / FILE)

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """Give the model the averaged weights within the context; buffers are unchanged."""
        weights = _trainable(model)
        own = {name: weight.clone() for name, weight in weights.items()}
        _set(weights, self.average)
        try:
            yield
        finally:
            _set(weights, own)


def _trainable(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}


def _set(weights: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, weight in weights.items():
        weight.copy_(values[name])
