"""Heads of the four model types, between the encoder and the output layers.

All heads derive two streams of frames, for phoneme recognition and for error detection. Each canonical phoneme attends
to the frames around its aligned span (Xu et al. 2021 pool them); the result and the phoneme's embedding form its state,
from which error, diagnosis and score are predicted. `SimpleHead` is the common base.

Legend: B utterances, U frames, N canonical phonemes, C encoder channels, H head size, V classes, A attention heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr_lab.models.pronunciation.alignment import OUTSIDE, frame_offsets
from asr_lab.models.pronunciation.config import PronunciationConfig


class WindowedAttention(nn.Module):
    """Attention of phonemes (B, N, H) to the frames (B, U, H) around their spans, with a bias per frame offset."""

    def __init__(self, size: int, heads: int, window: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.window, self.dropout = heads, window, dropout
        self.query, self.key = nn.Linear(size, size), nn.Linear(size, size)
        self.value, self.out = nn.Linear(size, size), nn.Linear(size, size)
        self.bias = nn.Embedding(2 * window + 1, heads)
        nn.init.zeros_(self.bias.weight)

    def forward(self, phonemes_BNH: Tensor, frames_BUH: Tensor, spans_BN2: Tensor, real_BU: Tensor) -> Tensor:
        offsets_BNU = frame_offsets(spans_BN2, frames_BUH.size(1), self.window)
        visible_BNU = (offsets_BNU != OUTSIDE) & real_BU[:, None]
        bias_BNUA = self.bias(offsets_BNU.clamp(-self.window, self.window) + self.window)
        bias_BANU = bias_BNUA.permute(0, 3, 1, 2).masked_fill(~visible_BNU[:, None], float("-inf"))
        query, key, value = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x in (self.query(phonemes_BNH), self.key(frames_BUH), self.value(frames_BUH))
        )
        dropout = self.dropout if self.training else 0.0
        attended = nn.functional.scaled_dot_product_attention(query, key, value, bias_BANU.to(query.dtype), dropout)
        out: Tensor = self.out(attended.transpose(1, 2).flatten(-2))
        return out


class CrossAttention(nn.Module):
    """Attention of one stream (B, Q, H) to another (B, K, H), with its own width."""

    def __init__(self, size: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.into, self.key, self.value = nn.Linear(size, width), nn.Linear(size, width), nn.Linear(size, width)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.out = nn.Linear(width, size)
        nn.init.zeros_(self.out.weight)  # the other stream has no effect at first
        nn.init.zeros_(self.out.bias)

    def forward(self, x_BQH: Tensor, other_BKH: Tensor, real_BK: Tensor) -> Tensor:
        query, key, value = self.into(x_BQH), self.key(other_BKH), self.value(other_BKH)
        attended, _ = self.attention(query, key, value, key_padding_mask=~real_BK, need_weights=False)
        out: Tensor = self.out(attended)
        return out


def self_attention(config: PronunciationConfig, layers: int) -> nn.TransformerEncoder:
    """Build `layers` pre-norm self-attention layers on (B, *, H), initialised to the identity."""
    size = config.head_size
    layer = nn.TransformerEncoderLayer(
        size, config.head_heads, 4 * size, config.dropout, "gelu", batch_first=True, norm_first=True
    )
    stack = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
    for one in stack.layers:
        for last in (one.self_attn.out_proj, one.linear2):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)
    return stack


def attend(layers: nn.Module, x_BTH: Tensor, real_BT: Tensor) -> Tensor:
    """Apply self-attention that ignores padding and sets it to zero."""
    out_BTH: Tensor = layers(x_BTH, src_key_padding_mask=~real_BT)
    return out_BTH * real_BT[..., None]


class SimpleHead(nn.Module):
    """Linear projection of frames, attention within the window, MLP with the canonical embedding."""

    def __init__(self, config: PronunciationConfig, channels: int, num_layers: int) -> None:
        super().__init__()
        size = config.head_size
        self.projection = nn.Sequential(nn.Linear(channels, size), nn.GELU(), nn.Dropout(config.dropout))
        self.frame_norm = nn.LayerNorm(size)
        self.phoneme_logits = nn.Linear(size, config.vocab_size)
        self.embedding = nn.Embedding(config.vocab_size, size)
        self.evidence = nn.Linear(config.vocab_size, size)
        self.pooling = WindowedAttention(size, config.head_heads, config.window, config.dropout)
        self.state = nn.Sequential(
            nn.Linear(2 * size, 2 * size), nn.GELU(), nn.Dropout(config.dropout), nn.Linear(2 * size, size)
        )

    def streams(self, hidden_LBUC: tuple[Tensor, ...], real_BU: Tensor) -> tuple[Tensor, Tensor]:
        """Compute the frames (B, U, H) for phoneme recognition and those for error detection."""
        frames_BUH = self.frame_norm(self.projection(hidden_LBUC[-1]))
        return frames_BUH, frames_BUH

    def phonemes(
        self, frames_BUH: Tensor, real_BU: Tensor, logits_BUV: Tensor, canonical_BN: Tensor, spans_BN2: Tensor
    ) -> Tensor:
        """Compute the state (B, N, H) of each canonical phoneme from its embedding and the frames around its span.

        The frames include the CTC log-probabilities, detached from the gradient of the errors.
        """
        evidence_BUV = logits_BUV.detach().float().log_softmax(dim=-1).clamp_min(-12.0)
        values_BUH = frames_BUH + self.evidence(evidence_BUV.to(frames_BUH.dtype))
        embedded_BNH = self.embedding(canonical_BN)
        pooled_BNH = self.pooling(embedded_BNH, values_BUH, spans_BN2, real_BU)
        state: Tensor = self.state(torch.cat([embedded_BNH, pooled_BNH], dim=-1))
        return state

    def in_context(self, phonemes_BNH: Tensor, real_BN: Tensor, words_BN: Tensor | None) -> Tensor:
        """Add context from other phonemes to the states; this head adds none."""
        return phonemes_BNH

    def frames_with_text(self, frames_BUH: Tensor, phonemes_BNH: Tensor, real_BN: Tensor) -> Tensor | None:
        """Compute text-dependent frames for phoneme recognition; None if the head has none."""
        return None


class TransformerHead(SimpleHead):
    """Self-attention over the frames before both tasks."""

    def __init__(self, config: PronunciationConfig, channels: int, num_layers: int) -> None:
        super().__init__(config, channels, num_layers)
        self.frame_layers = self_attention(config, config.head_layers)

    def streams(self, hidden_LBUC: tuple[Tensor, ...], real_BU: Tensor) -> tuple[Tensor, Tensor]:
        frames_BUH = self.frame_norm(attend(self.frame_layers, self.projection(hidden_LBUC[-1]), real_BU))
        return frames_BUH, frames_BUH


class CrossHead(SimpleHead):
    """One stream per task with cross-attention both ways: phonemes attend to frames, frames to phonemes (gated, as in
    Peng et al. 2022). Alignment and GOP use the text-independent logits.
    """

    def __init__(self, config: PronunciationConfig, channels: int, num_layers: int) -> None:
        super().__init__(config, channels, num_layers)
        size = config.head_size
        self.frame_layers = self_attention(config, 1)
        self.error_layers, self.error_norm = self_attention(config, 1), nn.LayerNorm(size)
        self.phoneme_layers = self_attention(config, config.head_layers)
        self.to_frames = CrossAttention(size, config.cross_size, config.head_heads, config.dropout)
        self.gate = nn.Linear(2 * size, size)

    def streams(self, hidden_LBUC: tuple[Tensor, ...], real_BU: Tensor) -> tuple[Tensor, Tensor]:
        projected_BUH = self.projection(hidden_LBUC[-1])
        frames_BUH = self.frame_norm(attend(self.frame_layers, projected_BUH, real_BU))
        return frames_BUH, self.error_norm(attend(self.error_layers, projected_BUH, real_BU))

    def in_context(self, phonemes_BNH: Tensor, real_BN: Tensor, words_BN: Tensor | None) -> Tensor:
        return attend(self.phoneme_layers, phonemes_BNH, real_BN)

    def frames_with_text(self, frames_BUH: Tensor, phonemes_BNH: Tensor, real_BN: Tensor) -> Tensor | None:
        attended_BUH = self.to_frames(frames_BUH, phonemes_BNH, real_BN)
        gate_BUH = torch.sigmoid(self.gate(torch.cat([frames_BUH, attended_BUH], dim=-1)))
        with_text_BUH: Tensor = frames_BUH + gate_BUH * attended_BUH
        return with_text_BUH


class HierarchicalHead(SimpleHead):
    """Each task mixes the encoder's layers with learned weights, error detection receives the recognition stream
    through a gate, and phonemes attend to their word and utterance.
    """

    def __init__(self, config: PronunciationConfig, channels: int, num_layers: int) -> None:
        super().__init__(config, channels, num_layers)
        size = config.head_size
        top_L = torch.nn.functional.one_hot(torch.tensor(num_layers - 1), num_layers).float()
        self.low, self.high = nn.Parameter(3 * top_L), nn.Parameter(top_L)  # favour the top layer at first
        self.layer_norm = nn.LayerNorm(channels)
        self.shared_layers = self_attention(config, 1)
        self.error_layers, self.error_norm = self_attention(config, 1), nn.LayerNorm(size)
        self.gate = nn.Linear(size, size)
        self.up = nn.Linear(3 * size, size)
        self.phoneme_layers = self_attention(config, config.head_layers)

    def streams(self, hidden_LBUC: tuple[Tensor, ...], real_BU: Tensor) -> tuple[Tensor, Tensor]:
        layers_LBUC = self.layer_norm(torch.stack(hidden_LBUC[-len(self.low) :]))
        low_BUH = self.projection(torch.einsum("lbuc,l->buc", layers_LBUC, self.low.softmax(0)))
        high_BUH = self.projection(torch.einsum("lbuc,l->buc", layers_LBUC, self.high.softmax(0)))
        low_BUH = self.frame_norm(attend(self.shared_layers, low_BUH, real_BU))
        middle_BUH = self.error_norm(attend(self.error_layers, high_BUH, real_BU))
        gate_BUH = torch.sigmoid(self.gate(low_BUH))
        return low_BUH, gate_BUH * low_BUH + (1 - gate_BUH) * middle_BUH

    def in_context(self, phonemes_BNH: Tensor, real_BN: Tensor, words_BN: Tensor | None) -> Tensor:
        words_BN = torch.zeros_like(real_BN, dtype=torch.long) if words_BN is None else words_BN.clamp_min(0)
        utterance_BNH = _means(phonemes_BNH, torch.zeros_like(words_BN), real_BN)
        levels = [phonemes_BNH, _means(phonemes_BNH, words_BN, real_BN), utterance_BNH]
        return attend(self.phoneme_layers, phonemes_BNH + self.up(torch.cat(levels, dim=-1)), real_BN)


def _means(phonemes_BNH: Tensor, groups_BN: Tensor, real_BN: Tensor) -> Tensor:
    """Return for each phoneme the mean (B, N, H) over the real phonemes of its group."""
    together_BNM = (groups_BN[:, :, None] == groups_BN[:, None, :]) & real_BN[:, None, :]
    share_BNM = together_BNM / together_BNM.sum(dim=-1, keepdim=True).clamp_min(1)
    return share_BNM.to(phonemes_BNH.dtype) @ phonemes_BNH


HEADS: dict[str, type[SimpleHead]] = {
    "simple": SimpleHead,
    "transformer": TransformerHead,
    "cross": CrossHead,
    "hierarchical": HierarchicalHead,
}
