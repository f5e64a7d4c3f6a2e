"""Identity of a run: differences from the defaults, signature, name and parameters."""

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

NOT_IDENTITY = {
    *("run.name", "run.register_as", "run.threads", "run.license", "run.intended_use"),
    *("train.num_workers", "train.save_every", "train.gradient_checkpointing", "train.examples"),
    *("evaluate.audio", "evaluate.save_predictions", "evaluate.learners", "evaluate.confidence"),
    *("adapter.save_dir", "adapter.frames", "model.merged"),
}
"""Keys that affect names, storage or speed of a run, but not its results."""

_UNNAMED = {
    *("recipe", "run.name", "run.register_as", "model.pretrained", "adapter.name", "adapter.base"),
    *("data.train", "data.val", "data.test", "data.test_hard", "data.each"),
    *("evaluate.model", "evaluate.data", "evaluate.adapter", "pool.runs", "pool.data"),
    *("lm.texts", "lm.tests", "lm.out"),
}
"""Keys that do not appear in the name of a run: names and data, which tags and inputs show."""

_OF_A_BASE = {
    *("model.hidden_size", "model.num_layers", "model.num_heads", "model.conv_channels", "model.dropout"),
    *("model.rnn_type", "model.bidirectional", "model.streaming"),
}
"""Sizes that are taken from `model.pretrained`."""


def flat(config: BaseModel) -> dict[str, Any]:
    """Return the configuration as dotted keys and plain values, as logged as parameters of a run."""
    return dict(leaves(config.model_dump(mode="json")))


def param_text(value: Any) -> str:
    """Return a value of `flat` as the text of a logged parameter."""
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def defaults(kind: type[BaseModel]) -> dict[str, Any]:
    """Return the defaults of all keys that have one, in the format of `flat`."""
    values: dict[str, Any] = {}
    for name, info in kind.model_fields.items():
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            values |= {f"{name}.{key}": value for key, value in defaults(info.annotation).items()}
        elif info.default is not PydanticUndefined:
            value = info.default
            values[name] = list(value) if isinstance(value, tuple) else value
    return values


def differences(config: BaseModel) -> dict[str, Any]:
    """Return the dotted keys and values that differ from the defaults of the recipe."""
    usual = defaults(type(config))
    return {key: value for key, value in flat(config).items() if key not in usual or usual[key] != value}


def signature(config: BaseModel, data: Mapping[str, str]) -> str:
    """Return eight hexadecimal digits that identify the recipe, its settings and its data.

    Data counts by the digest of its content (`data`: split -> digest), not by path: a moved corpus has the same
    signature, a changed one does not.
    """
    paths = {f"data.{split}" for split in data} | {f"{phase}.train" for phase in data}
    paths |= {"evaluate.data", "evaluate.adapter", "pool.data"}
    paths |= {"decode.lm"} if "lm" in data else set()
    paths |= {"lm.texts", "lm.tests", "lm.out"}
    paths |= {"augment.noise"} if "noise" in data else set()
    counted = {k: v for k, v in differences(config).items() if k not in NOT_IDENTITY | paths}
    content = {"recipe": type(config).__name__, "config": counted, "data": dict(data)}
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]


def run_name(config: BaseModel, name: str, limit: int = 60) -> str:
    """Return `<name>-<differences>`, such as `base-batch_size=32-lr=0.001`; the recorder appends the run's id."""
    changed = differences(config)
    unnamed = _UNNAMED | NOT_IDENTITY | (_OF_A_BASE if changed.get("model.pretrained") else set())
    parts = [f"{key.rsplit('.', 1)[-1]}={_short(value)}" for key, value in changed.items() if key not in unnamed]
    return "-".join([name, *parts])[: max(limit, len(name))].rstrip("-=.,")


def _short(value: Any) -> str:
    if isinstance(value, float):
        value = f"{value:.4g}"  # sampled values have seventeen digits
    return re.sub(r"[^\w.,@-]+", "_", param_text(value))[-24:]


def dump_yaml(config: BaseModel) -> str:
    """Return the configuration as YAML, which can be run again.

    A configuration of several trainings contains only what was set, since defaults differ between the trainings.
    """
    family = FAMILIES.get(getattr(config, "recipe", ""))
    content = config.model_dump(mode="json", exclude_unset=family is not None and family.several)
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # of libyaml, ten times as fast
    return str(yaml.dump(content, Dumper=dumper, sort_keys=False, allow_unicode=True))
