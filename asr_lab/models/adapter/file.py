"""The adapter file format, `{name}_adapter.pt`, and the folder of a project's adapters.

A file is a `torch.save` dictionary as older systems write it: `adapter_state_dict` (keys of the sequential: `0.weight`,
`0.bias`, `3.weight`, ...), `input_dim`, `hidden_dims`, `output_dim`, `adapter_name`. A residual adapter has
`residual_state_dict` *instead of* `adapter_state_dict`, so that an older reader fails instead of printing garbage.
New files also record their base model (`base_digest`, `vocabulary_digest`) and cannot be loaded on another one.
"""

from __future__ import annotations

import pickle
import re
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from asr_lab.config.names import ADAPTER_PREFIX, ADAPTER_SUFFIX
from asr_lab.errors import AsrLabError, listing, nearest
from asr_lab.models.adapter.network import MLPAdapter, weight_faults
from asr_lab.system.files import atomic_file, explain_unwritable

REGISTERED = ADAPTER_PREFIX + "{}"
"""The registered name of the adapter called `{}`."""
PLAIN, RESIDUAL = "adapter_state_dict", "residual_state_dict"
_NAME = re.compile(r"[A-Za-z0-9_가-힣][A-Za-z0-9_\-가-힣]{0,63}")  # a first - would make it an option
_MISSPELT = 0.65  # similarity: jahn is a slip for john, jane another speaker
_REQUIRED = ("input_dim", "hidden_dims", "output_dim", "adapter_name")


def check_name(name: str) -> str:
    """Return a valid adapter name; raise `AsrLabError` for anything that could be a path."""
    if not _NAME.fullmatch(name):
        raise AsrLabError(
            f"not an adapter name: {name!r}",
            allowed="letters, digits, `_`, Korean syllables and, not first, `-`; at most 64",
        )
    return name


def no_adapter(name_or_file: str, names: Iterable[str], *, where: str = "") -> AsrLabError:
    """Return the error for an adapter that is missing among `names`: the nearest name, else how to train one."""
    known, name = sorted(set(names)), Path(name_or_file).name.removesuffix(ADAPTER_SUFFIX)
    near = nearest(name, known, _MISSPELT)
    return AsrLabError(
        f"no adapter {name_or_file!r}" + (f"; did you mean {near!r}?" if near else ""),
        where=where,
        allowed=listing(known) or "none yet",
        next_command="" if near or not _NAME.fullmatch(name) else f"mlflow run . -e adapter -P name={name}",
    )


@dataclass(frozen=True)
class AdapterInfo:
    """Metadata of an adapter file; fields that files of older systems lack are empty."""

    adapter_name: str
    form: str
    """`plain` or `residual`."""
    input_dim: int
    hidden_dims: tuple[int, ...]
    output_dim: int
    num_params: int
    size_bytes: int
    base_digest: str = ""
    vocabulary_digest: str = ""
    base: str = ""
    base_normalization: str = ""
    created: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    blank: int = 0
    """Class of the CTC blank."""


@dataclass(frozen=True)
class Base:
    """Digests and sizes of the base model, which an adapter has to match."""

    digest: str
    vocabulary_digest: str
    input_dim: int
    output_dim: int
    uri: str = ""
    normalization: str = ""
    """Of its features, which are no part of the weights."""


