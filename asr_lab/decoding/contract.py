"""What a recogniser needs of a decoder."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Decoder(Protocol):
    """Reads text off log probabilities (B, U, V). One that searches is of one thread: each thread makes its own."""

    @property
    def name(self) -> str:
        """What tells decoders apart in logs, such as `beam 50, 3-gram of words`."""

    def decode(self, log_probs_BUV: Tensor, lengths_B: Tensor) -> list[str]:
        """Return the text of each utterance; frames from each length (B,) on are ignored."""
