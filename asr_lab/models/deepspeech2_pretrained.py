"""DeepSpeech2 as a model of transformers: `from_pretrained`, `save_pretrained`, Trainer."""

from __future__ import annotations

from torch import nn
from transformers import PreTrainedModel

from asr_lab.models.deepspeech2 import DeepSpeech2Config, DeepSpeech2Network


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
