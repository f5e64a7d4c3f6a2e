"""Training loops."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from asr_lab.config.schema.base import Positive, Section, Share


class Loop(Section):
    """A training loop."""

    epochs: Positive = 10
    batch_size: Positive = 16
    """Utterances per update and device, of like duration."""
    accumulate: Positive = 1
    """Batches per update."""
    lr: float = Field(default=1e-3, gt=0)
    """Peak learning rate."""
    schedule: Literal["tri_stage", "constant", "linear", "cosine", "inverse_sqrt"] = "tri_stage"
    """Tri-stage (Park et al. 2019): linear warm-up, hold, exponential decay to `final_lr_scale` x peak. Linear, cosine
    and inverse square root (Vaswani et al. 2017) warm up too, then fall; constant is the peak from the first update."""
    warmup_share: Share = 0.1
    """Share of all updates spent warming up; no effect on `constant`."""
    warmup_steps: int = Field(default=0, ge=0)
    """Updates spent warming up, in the place of the share but at most half of all; 0: the share."""
    hold_share: Share = 0.4
    """Share of all updates spent at the peak; `tri_stage` alone."""
    final_lr_scale: float = Field(default=0.05, gt=0, le=1)
    """Where the decay of `tri_stage` ends, as a share of the peak."""
    weight_decay: float = Field(default=1e-5, ge=0)
    grad_clip: float = Field(default=5.0, ge=0)
    """Largest gradient norm; 0: none is too large."""
    num_workers: int = Field(default=0, ge=0)
    """Processes that read audio beside."""
    mixed_precision: Literal["auto", "no"] = "auto"
    """`auto`: bfloat16 (or float16) where there is a GPU that can, never on CPU."""


class Train(Loop):
    """The training loop of a recogniser."""

    choose: Literal["wer", "cer"] = "wer"
    """Error rate on the validation data by which the best epoch is chosen and `patience` counts. Where nearly every
    word is wrong, the WER is lowest for who says least: `cer` there."""
    patience: int = Field(default=0, ge=0)
    """Epochs without a better validation WER (`choose`) after which training stops; 0: never early."""
    min_delta: Share = 0.0
    """How much lower (0.01 is one point) it must be to count as better for `patience`; small steps add up."""
    ema: float = Field(default=0.0, ge=0, lt=1)
    """Decay of a moving average of the weights (Polyak and Juditsky 1992), which is what is validated and kept, such as
    0.999; 0: none."""
    save_every: int = Field(default=0, ge=0)
    """Updates between checkpoints, besides the one at each epoch's end; 0: that one alone. For long epochs."""
