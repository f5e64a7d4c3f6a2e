"""DeepSpeech2 as a model of transformers: `from_pretrained`, `save_pretrained`, Trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.utils import ModelOutput
from transformers.utils.logging import disable_progress_bar

from asr_lab.models.ctc import ctc_loss
from asr_lab.models.deepspeech2 import DeepSpeech2Network, DeepSpeech2Shape

disable_progress_bar()  # of transformers, one per file read or written


class DeepSpeech2Config(DeepSpeech2Shape, PretrainedConfig):  # type: ignore[misc]
    """Configuration of a DeepSpeech2."""

    model_type = "deepspeech2"

    def __init__(self, **settings: Any) -> None:
        DeepSpeech2Shape.__init__(self, **settings)
        rest = {name: value for name, value in settings.items() if name not in vars(self)}
        PretrainedConfig.__init__(self, pad_token_id=self.pad_token_id, **rest)


@dataclass
class DeepSpeech2Output(ModelOutput):  # type: ignore[misc]
    """`loss` (), mean over utterances of the CTC loss per label; `logits` (B, U, V); `logit_lengths` (B,)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    logit_lengths: Tensor | None = None


class DeepSpeech2ForCTC(DeepSpeech2Network, PreTrainedModel):  # type: ignore[misc]
    """A recogniser: features (B, T, 80) to class logits (B, U, V)."""

    config_class = DeepSpeech2Config
    base_model_prefix = "deepspeech2"
    main_input_name = "input_features"
    accepts_loss_kwargs = False  # the loss does not use Trainer's num_items_in_batch

    def __init__(self, config: DeepSpeech2Config) -> None:
        PreTrainedModel.__init__(self, config)
        self.build(config)
        PreTrainedModel.post_init(self)

    def _init_weights(self, module: nn.Module) -> None:
        """Keep PyTorch's initialisation."""

    def forward(
        self, input_features: Tensor, feature_lengths: Tensor, labels: Tensor | None = None
    ) -> DeepSpeech2Output:
        """Compute logits (B, U, V) of features (B, T, 80), and the CTC loss given labels (B, L), padded by -100."""
        encoded_BUH, lengths_B = self.encode(input_features, feature_lengths)
        logits_BUV = self.head(encoded_BUH)
        loss = None
        if labels is not None:
            loss = ctc_loss(logits_BUV, lengths_B, labels, blank=int(self.config.pad_token_id))
        return DeepSpeech2Output(loss=loss, logits=logits_BUV, logit_lengths=lengths_B)