class AdapterManager:
    """Saves and loads the adapter files of a folder."""

    def __init__(self, folder: Path | str = "adapters") -> None:
        self.folder = Path(folder)

    def path(self, name: str) -> Path:
        """Return `{folder}/{name}_adapter.pt`; raise `AsrLabError` for an invalid name."""
        return self.folder / f"{check_name(name)}{ADAPTER_SUFFIX}"

    def registered(self, name_or_file: str) -> str:
        """Return the URI of the registered champion of a name that has no file in the folder; "" of anything else."""
        if name_or_file.endswith(".pt") or not _NAME.fullmatch(name_or_file) or self.path(name_or_file).is_file():
            return ""
        return f"models:/{REGISTERED.format(name_or_file)}@champion"

    def names(self) -> list[str]:
        """Return the names of the adapters in the folder."""
        return sorted(path.name.removesuffix(ADAPTER_SUFFIX) for path in self.folder.glob(f"*{ADAPTER_SUFFIX}"))

    def save_adapter(self, name: str, adapter: MLPAdapter, base: Base | None, **more: Any) -> Path:
        """Write an adapter file atomically; `more` (numbers and text) is stored beside the weights.

        Without a `base` the file records none. Raise `AsrLabError` if it cannot be written, for example on a full
        disk; an existing file of that name is then unchanged.
        """
        weights = {key: value.detach().cpu() for key, value in adapter.layers.state_dict().items()}
        content = {
            RESIDUAL if adapter.residual else PLAIN: weights,
            "input_dim": adapter.input_dim,
            "hidden_dims": list(adapter.hidden_dims),
            "output_dim": adapter.output_dim,
            "adapter_name": name,
            "blank": adapter.blank,
            **more,
        }
        if base:
            content |= {"base": base.uri, "base_digest": base.digest, "vocabulary_digest": base.vocabulary_digest}
            content |= {"base_normalization": base.normalization} if base.normalization else {}
        return _write(content, self.path(name))

    def find(self, name_or_file: str) -> Path:
        """Return the file of an adapter, given by name or path; raise `AsrLabError` listing the adapters if missing."""
        given = Path(name_or_file)
        path = given if given.suffix == ".pt" else self.path(name_or_file)
        if not path.is_file():
            raise no_adapter(name_or_file, self.names(), where=str(path))
        return path

    def get_adapter_info(self, name_or_file: str) -> AdapterInfo:
        """Return the metadata of an adapter; its weights are memory-mapped, not read."""
        return _info(*self._read(name_or_file))

    def load_adapter(
        self, name_or_file: str, base: Base, *, blank: int, device: torch.device | str = "cpu"
    ) -> MLPAdapter:
        """Load an adapter for `base`; warn if the file does not record its base.

        Raise `AsrLabError` if it was made for another base, or if the weights do not have the recorded sizes.
        """
        path, content = self._read(name_or_file)
        info = _info(path, content)
        _check_fits(info, base, path)
        adapter = MLPAdapter(
            info.input_dim, info.hidden_dims, info.output_dim, blank=blank, residual=info.form == "residual"
        )
        weights = content[RESIDUAL if adapter.residual else PLAIN]
        _check_weights(weights, adapter.layers.state_dict(), path)
        adapter.layers.load_state_dict(weights)
        return adapter.eval().to(device)

    def _read(self, name_or_file: str) -> tuple[Path, dict[str, Any]]:
        path = self.find(name_or_file)
        return path, _read(path)


def _write(content: Mapping[str, Any], path: Path) -> Path:
    hint = "an existing file of that name is unchanged"
    with (
        explain_unwritable("the adapter", path, hint=hint),
        atomic_file(path, sync=True) as written,
        written.open("wb") as file,  # given a path, torch writes its name into the file
    ):
        torch.save(content, file)
    return path


def _read(path: Path) -> dict[str, Any]:
    try:
        content = _load(path)
    except Exception as error:  # a corrupt file can raise anything
        if isinstance(error, pickle.UnpicklingError) and "GLOBAL" in str(error):
            raise AsrLabError("refused: loading this file would run code", where=str(path)) from error
        why = (str(error).splitlines() or [""])[0] or type(error).__name__
        if isinstance(error, pickle.UnpicklingError):
            why = "it holds more than weights"  # torch advises to load it all the same
        raise AsrLabError(f"not an adapter file, or truncated: {why}", where=str(path)) from error
    if not isinstance(content, dict) or not any(isinstance(content.get(key), dict) for key in (PLAIN, RESIDUAL)):
        raise AsrLabError(f"not an adapter file: it has neither {PLAIN} nor {RESIDUAL}", where=str(path))
    missing = [key for key in _REQUIRED if key not in content]
    if missing:
        raise AsrLabError(
            f"not an adapter file: {listing(missing)} missing", where=str(path), allowed=listing(_REQUIRED)
        )
    return content


