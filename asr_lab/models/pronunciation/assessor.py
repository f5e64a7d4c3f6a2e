"""A pronunciation assessment model with its phonemes, input processing and decision thresholds.

A model folder holds `config.json`, weights as safetensors, the phonemes (`vocab.json`), the feature extractor
(`preprocessor_config.json`), and what was fitted on validation data (`decisions.json`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import torch
from lhotse import CutSet
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor

from asr_lab.data.audio import Signal
from asr_lab.data.augment import SoundAugmenter
from asr_lab.data.batches import Batch, InOrder, for_model, loader
from asr_lab.data.text import TextNormalizer
from asr_lab.decoding.gop import gop_batch
from asr_lab.decoding.greedy import best_path
from asr_lab.decoding.words import Word, best_path_words
from asr_lab.errors import AsrLabError, listing
from asr_lab.models.adapter import vocabulary_digest
from asr_lab.models.pronunciation.batches import CLASS_OF, PronunciationCollator, canonical_tensors
from asr_lab.models.pronunciation.config import DIAGNOSES, UNITS, PronunciationConfig
from asr_lab.models.pronunciation.decisions import Decisions
from asr_lab.models.pronunciation.network import PronunciationModel, PronunciationOutput
from asr_lab.models.recognizer import (
    Progress,
    best_device,
    check_folder,
    read_vocabulary,
    write_json,
)
from asr_lab.models.wav2vec2.recognizer import EncoderRecognizer
from asr_lab.units import SAMPLE_RATE


@dataclass(frozen=True)
class PhonemeAssessment:
    """Predictions for an utterance with N canonical phonemes."""

    recognised: list[str]
    """Phonemes decoded greedily."""
    error_score: list[float]
    """N probabilities that the phoneme was mispronounced."""
    gop: list[float]
    """N goodness-of-pronunciation scores of the text-independent logits; higher is worse."""
    diagnosis: list[str] | None
    """N phonemes (or `<del>`, `<unk>`) most likely spoken instead; None if the model has no such output."""
    score: list[float] | None
    """N scores of 0 to 2; None if the model has no such output."""
    spans: list[tuple[float, float]]
    """N spans (start_s, end_s) by forced alignment."""


@dataclass
class Assessor(EncoderRecognizer):
    """A pronunciation assessment model; as a recogniser it outputs phonemes separated by spaces."""

    model: PronunciationModel
    decisions: Decisions = field(default_factory=Decisions, kw_only=True)

    model_type: ClassVar[str] = "pronunciation"

    @property
    def kind(self) -> str:
        """Model type with the type of its head, as in run and registry names: `pronunciation-cross`."""
        return f"{self.model_type}-{self.model.config.head}"

    @property
    def shape(self) -> Any:
        return self.model.encoder.config

    @property
    def frame_shift_s(self) -> float:
        """Seconds between frames."""
        samples = 1
        for stride in self.shape.conv_stride:
            samples *= stride
        return samples / SAMPLE_RATE

    def collator(self, *, labelled: bool = False, augmenter: SoundAugmenter | None = None) -> PronunciationCollator:
        return PronunciationCollator(
            self.extract,
            None,
            augmenter,
            output_frames=self.output_frames,
            num_channels=self.shape.hidden_size,
            labelled=labelled,
        )

    @torch.inference_mode()
    def logits(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Compute logits that do not depend on the canonical phonemes."""
        inputs = {key: batch[key] for key in ("input_values", "attention_mask")}
        output = self.model.eval()(**for_model(inputs, self.model.device))
        return output.free_logits, output.logit_lengths

    def spell(self, text: str) -> str:
        return " ".join(text.split())

    def encode_text(self, text: str) -> list[int]:
        return [CLASS_OF[phoneme] for phoneme in text.split()]

    def decode(self, logits_BUV: Tensor, lengths_B: Tensor) -> list[str]:
        return [" ".join(phonemes) for phonemes in decode_phonemes(logits_BUV, lengths_B, self.blank)]

    def words(self, logits_UV: Tensor, text: str) -> list[Word]:
        """Return the phonemes, each as a word."""
        return best_path_words(logits_UV, UNITS, self.blank, self.frame_shift_s, each_unit=True)

    @torch.inference_mode()
    def assess_batch(self, batch: Batch) -> list[PhonemeAssessment]:
        """Assess each utterance of a batch with canonical phonemes."""
        names = ("input_values", "attention_mask", "canonical", "words")
        output = self.model.eval()(**for_model({key: batch[key] for key in names}, self.model.device))
        return to_assessments(output, batch["canonical"], self.blank, self.frame_shift_s)

    def iterate_assessments(
        self, cuts: CutSet, batch_size: int = 16, progress: Progress | None = None
    ) -> Iterator[tuple[str, PhonemeAssessment]]:
        """Yield (id, assessment) of all utterances, in batches of similar duration."""
        for batch in loader(InOrder(cuts, batch_size), self.collator()):
            yield from zip(batch["cut_ids"], self.assess_batch(batch), strict=True)
            if progress:
                progress(len(batch["cut_ids"]))

    def assess(self, samples: Signal, canonical: Sequence[str], words: Sequence[int] = ()) -> PhonemeAssessment:
        """Assess a signal (num_samples,) against its canonical phonemes."""
        return self.assess_batch(self._make_batch([samples], [canonical], [words]))[0]

    @torch.inference_mode()
    def error_scores(self, signals: Sequence[Signal], canonical: Sequence[Sequence[str]]) -> list[list[float]]:
        """Return the error probability of each canonical phoneme of each signal."""
        batch = self._make_batch(signals, canonical, [()] * len(canonical))
        scores_BN = self.model.eval()(**for_model(batch, self.model.device)).error_logits.float().sigmoid()
        return [row[: len(own)].tolist() for row, own in zip(scores_BN, canonical, strict=True)]

    def _make_batch(
        self, signals: Sequence[Signal], canonical: Sequence[Sequence[str]], words: Sequence[Sequence[int]]
    ) -> Batch:
        """Make a batch of signals and canonical phonemes; raise `AsrLabError` for unknown phonemes or none."""
        unknown = sorted({phoneme for one in canonical for phoneme in one} - set(UNITS[1:]))
        if unknown or not all(canonical):
            what = f"unknown phonemes: {listing(unknown)}" if unknown else "no canonical phonemes"
            raise AsrLabError(what, allowed=listing(UNITS[1:], 50))
        indices = [own or [0] * len(text) for own, text in zip(words, canonical, strict=True)]
        return self.collator().pad([self.extract(one) for one in signals]) | canonical_tensors(canonical, indices)

    def save(self, folder: Path) -> None:
        self.model.config.architectures = [type(self.model).__name__]
        self.model.config.inventory = vocabulary_digest(self.units)
        self.model.save_pretrained(folder)
        self.feature_extractor.save_pretrained(folder)
        write_json(folder / "vocab.json", self.vocabulary)
        self.decisions.save(folder)


