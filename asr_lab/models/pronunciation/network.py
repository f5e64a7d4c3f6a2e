"""Multi-task pronunciation assessment: phoneme CTC, and logits anchored to the canonical phonemes.

An encoder of the wav2vec2 family (with its own front end, or log-mel for a tiny one), one of four heads (`heads`), and
outputs for each canonical phoneme: error, diagnosis (the phoneme spoken instead), score.

Legend: B utterances, T samples, U frames of 20 ms, C channels, H head size, V classes, N canonical phonemes, L labels,
K diagnoses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Self

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel
from transformers.utils import ModelOutput

from asr_lab.config.schema import PronunciationLoss
from asr_lab.models.ctc import ctc_loss
from asr_lab.models.pronunciation.alignment import align_spans
from asr_lab.models.pronunciation.config import DIAGNOSES, PronunciationConfig
from asr_lab.models.pronunciation.front_end import LogMel
from asr_lab.models.pronunciation.heads import HEADS
from asr_lab.models.pronunciation.loss import WeightedSum, diagnosis_loss, error_loss, score_loss
from asr_lab.models.wav2vec2.network import BatchMasking, freeze_batch_norms

TOP_SCORE = 2.0


@dataclass
class PronunciationOutput(ModelOutput):  # type: ignore[misc]
    """`loss` (); `logits` (B, U, V) of the spoken phonemes, and text-independent `free_logits`; `logit_lengths` (B,).
    With canonical phonemes: `spans` (B, N, 2) in frames, `error_logits` (B, N), and `diagnosis_logits` (B, N, K) and
    `scores` (B, N) if the model has them.
    """

    loss: Tensor | None = None
    logits: Any = None
    free_logits: Any = None
    logit_lengths: Any = None
    spans: Any = None
    error_logits: Any = None
    diagnosis_logits: Tensor | None = None
    scores: Tensor | None = None


class PronunciationModel(PreTrainedModel):  # type: ignore[misc]
    """Recognises phonemes from samples, and detects which canonical phonemes were mispronounced."""

    config_class = PronunciationConfig
    base_model_prefix = "pronunciation"
    main_input_name = "input_values"
    accepts_loss_kwargs = False  # the loss does not use Trainer's num_items_in_batch

    def __init__(self, config: PronunciationConfig) -> None:
        super().__init__(config)
        shape = config.encoder_config
        self.encoder = AutoModel.from_config(shape)
        if config.front_end == "log_mel":
            self.encoder.feature_extractor = LogMel(shape)
        self.masking = BatchMasking(self.encoder)
        self.head = HEADS[config.head](config, shape.hidden_size, shape.num_hidden_layers)
        self.error = nn.Linear(config.head_size, 1)
        self.diagnosis = nn.Linear(config.head_size, len(DIAGNOSES)) if config.diagnosis else None
        self.score = nn.Linear(config.head_size, 1) if config.scores else None
        self.settings = PronunciationLoss(**config.loss)
        self.weighted = WeightedSum(self.settings)
        self.post_init()

    def train(self, mode: bool = True) -> Self:
        super().train(mode)
        freeze_batch_norms(self)
        return self

    def _init_weights(self, module: nn.Module) -> None:
        """Keep PyTorch's initialisation."""

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor,
        canonical: Tensor | None = None,
        words: Tensor | None = None,
        labels: Tensor | None = None,
        errors: Tensor | None = None,
        diagnoses: Tensor | None = None,
        scores: Tensor | None = None,
        time_mask: Tensor | None = None,
        channel_mask: Tensor | None = None,
    ) -> PronunciationOutput:
        """Compute logits and losses of samples (B, T) and canonical phonemes (B, N) with their word indices.

        `labels` (B, L) are the spoken phonemes; `errors`, `diagnoses` and `scores` are (B, N). All are padded by
        negative numbers. Frames (B, U) and channels (B, C) are masked where `time_mask` and `channel_mask` are true.
        """
        with self.masking.batch(attention_mask.sum(dim=-1), time_mask, channel_mask) as lengths_B:
            hidden = self.encoder(input_values, attention_mask=attention_mask, output_hidden_states=True)
        layers = (*hidden.hidden_states[:-1], hidden.last_hidden_state)
        real_BU = torch.arange(layers[-1].size(1), device=lengths_B.device) < lengths_B[:, None]
        frames_BUH, error_frames_BUH = self.head.streams(layers, real_BU)
        free_BUV = logits_BUV = self.head.phoneme_logits(frames_BUH)
        output = PronunciationOutput(free_logits=free_BUV, logit_lengths=lengths_B)
        if canonical is not None and self._assesses():
            spans_BN2 = align_spans(free_BUV, lengths_B, canonical, int(self.config.pad_token_id))
            real_BN, known_BN = canonical >= 0, canonical.clamp_min(0)
            phonemes_BNH = self.head.phonemes(error_frames_BUH, real_BU, free_BUV, known_BN, spans_BN2)
            phonemes_BNH = self.head.in_context(phonemes_BNH, real_BN, words)
            with_text_BUH = self.head.frames_with_text(frames_BUH, phonemes_BNH, real_BN)
            if with_text_BUH is not None:
                logits_BUV = self.head.phoneme_logits(with_text_BUH)
            output.spans = spans_BN2
            output.error_logits = self.error(phonemes_BNH).squeeze(-1)
            output.diagnosis_logits = self.diagnosis(phonemes_BNH) if self.diagnosis is not None else None
            output.scores = TOP_SCORE * torch.sigmoid(self.score(phonemes_BNH)).squeeze(-1) if self.score else None
        output.logits = logits_BUV
        if labels is not None:
            output.loss = self.weighted(self._losses(output, labels, errors, diagnoses, scores))
        return output

    def _assesses(self) -> bool:
        """Whether canonical phonemes are assessed: always, except when training a phoneme recogniser alone."""
        return not self.training or any(self.weighted.weights[task] for task in ("errors", "diagnosis", "scores"))

    def _losses(
        self,
        output: PronunciationOutput,
        labels: Tensor,
        errors: Tensor | None,
        diagnoses: Tensor | None,
        scores: Tensor | None,
    ) -> dict[str, Tensor]:
        """Return the loss of each task with labels; for phonemes the mean with and without the text."""
        blank = int(self.config.pad_token_id)
        losses = {"phonemes": ctc_loss(output.logits, output.logit_lengths, labels, blank=blank)}
        if output.logits is not output.free_logits:
            free = ctc_loss(output.free_logits, output.logit_lengths, labels, blank=blank)
            losses["phonemes"] = (losses["phonemes"] + free) / 2
        if errors is not None and output.error_logits is not None:
            losses["errors"] = error_loss(output.error_logits, errors, self.settings)
        if diagnoses is not None and output.diagnosis_logits is not None:
            losses["diagnosis"] = diagnosis_loss(output.diagnosis_logits, diagnoses)
        if scores is not None and output.scores is not None:
            losses["scores"] = score_loss(output.scores, scores)
        return losses
