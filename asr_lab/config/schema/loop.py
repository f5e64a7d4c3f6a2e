"""Configuration of training loops."""

from __future__ import annotations

from typing import Literal

from asr_lab.config.schema.base import AboveZero, BelowOne, Count, NotNegative, Positive, Section, Share, SomeShare


class Loop(Section):
    """A training loop."""

    epochs: Positive = 10
    batch_size: Positive = 16
    """Utterances per update and device, of similar duration."""
    accumulate: Positive = 1
    """Batches per update."""
    lr: AboveZero = 1e-3
    """Peak learning rate."""
    schedule: Literal["tri_stage", "constant", "linear", "cosine", "inverse_sqrt"] = "tri_stage"
    """`tri_stage` (Park et al. 2019): linear warm-up, hold, exponential decay to `final_lr_scale` x peak. `linear`,
    `cosine` and `inverse_sqrt` (Vaswani et al. 2017): warm-up, then decay. `constant`: the peak from the first update.
    """
    warmup_share: Share = 0.1
    """Share of all updates for warm-up; no effect with `constant`."""
    warmup_steps: Count = 0
    """Warm-up updates, instead of `warmup_share`, at most half of all updates; 0: use the share."""
    hold_share: Share = 0.4
    """Share of all updates at the peak; `tri_stage` only."""
    final_lr_scale: SomeShare = 0.05
    """Final learning rate of `tri_stage`, as a share of the peak."""
    weight_decay: NotNegative = 1e-5
    grad_clip: NotNegative = 5.0
    """Largest gradient norm; 0: no clipping."""
    num_workers: Count = 0
    """Number of threads that read batches ahead; 0: each is read when its update begins."""
    mixed_precision: Literal["auto", "no"] = "auto"
    """`auto`: bfloat16 (or float16) on a GPU that supports it, never on CPU."""


class Train(Loop):
    """The training loop of a recogniser."""

    choose: Literal["wer", "cer"] = "wer"
    """Validation error rate that selects the best epoch and counts for `patience`. Use `cer` if nearly every word is
    wrong: the WER then favours models that output little."""
    patience: Count = 0
    """Stop after this many epochs without a better validation error rate (`choose`); 0: no early stopping."""
    min_delta: Share = 0.0
    """Smallest decrease of the error rate (0.01 is one point) that counts for `patience`; smaller ones add up.
    """
    ema: BelowOne = 0.0
    """Decay of a moving average of the weights (Polyak and Juditsky 1992), such as 0.999; the average is validated and
    saved. 0: no average."""
    save_every: Count = 0
    """Updates between checkpoints within an epoch; 0: every eight minutes. Each epoch ends with one anyway."""
