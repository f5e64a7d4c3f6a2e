"""Adapters of many speakers (peft) on one base, whose weights are there once.

Plain LoRA and rsLoRA of several speakers run in one batch, by peft's `adapter_names`. Other methods run speaker by
speaker: peft refuses DoRA there, and IA3, LoHa and LoKr take the names and use the active adapter for every row. One
peft model has adapters of one method, so each method has a network of its own, of the same tensors.

Legend: B utterances, U frames, V classes.
"""

from __future__ import annotations

import copy
import itertools
import json
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr_lab.data.batches import Batch
from asr_lab.errors import AsrLabError
from asr_lab.models.adapter import weights_digest
from asr_lab.models.recognizer import SpeakerAdapter, check_folder, read_vocabulary
from asr_lab.models.wav2vec2.network import SpeechCTC, encoder_of

CONFIG = "adapter_config.json"
_BASE = "__base__"  # peft's name for no adapter


class _Loaded:
    """An adapter in the network of its method; gone from there once nothing refers to this."""

    def __init__(self, name: str, method: str, mixes: bool) -> None:
        self.name, self.method, self.mixes = name, method, mixes


class SpeakerNetworks:
    """Networks with the adapters of speakers. Not for several threads at once."""

    def __init__(self, base: SpeechCTC, units: Sequence[str], uri: str = "") -> None:
        self.base, self.units, self.uri = base, list(units), uri
        self.base_digest = weights_digest(encoder_of(base.plain))
        self._networks: dict[str, SpeechCTC] = {}
        self._numbers = itertools.count()
        self._unused: list[tuple[str, str]] = []

    def load(self, folder: Path) -> SpeakerAdapter:
        """Load the adapters of a model folder; raise `AsrLabError` if they belong to another base or vocabulary."""
        from peft import PeftConfig, PeftModel

        check_folder(folder, CONFIG, "config.json", "vocab.json")
        self._check(folder)
        config = PeftConfig.from_pretrained(folder)
        method = str(getattr(config.peft_type, "value", config.peft_type))
        plain = method == "LORA" and not getattr(config, "use_dora", False)
        name = f"speaker{next(self._numbers)}"
        self._drop_unused()
        known = self._networks.get(method)
        if known is None:
            own = _sharing(self.base)
            own.network = PeftModel.from_pretrained(own.network, folder, adapter_name=name)
            self._networks[method] = own.eval()
        else:
            known.network.load_adapter(folder, adapter_name=name)
            known.eval()
        loaded = _Loaded(name, method, plain)
        weakref.finalize(loaded, self._unused.append, (method, name))
        return SpeakerAdapter("", loaded)

    def logits(self, batch: Batch, adapters: Sequence[SpeakerAdapter | None]) -> tuple[Tensor, Tensor]:
        """Compute (logits (B, U, V), lengths (B,)) of a batch, each row with its own adapter or with none."""
        self._drop_unused()
        groups: dict[Any, list[int]] = {}
        for row, adapter in enumerate(adapters):
            mixes = adapter is None or adapter.weights.mixes
            groups.setdefault("mixed" if mixes else adapter, []).append(row)
        parts = []
        for rows in groups.values():
            of_rows = [adapters[row] for row in rows]
            inputs = {name: values[rows] for name, values in batch.items()}
            parts.append((rows, self._of_group(inputs, of_rows)))
        logits_BUV = torch.cat([logits for _, (logits, _) in parts])
        lengths_B = torch.cat([lengths for _, (_, lengths) in parts])
        order = torch.tensor([row for rows, _ in parts for row in rows], device=lengths_B.device).argsort()
        return logits_BUV[order], lengths_B[order]

    def _of_group(self, inputs: Batch, adapters: Sequence[SpeakerAdapter | None]) -> tuple[Tensor, Tensor]:
        first = next((adapter.weights for adapter in adapters if adapter), None)
        if first is None:
            output = self.base.eval()(**inputs)
        elif first.mixes:
            names = [adapter.weights.name if adapter else _BASE for adapter in adapters]
            output = self._networks[first.method](**inputs, adapter_names=names)
        else:
            network = self._networks[first.method]
            network.network.set_adapter(first.name, inference_mode=True)
            output = network(**inputs)
        return output.logits, output.logit_lengths

    def _check(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        digest = str(config.get("adapters", {}).get("base_digest", ""))
        base = json.loads((folder / CONFIG).read_text(encoding="utf-8")).get("base_model_name_or_path")
        if digest and digest != self.base_digest:
            raise AsrLabError(
                f"the adapter was made for another base (digest {digest[:8]}, this one {self.base_digest[:8]})",
                where=str(folder),
                hint=f"its base: {base}",
            )
        vocabulary = read_vocabulary(folder, int(config["vocab_size"]))
        if sorted(vocabulary, key=vocabulary.__getitem__) != self.units:
            what = "the adapter was made for another vocabulary"
            raise AsrLabError(what, where=str(folder), hint=f"its base: {base}")

    def _drop_unused(self) -> None:
        while self._unused:
            method, name = self._unused.pop()
            network = self._networks[method].network
            if len(network.peft_config) == 1:  # peft cannot be without any
                self._networks.pop(method)
            else:
                if name in network.active_adapters:
                    network.set_adapter(next(other for other in network.peft_config if other != name), True)
                network.delete_adapter(name)


def _sharing(model: SpeechCTC) -> SpeechCTC:
    """Return a network of its own modules with the same tensors."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})
