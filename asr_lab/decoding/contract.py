"""What a recogniser needs of a decoder."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Decoder(Protocol):
    """Decodes log probabilities (B, U, V) to text. One that searches serves one thread: each thread makes its own."""

    @property
    def name(self) -> str:
        """Name of the decoder in logs, such as `beam 50, 3-gram of words`."""

    def decode(self, log_probs_BUV: Tensor, lengths_B: Tensor) -> list[str]:
        """Return the text of each utterance; frames from each length (B,) on are ignored."""
