"""What makes a run itself: what differs from the defaults, its signature, its name, its parameters."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from asr_lab.config.dotted import leaves
from asr_lab.families import FAMILIES

NOT_IDENTITY = {"run.name", "run.register_as", "run.threads", "train.num_workers", "evaluate.audio"}
NOT_IDENTITY |= {"adapter.save_dir", "adapter.frames", "train.save_every", "run.license", "run.intended_use"}
NOT_IDENTITY |= {"train.gradient_checkpointing", "model.merged"}
NOT_IDENTITY |= {"train.examples", "evaluate.save_predictions", "evaluate.learners"}
"""Keys that change how a run is called, kept or hurried, but not what it computes."""

_UNNAMED = {
    "recipe",
    "run.name",
    "run.register_as",
    "adapter.name",
    "evaluate.model",
    "evaluate.data",
    "evaluate.adapter",
    "pool.runs",
    "pool.data",
    "adapter.base",
    "model.pretrained",
}


_OF_A_BASE = {f"model.{size}" for size in ("hidden_size", "num_layers", "num_heads", "conv_channels", "dropout")}
_OF_A_BASE |= {"model.rnn_type", "model.bidirectional"}
"""Sizes that `model.pretrained` brings along."""


def flat(config: BaseModel) -> dict[str, Any]:
    """The configuration as dotted keys and plain values: a run's parameters."""
    return dict(leaves(config.model_dump(mode="json")))


def defaults(kind: type[BaseModel]) -> dict[str, Any]:
    """The default of every key that has one, as `flat` writes them."""
    found: dict[str, Any] = {}
    for name, info in kind.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            found |= {f"{name}.{key}": value for key, value in defaults(info.annotation).items()}
        elif info.default is not PydanticUndefined:
            value = info.default
            found[name] = list(value) if isinstance(value, tuple) else value
    return found


def differences(config: BaseModel) -> dict[str, Any]:
    """What differs from the defaults of the recipe, as dotted keys."""
    usual = defaults(type(config))
    return {key: value for key, value in flat(config).items() if key not in usual or usual[key] != value}


def signature(config: BaseModel, data: Mapping[str, str]) -> str:
    """Eight hexadecimal digits of what the run computes: its recipe, its differences and its data's digests.

    Paths of manifests do not count, what is in them does (`data`: split -> digest), so a moved corpus is the same
    experiment and a changed one is another.
    """
    paths = {f"data.{split}" for split in data} | {f"{phase}.train" for phase in data}
    paths |= {"evaluate.data", "evaluate.adapter", "pool.data"}
    paths |= {"augment.noise"} if "noise" in data else set()
    counted = {k: v for k, v in differences(config).items() if k not in NOT_IDENTITY | paths}
    content = {"recipe": type(config).__name__, "config": counted, "data": dict(data)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def run_name(config: BaseModel, name: str, limit: int = 60) -> str:
    """`<name>-<what differs>`: `base-batch_size=32-lr=0.001`; the recorder appends the run's id."""
    found = differences(config)
    unnamed = _UNNAMED | NOT_IDENTITY | (_OF_A_BASE if found.get("model.pretrained") else set())
    parts = [
        f"{key.rsplit('.', 1)[-1]}={_short(value)}"
        for key, value in found.items()
        if key not in unnamed and not key.startswith("data.")
    ]
    return "-".join([name, *parts])[:limit].rstrip("-=.,")


def _short(value: Any) -> str:
    if isinstance(value, float):
        value = f"{value:.4g}"  # what a search draws has seventeen digits
    text = ",".join(map(str, value)) if isinstance(value, list) else str(value)
    return re.sub(r"[^\w.,@-]+", "_", text)[-24:]


def dump_yaml(config: BaseModel) -> str:
    """The configuration as YAML that runs again, the `config.yaml` of a run: the whole, or of one of several trainings
    what was set, for what was not is each training's own."""
    family = FAMILIES.get(getattr(config, "recipe", ""))
    content = config.model_dump(mode="json", exclude_unset=family is not None and family.several)
    return yaml.safe_dump(content, sort_keys=False, allow_unicode=True)
