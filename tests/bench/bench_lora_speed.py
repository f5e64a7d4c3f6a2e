"""How fast XLS-R 300 M recognises with LoRA beside its weights, and merged, as a share of its own speed.

The weights are drawn, for speed does not depend on them; sizes and layers are those of experiments/arms/xlsr.yaml.

    python tests/bench/bench_lora_speed.py --utterances 4 --rounds 5
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

import torch
from transformers import Wav2Vec2Config, Wav2Vec2ForCTC

from asr_lab.config.schema import Wav2Vec2Model
from asr_lab.data.text import BLANK, SPACE, UNKNOWN, TextNormalizer
from asr_lab.models.recognizer import best_device
from asr_lab.models.wav2vec2 import bases, tuning
from asr_lab.models.wav2vec2.network import SpeechCTC
from asr_lab.models.wav2vec2.recognizer import Wav2Vec2Recognizer
from asr_lab.recipes.comparison.speed import speeds
from asr_lab.system.threads import use_threads
from asr_lab.units import SAMPLE_RATE

JAMO = {unit: number for number, unit in enumerate([BLANK, UNKNOWN, SPACE, *map(chr, range(0x1100, 0x1143))])}
SHAPE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "conv_bias": True,
}


def recognizer(
    rank: int = 0, *, merged: bool = False, shape: Mapping[str, Any] = SHAPE, **lora: str
) -> Wav2Vec2Recognizer:
    """One of XLS-R's size, with adapters of this rank on the layers from the ninth on."""
    torch.manual_seed(0)
    config = bases.for_ctc(Wav2Vec2Config(**shape), len(JAMO), {})
    model = SpeechCTC(Wav2Vec2ForCTC(config))
    if rank:
        settings = Wav2Vec2Model(pretrained="xlsr", tune="lora", lora={"r": rank, **lora})
        tuning.set_trainable(model, settings, "xlsr")
    made = Wav2Vec2Recognizer(
        model.to(best_device()).eval(), dict(JAMO), TextNormalizer(), feature_extractor=bases.usual_extractor(config)
    )
    if merged:
        made.merge()
    return made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--utterances", type=int, default=4, help="in a batch")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=0)
    given = parser.parse_args()
    use_threads(given.threads)
    base = recognizer()
    sound = torch.randn(given.utterances, round(given.seconds * SAMPLE_RATE))
    heard = [{"input_values": sound, "attention_mask": torch.ones_like(sound, dtype=torch.bool)}]
    arms = {"r=16": {"rank": 16}, "r=32": {"rank": 32}, "r=32 merged": {"rank": 32, "merged": True}}
    for name, settings in (arms | {"DoRA r=16": {"rank": 16, "method": "dora"}}).items():
        found = speeds(base, {name: recognizer(**settings)}, heard, given.rounds)[name]
        print(f"{name:12} {found.share:.1%} of the base's speed ({found.low:.1%} to {found.high:.1%})", flush=True)


if __name__ == "__main__":
    main()