def _load(path: Path) -> Any:
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError as error:
        if "mmap can only be used" not in str(error):
            raise
    return torch.load(path, map_location="cpu", weights_only=True)  # the format before torch 1.6


def _info(path: Path, content: Mapping[str, Any]) -> AdapterInfo:
    """Extract the metadata; raise `AsrLabError` if sizes are not numbers or weights not tensors."""
    form = "residual" if RESIDUAL in content else "plain"
    weights = content[RESIDUAL if form == "residual" else PLAIN]
    invalid = [str(key) for key, value in weights.items() if not isinstance(value, Tensor)]
    try:
        hidden = content["hidden_dims"]
        widths = tuple(int(width) for width in (hidden if isinstance(hidden, list | tuple) else [hidden]))
        input_dim, output_dim = int(content["input_dim"]), int(content["output_dim"])
        blank = int(content.get("blank", 0))
    except (TypeError, ValueError) as error:
        raise AsrLabError(f"not an adapter file: its sizes are not numbers ({error})", where=str(path)) from error
    if invalid or not widths or min(*widths, input_dim, output_dim) < 1:
        fault = f"{listing(invalid)} is not a tensor" if invalid else f"hidden_dims {list(widths)}"
        raise AsrLabError(f"not an adapter file: {fault}", where=str(path))
    metrics = content.get("metrics") or {}
    return AdapterInfo(
        adapter_name=str(content["adapter_name"]),
        form=form,
        input_dim=input_dim,
        hidden_dims=widths,
        output_dim=output_dim,
        num_params=sum(tensor.numel() for tensor in weights.values()),
        size_bytes=path.stat().st_size,
        base_digest=str(content.get("base_digest", "")),
        vocabulary_digest=str(content.get("vocabulary_digest", "")),
        base=str(content.get("base", "")),
        base_normalization=str(content.get("base_normalization", "")),
        created=str(content.get("created", "")),
        metrics={str(name): float(value) for name, value in metrics.items()},
        blank=blank,
    )


def _check_weights(weights: Mapping[str, Tensor], wanted: Mapping[str, Tensor], path: Path) -> None:
    if faults := weight_faults(weights, wanted):
        raise AsrLabError(f"the weights do not have the sizes recorded in the file: {listing(faults)}", where=str(path))


def _check_fits(info: AdapterInfo, base: Base, path: Path) -> None:
    if (info.input_dim, info.output_dim) != (base.input_dim, base.output_dim):
        raise AsrLabError(
            f"the adapter has {info.input_dim} inputs and {info.output_dim} classes, "
            f"the base has {base.input_dim} outputs and {base.output_dim} classes",
            where=str(path),
            hint=f"it was made for the base {info.base or 'of an older system'}",
        )
    if not info.base_digest:
        warnings.warn(f"{path} does not record its base model: not checked", stacklevel=3)
        return
    if info.vocabulary_digest != base.vocabulary_digest:
        raise AsrLabError("the adapter was made for another vocabulary", where=str(path), hint=f"its base: {info.base}")
    if info.base_digest != base.digest:
        raise AsrLabError(
            f"the adapter was made for another base (digest {info.base_digest[:8]}, this one {base.digest[:8]})",
            where=str(path),
            hint=f"its base: {info.base}",
        )
    if info.base_normalization not in ("", base.normalization):
        raise AsrLabError(
            f"the adapter was made for a base that normalises features by {info.base_normalization!r}, this one by "
            f"{base.normalization!r}",
            where=str(path),
            hint=f"its base: {info.base}",
        )
