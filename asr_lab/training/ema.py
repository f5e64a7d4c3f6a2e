"""An exponential moving average of the weights that learn (Polyak and Juditsky 1992, "Acceleration of stochastic
approximation by averaging"): it is what is validated and kept, while training goes on from the weights themselves.
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
    """Follows the learning weights of a model after every update; `decay` 0.999 looks back over a thousand.

    Early on it looks back less, at a tenth of the updates there were, so that short trainings are averaged too.
    """

    def __init__(self, decay: float) -> None:
        self.decay = decay
        self.average: dict[str, Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:
        file = Path(args.output_dir) / f"checkpoint-{state.global_step}" / FILE
        weights = _learning(model)
        if state.global_step and file.is_file():
            kept = load_file(file)
            self.average = {name: kept[name].to(weight.device) for name, weight in weights.items()}
        else:
            self.average = {name: weight.clone() for name, weight in weights.items()}

    def on_step_end(self, args: Any, state: Any, control: Any, model: nn.Module, **_: Any) -> None:
        decay = min(self.decay, (1 + state.global_step) / (10 + state.global_step))
        torch._foreach_lerp_(list(self.average.values()), list(_learning(model).values()), 1 - decay)

    def save(self, folder: Path) -> None:
        """Into a checkpoint, from which a resumed training takes it up."""
        save_file({name: value.contiguous() for name, value in self.average.items()}, folder / FILE)

    @contextmanager
    def in_place(self, model: nn.Module) -> Iterator[None]:
        """Within it the model has the averaged weights; the buffers stay its own."""
        weights = _learning(model)
        own = {name: weight.clone() for name, weight in weights.items()}
        _set(weights, self.average)
        try:
            yield
        finally:
            _set(weights, own)


def _learning(model: nn.Module) -> dict[str, Tensor]:
    return {name: weight.detach() for name, weight in model.named_parameters() if weight.requires_grad}


def _set(weights: dict[str, Tensor], values: dict[str, Tensor]) -> None:
    for name, weight in weights.items():
        weight.copy_(values[name])
