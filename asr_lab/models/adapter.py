"""One person's MLP on the frozen base's RNN output, and the file it travels in.

The file `{name}_adapter.pt` is a `torch.save` dictionary that others already hold: `adapter_state_dict` (keys of the
sequential: `0.weight`, `0.bias`, `3.weight`, ...), `input_dim`, `hidden_dims`, `output_dim`, `adapter_name`. Here it
also says which base it belongs to (`base_digest`, `vocabulary_digest`), and is refused on another one.

Legend: B utterances, U frames, H base output, V classes.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import pickle
import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence
from transformers.utils import ModelOutput

from asr_lab.errors import AsrLabError, listing
from asr_lab.models.deepspeech2 import ctc_loss

_NAME = re.compile(r"[A-Za-z0-9_\-가-힣]{1,64}")
_REQUIRED = ("adapter_state_dict", "input_dim", "hidden_dims", "output_dim", "adapter_name")


def check_name(name: str) -> str:
    """The name, if it is one; raises `AsrLabError` for anything that could be a path."""
    if not _NAME.fullmatch(name):
        raise AsrLabError(
            f"not an adapter name: {name!r}",
            allowed="letters, digits, `-`, `_` and Korean syllables, at most 64",
        )
    return name


@dataclass
class AdapterOutput(ModelOutput):  # type: ignore[misc]
    """`loss` () and `logits` (B, U, V)."""

    loss: Tensor | None = None
    logits: Tensor | None = None
    logit_lengths: Tensor | None = None


class MLPAdapter(nn.Module):
    """`Linear - ReLU - Dropout` for each hidden layer, then `Linear - LogSoftmax`: (B, U, H) -> log-probs (B, U, V)."""

    accepts_loss_kwargs = False

    def __init__(
        self,
        input_dim: int,
        hidden_dims: tuple[int, ...],
        output_dim: int,
        *,
        dropout: float = 0.1,
        blank: int = 0,
    ) -> None:
        super().__init__()
        self.input_dim, self.hidden_dims, self.output_dim = input_dim, tuple(hidden_dims), output_dim
        self.blank = blank
        layers: list[nn.Module] = []
        for width, next_width in itertools.pairwise((input_dim, *hidden_dims)):
            layers += [nn.Linear(width, next_width), nn.ReLU(), nn.Dropout(dropout)]
        layers += [nn.Linear(hidden_dims[-1], output_dim), nn.LogSoftmax(dim=-1)]
        self.layers = nn.Sequential(*layers)

    def forward(
        self, frames: Tensor, frame_lengths: Tensor | None = None, labels: Tensor | None = None
    ) -> AdapterOutput:
        """Log-probabilities (B, U, V) of the base's frames (B, U, H).

        In training `frames` are those of all utterances in one row (sum of lengths, H), so that no padding is
        computed; with their lengths (B,) and labels (B, L) the CTC loss comes too.
        """
        log_probs = self.layers(frames)
        if labels is None or frame_lengths is None:
            return AdapterOutput(logits=log_probs, logit_lengths=frame_lengths)
        logits_BUV = pad_sequence(log_probs.split(frame_lengths.tolist()), batch_first=True)
        loss = ctc_loss(logits_BUV, frame_lengths, labels, blank=self.blank)
        return AdapterOutput(loss=loss, logits=logits_BUV, logit_lengths=frame_lengths)

    def freeze(self) -> None:
        self.requires_grad_(False)

    def unfreeze(self) -> None:
        self.requires_grad_(True)


def weights_digest(module: nn.Module) -> str:
    """SHA-256 (32 hexadecimal digits) of every parameter and buffer, by name: the same before and after adapting."""
    whole = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        whole.update(name.encode())
        whole.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()[:32]


def vocabulary_digest(units: list[str]) -> str:
    """SHA-256 (32 hexadecimal digits) of the classes in their order."""
    return hashlib.sha256("\n".join(units).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class AdapterInfo:
    """What an adapter file says of itself."""

    adapter_name: str
    input_dim: int
    hidden_dims: tuple[int, ...]
    output_dim: int
    num_params: int
    size_bytes: int
    base_digest: str = ""
    vocabulary_digest: str = ""
    base: str = ""
    created: str = ""


@dataclass(frozen=True)
class Base:
    """What an adapter must fit: the base's digests and sizes."""

    digest: str
    vocabulary_digest: str
    input_dim: int
    output_dim: int
    uri: str = ""


