"""What lies between encoder and logits in the four models; each says what of the common way it does differently.

The common way: frames become two streams, one to recognise phonemes from and one to tell errors from; each canonical
phoneme attends to the frames around its aligned span (Xu et al. 2021 pool them); what it found and its embedding make
its state, from which error, diagnosis and score are told.

Legend: B utterances, U frames, N canonical phonemes, C encoder channels, H head size, V classes, A attention heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from asr_lab.models.pronunciation.alignment import OUTSIDE, places_of
from asr_lab.models.pronunciation.config import PronunciationConfig


class WindowedAttention(nn.Module):
    """Phonemes (B, N, H) look at the frames (B, U, H) around their spans, biased by the place of each frame."""

    def __init__(self, size: int, heads: int, window: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.window, self.dropout = heads, window, dropout
        self.query, self.key = nn.Linear(size, size), nn.Linear(size, size)
        self.value, self.out = nn.Linear(size, size), nn.Linear(size, size)
        self.bias = nn.Embedding(2 * window + 1, heads)
        nn.init.zeros_(self.bias.weight)

    def forward(self, phonemes_BNH: Tensor, frames_BUH: Tensor, spans_BN2: Tensor, real_BU: Tensor) -> Tensor:
        places_BNU = places_of(spans_BN2, frames_BUH.size(1), self.window)
        seen_BNU = (places_BNU != OUTSIDE) & real_BU[:, None]
        bias_BNUA = self.bias(places_BNU.clamp(-self.window, self.window) + self.window)
        bias_BANU = bias_BNUA.permute(0, 3, 1, 2).masked_fill(~seen_BNU[:, None], float("-inf"))
        query, key, value = (
            x.unflatten(-1, (self.heads, -1)).transpose(1, 2)
            for x in (self.query(phonemes_BNH), self.key(frames_BUH), self.value(frames_BUH))
        )
        dropout = self.dropout if self.training else 0.0
        found = nn.functional.scaled_dot_product_attention(query, key, value, bias_BANU.to(query.dtype), dropout)
        out: Tensor = self.out(found.transpose(1, 2).flatten(-2))
        return out


class CrossAttention(nn.Module):
    """One stream (B, Q, H) hears of another (B, K, H) through attention of a width of its own."""

    def __init__(self, size: int, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.into, self.key, self.value = nn.Linear(size, width), nn.Linear(size, width), nn.Linear(size, width)
        self.attention = nn.MultiheadAttention(width, heads, dropout, batch_first=True)
        self.out = nn.Linear(width, size)
        nn.init.zeros_(self.out.weight)  # it starts as if there were no other stream
        nn.init.zeros_(self.out.bias)

    def forward(self, x_BQH: Tensor, other_BKH: Tensor, real_BK: Tensor) -> Tensor:
        query, key, value = self.into(x_BQH), self.key(other_BKH), self.value(other_BKH)
        heard, _ = self.attention(query, key, value, key_padding_mask=~real_BK, need_weights=False)
        out: Tensor = self.out(heard)
        return out


def self_attention(config: PronunciationConfig, layers: int) -> nn.TransformerEncoder:
    """So many layers of self-attention (norms first) on (B, *, H), which start as if they were not there."""
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
    """Self-attention that neither sees padding nor leaves anything in it."""
    out_BTH: Tensor = layers(x_BTH, src_key_padding_mask=~real_BT)
    return out_BTH * real_BT[..., None]


class SimpleHead(nn.Module):
    """Linear on frames, attention within the window, MLP with the canonical embedding."""

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
        """Frames (B, U, H) to recognise phonemes from, and frames to tell errors from."""
        frames_BUH = self.frame_norm(self.projection(hidden_LBUC[-1]))
        return frames_BUH, frames_BUH

    def phonemes(
        self, frames_BUH: Tensor, real_BU: Tensor, logits_BUV: Tensor, canonical_BN: Tensor, spans_BN2: Tensor
    ) -> Tensor:
        """The state (B, N, H) of each canonical phoneme: its embedding and what the frames around its span say.

        Frames tell what CTC makes of them too; the errors' gradient does not reach CTC that way.
        """
        evidence_BUV = logits_BUV.detach().float().log_softmax(dim=-1).clamp_min(-12.0)
        heard_BUH = frames_BUH + self.evidence(evidence_BUV.to(frames_BUH.dtype))
        embedded_BNH = self.embedding(canonical_BN)
        found_BNH = self.pooling(embedded_BNH, heard_BUH, spans_BN2, real_BU)
        state: Tensor = self.state(torch.cat([embedded_BNH, found_BNH], dim=-1))
        return state

    def in_context(self, phonemes_BNH: Tensor, real_BN: Tensor, words_BN: Tensor | None) -> Tensor:
        """The states when they know of each other; here they do not."""
        return phonemes_BNH

    def heard_with_text(self, frames_BUH: Tensor, phonemes_BNH: Tensor, real_BN: Tensor) -> Tensor | None:
        """Frames to recognise phonemes from that know what should have been said; None: they shall not."""
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
    """A stream for each task, and what each tells the other: phonemes hear frames, frames hear phonemes (gated, as in
    Peng et al. 2022). Alignment and GOP rest on what was recognised before it knew the text.
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

    def heard_with_text(self, frames_BUH: Tensor, phonemes_BNH: Tensor, real_BN: Tensor) -> Tensor | None:
        told_BUH = self.to_frames(frames_BUH, phonemes_BNH, real_BN)
        gate_BUH = torch.sigmoid(self.gate(torch.cat([frames_BUH, told_BUH], dim=-1)))
        with_text_BUH: Tensor = frames_BUH + gate_BUH * told_BUH
        return with_text_BUH


class HierarchicalHead(SimpleHead):
    """Each task mixes the encoder's layers by weights it learns, errors hear recognition through a gate, and phonemes
    know their word and their utterance.
    """

    def __init__(self, config: PronunciationConfig, channels: int, num_layers: int) -> None:
        super().__init__(config, channels, num_layers)
        size = config.head_size
        top_L = torch.nn.functional.one_hot(torch.tensor(num_layers - 1), num_layers).float()
        self.low, self.high = nn.Parameter(3 * top_L), nn.Parameter(top_L)  # nearly, and mostly, the top layer at first
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
    """For each phoneme the mean (B, N, H) of the real ones of its group."""
    together_BNM = (groups_BN[:, :, None] == groups_BN[:, None, :]) & real_BN[:, None, :]
    share_BNM = together_BNM / together_BNM.sum(dim=-1, keepdim=True).clamp_min(1)
    return share_BNM.to(phonemes_BNH.dtype) @ phonemes_BNH


HEADS: dict[str, type[SimpleHead]] = {
    "simple": SimpleHead,
    "transformer": TransformerHead,
    "cross": CrossHead,
    "hierarchical": HierarchicalHead,
}
