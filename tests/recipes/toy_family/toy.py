"""The files of the toy family: configuration, network, recogniser, and where its training starts from."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar, Literal

from torch import nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import ModelOutput

from asr_lab.config.schema import Augment, RecognitionExperiment, RecognitionModel
from asr_lab.data.batches import Collator, for_model
from asr_lab.data.features import extract
from asr_lab.data.text import TextNormalizer
from asr_lab.models.ctc import ctc_loss
from asr_lab.models.recognizer import Recognizer, check_folder, read_vocabulary, write_json, write_tokenizer
from asr_lab.recipes.recognition.initialization import Start, new_units
from asr_lab.units import FRAME_LENGTH, NUM_MEL_BINS, num_frames


class ToyModel(RecognitionModel):
    """One layer."""

    width: int = 8
    """Units of the layer."""


class ToyExperiment(RecognitionExperiment):
    """Train a toy."""

    recipe: Literal["toy"] = "toy"
    augment: Augment = Augment(time_masks=0, freq_masks=0)
    model: ToyModel = ToyModel()


class ToyConfig(PretrainedConfig):
    model_type = "toy"

    def __init__(self, vocab_size: int = 2, width: int = 8, text: dict | None = None, **more) -> None:
        self.vocab_size, self.width, self.text = vocab_size, width, text or {}
        super().__init__(**{"pad_token_id": 0, **more})


@dataclass
class ToyOutput(ModelOutput):
    loss: object = None
    logits: object = None
    logit_lengths: object = None


class ToyForCTC(PreTrainedModel):
    config_class = ToyConfig

    def __init__(self, config: ToyConfig) -> None:
        super().__init__(config)
        self.layers = nn.Sequential(
            nn.Linear(NUM_MEL_BINS, config.width), nn.ReLU(), nn.Linear(config.width, config.vocab_size)
        )
        self.post_init()

    def _init_weights(self, module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=0.1)
            nn.init.zeros_(module.bias)

    def forward(self, input_features, feature_lengths, labels=None) -> ToyOutput:
        logits = self.layers(input_features)
        loss = None if labels is None else ctc_loss(logits, feature_lengths, labels, blank=self.config.pad_token_id)
        return ToyOutput(loss, logits, feature_lengths)


@dataclass
class ToyRecognizer(Recognizer):
    model_type: ClassVar[str] = "toy"

    @property
    def min_samples(self) -> int:
        return FRAME_LENGTH

    def output_frames(self, num_samples: int) -> int:
        return num_frames(num_samples)

    def extract(self, samples):
        return extract(samples)

    def collator(self, *, labelled=False, augmenter=None) -> Collator:
        return Collator(extract, self.encode_text if labelled else None, augmenter)

    def logits(self, batch):
        output = self.model.eval()(**for_model(batch, self.model.device))
        return output.logits, output.logit_lengths

    def save(self, folder) -> None:
        self.model.config.text = asdict(self.normalizer)
        self.model.save_pretrained(folder)
        write_tokenizer(folder, self.vocabulary, pad=self.units[self.blank])
        write_json(folder / "preprocessor_config.json", {"feature_extractor_type": "kaldi_fbank"})


def load_recognizer(folder, resolve=None) -> ToyRecognizer:
    check_folder(folder, "config.json", "model.safetensors", "vocab.json")
    config = ToyConfig.from_pretrained(folder)
    vocabulary = read_vocabulary(folder, config.vocab_size)
    model = ToyForCTC.from_pretrained(folder, config=config).eval()
    return ToyRecognizer(model, vocabulary, TextNormalizer(**config.text))


def start(config: ToyExperiment, cuts, store) -> Start:
    if config.model.pretrained:
        uri = store.resolve_version(config.model.pretrained)
        return Start(load_recognizer(store.resolve(uri), store.resolve), config, uri)
    units = new_units(config, cuts)
    shape = ToyConfig(vocab_size=len(units.vocabulary), width=config.model.width, text=asdict(units.normalizer))
    return Start(ToyRecognizer(ToyForCTC(shape), units.vocabulary, units.normalizer, subwords=units.subwords), config)
