"""Describe a run before it starts: name, signature, parameters and tags, from configuration and data."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import BaseModel

from asr_lab.config import identity
from asr_lab.interfaces.tracking import RunSpec

_RESUMABLE = ("train", "phase", "curriculum", "arms")  # kinds that are resumed if interrupted


def describe(
    config: BaseModel,
    *,
    family: str,
    kind: str,
    model_type: str,
    name: str,
    data: Mapping[str, str],
    parent: str = "",
    called: str = "",
    **tags: str,
) -> RunSpec:
    """Describe a run by its configuration and the digests of its data.

    Its name is `called`, or `name` followed by the settings that differ from the defaults.
    """
    return RunSpec(
        parent=parent,
        family=family,
        kind=kind,
        model_type=model_type,
        name=called or identity.run_name(config, name),
        signature=identity.signature(config, data),
        params=identity.flat(config),
        config_yaml=identity.dump_yaml(config),
        tags={f"asr_lab.{key}": value for key, value in tags.items()},
        resumable=kind in _RESUMABLE,
    )