def decode_phonemes(logits_BUV: Tensor, lengths_B: Tensor, blank: int) -> list[list[str]]:
    """Decode the phonemes of each utterance greedily."""
    return [[UNITS[index] for index in path] for path in best_path(logits_BUV, lengths_B, blank)]


def to_assessments(
    output: PronunciationOutput, canonical_BN: Tensor, blank: int, frame_shift_s: float
) -> list[PhonemeAssessment]:
    """Convert the network's output of a batch to one assessment per utterance."""
    tokens = [row[row >= 0].tolist() for row in canonical_BN]
    log_probs_BUV = output.free_logits.float().log_softmax(dim=-1)
    scores = gop_batch(log_probs_BUV, output.logit_lengths, tokens, blank)
    recognised = decode_phonemes(output.logits, output.logit_lengths, blank)
    diagnosis_logits, assessments = output.diagnosis_logits, []
    for place, count in enumerate(map(len, tokens)):
        spans = output.spans[place, :count].tolist()
        best = [] if diagnosis_logits is None else diagnosis_logits[place, :count].argmax(dim=-1).tolist()
        assessments.append(
            PhonemeAssessment(
                recognised=recognised[place],
                error_score=output.error_logits[place, :count].float().sigmoid().tolist(),
                gop=scores[place].tolist(),
                diagnosis=None if diagnosis_logits is None else [DIAGNOSES[one] for one in best],
                score=None if output.scores is None else output.scores[place, :count].float().tolist(),
                spans=[(round(a * frame_shift_s, 3), round((b + 1) * frame_shift_s, 3)) for a, b in spans],
            )
        )
    return assessments


def load_recognizer(folder: Path, resolve: Callable[[str], Path] | None = None) -> Assessor:
    """Load a pronunciation model from its folder.

    Raise `AsrLabError` if the folder is not one, or if its phonemes are not those the model was trained with.
    """
    check_folder(folder, "config.json", "model.safetensors", "vocab.json", "preprocessor_config.json")
    config = PronunciationConfig.from_pretrained(folder)
    vocabulary = read_inventory(folder, config)
    model = PronunciationModel.from_pretrained(folder, config=config).to(best_device())
    extractor = Wav2Vec2FeatureExtractor.from_pretrained(folder)
    return Assessor(
        model.eval(), vocabulary, TextNormalizer(), feature_extractor=extractor, decisions=Decisions.load(folder)
    )


def read_inventory(folder: Path, config: PronunciationConfig) -> dict[str, int]:
    """Read the phonemes of a model folder; raise `AsrLabError` if they are not those it was trained with."""
    vocabulary = read_vocabulary(folder, config.vocab_size)
    units = sorted(vocabulary, key=vocabulary.__getitem__)
    if tuple(units) != UNITS or vocabulary_digest(units) != getattr(config, "inventory", ""):
        unknown = [unit for unit in units if unit not in UNITS] or ["their order"]
        raise AsrLabError(
            f"the phoneme inventory does not match the checkpoint: {listing(unknown)}",
            where=str(folder / "vocab.json"),
            allowed=json.dumps(dict(zip(UNITS[:4], range(4), strict=True))) + " ...: the file as it was saved",
        )
    return vocabulary
