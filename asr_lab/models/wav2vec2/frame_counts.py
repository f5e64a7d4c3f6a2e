"""How many frames unpadded convolutions make of samples; without transformers, which exported models do not need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

Length = TypeVar("Length", int, Tensor)


def num_frames(num_samples: Length, kernels: Sequence[int], strides: Sequence[int]) -> Length:
    """Return the number of frames that unpadded convolutions produce; below 1 for too few samples."""
    for kernel, stride in zip(kernels, strides, strict=True):
        num_samples = (num_samples - kernel) // stride + 1
    return num_samples


def receptive_field(kernels: Sequence[int], strides: Sequence[int]) -> int:
    """Return the number of samples of one frame: 400 (25 ms) for the usual seven convolutions."""
    samples = 1
    for kernel, stride in zip(reversed(kernels), reversed(strides), strict=True):
        samples = (samples - 1) * stride + kernel
    return samples