class AdapterManager:
    """The adapter files of a folder."""

    def __init__(self, folder: Path | str = "adapters") -> None:
        self.folder = Path(folder)

    def path(self, name: str) -> Path:
        """`{folder}/{name}_adapter.pt`; the name is checked."""
        return self.folder / f"{check_name(name)}_adapter.pt"

    def names(self) -> list[str]:
        """Names of the adapters there are."""
        return sorted(path.name.removesuffix("_adapter.pt") for path in self.folder.glob("*_adapter.pt"))

    def save_adapter(self, name: str, adapter: MLPAdapter, base: Base, **more: Any) -> Path:
        """Write the file aside, then rename; `more` (numbers and text) is kept beside the weights."""
        path = self.path(name)
        self.folder.mkdir(parents=True, exist_ok=True)
        content = {
            "adapter_state_dict": {key: value.detach().cpu() for key, value in adapter.layers.state_dict().items()},
            "input_dim": adapter.input_dim,
            "hidden_dims": list(adapter.hidden_dims),
            "output_dim": adapter.output_dim,
            "adapter_name": name,
            "blank": adapter.blank,
            "base": base.uri,
            "base_digest": base.digest,
            "vocabulary_digest": base.vocabulary_digest,
            **more,
        }
        aside = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            torch.save(content, aside)
            aside.replace(path)
        finally:
            aside.unlink(missing_ok=True)  # what a full disk left
        return path

    def find(self, name_or_file: str) -> Path:
        """The file of a name, or the file itself; raises `AsrLabError` that lists the adapters there are."""
        given = Path(name_or_file)
        path = given if given.suffix == ".pt" else self.path(name_or_file)
        if not path.is_file():
            raise AsrLabError(
                f"no adapter {name_or_file!r}",
                where=str(path),
                allowed=listing(self.names()) or "none yet",
                next_command=f"mlflow run . -e adapter -P name={path.name.removesuffix('_adapter.pt')}",
            )
        return path

    def get_adapter_info(self, name_or_file: str) -> AdapterInfo:
        """What the file says of itself; the weights stay on disk (memory-mapped, never read)."""
        path = self.find(name_or_file)
        content = _read(path)
        return AdapterInfo(
            adapter_name=str(content["adapter_name"]),
            input_dim=int(content["input_dim"]),
            hidden_dims=tuple(int(width) for width in content["hidden_dims"]),
            output_dim=int(content["output_dim"]),
            num_params=sum(tensor.numel() for tensor in content["adapter_state_dict"].values()),
            size_bytes=path.stat().st_size,
            base_digest=str(content.get("base_digest", "")),
            vocabulary_digest=str(content.get("vocabulary_digest", "")),
            base=str(content.get("base", "")),
            created=str(content.get("created", "")),
        )

    def load_adapter(
        self, name_or_file: str, base: Base, *, blank: int, device: torch.device | str = "cpu"
    ) -> MLPAdapter:
        """The adapter, ready to recognise on `base`; refused on another base, with a warning if it cannot be told."""
        path = self.find(name_or_file)
        content = _read(path)
        info = self.get_adapter_info(str(path))
        _check_fits(info, base, path)
        adapter = MLPAdapter(info.input_dim, info.hidden_dims, info.output_dim, blank=blank)
        try:
            adapter.layers.load_state_dict(content["adapter_state_dict"])
        except RuntimeError as error:
            raise AsrLabError(f"the weights do not fit what the file says: {error}", where=str(path)) from error
        return adapter.eval().to(device)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except pickle.UnpicklingError as error:
        raise AsrLabError("refused: this file would run code when read", where=str(path)) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise AsrLabError(f"not an adapter file, or cut off: {error}", where=str(path)) from error
    missing = [key for key in _REQUIRED if not isinstance(content, dict) or key not in content]
    if missing:
        raise AsrLabError(
            f"not an adapter file: it lacks {listing(missing)}", where=str(path), allowed=listing(_REQUIRED)
        )
    assert isinstance(content, dict)
    return content


def _check_fits(info: AdapterInfo, base: Base, path: Path) -> None:
    if (info.input_dim, info.output_dim) != (base.input_dim, base.output_dim):
        raise AsrLabError(
            f"the adapter reads {info.input_dim} values and knows {info.output_dim} classes, "
            f"the base gives {base.input_dim} and has {base.output_dim}",
            where=str(path),
            hint=f"it was made for the base {info.base or 'of an older system'}",
        )
    if not info.base_digest:
        warnings.warn(f"{path} does not say which base it belongs to: not checked", stacklevel=3)
        return
    if info.vocabulary_digest != base.vocabulary_digest:
        raise AsrLabError("the adapter was made for another vocabulary", where=str(path), hint=f"its base: {info.base}")
    if info.base_digest != base.digest:
        raise AsrLabError(
            f"the adapter was made for another base (digest {info.base_digest[:8]}, this one {base.digest[:8]})",
            where=str(path),
            hint=f"its base: {info.base}",
        )
