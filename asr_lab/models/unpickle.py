"""Read weights from pickled PyTorch modules without importing their classes or running their code.

Only functions that rebuild tensors and plain containers are called. Every other class becomes an inert placeholder that
stores its state; anything that could execute code (`os`, `builtins.eval`, ...) is refused.
"""

from __future__ import annotations

import collections
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from asr_lab.errors import AsrLabError


def _only_to_call(function: Callable[..., Any]) -> Any:
    """Wrap a function in an object without attributes, since a pickle can set attributes of what it names."""
    return type(function.__name__, (), {"__slots__": (), "__call__": staticmethod(function)})()


_REBUILDS = (torch._utils._rebuild_tensor, torch._utils._rebuild_tensor_v2, torch._utils._rebuild_parameter)
_REAL = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch", "Size"): torch.Size,
    ("torch", "device"): torch.device,
    **{("torch._utils", function.__name__): _only_to_call(function) for function in _REBUILDS},
}
_CONTAINERS = {kind.__name__: kind for kind in (set, frozenset, list, dict, tuple, bytearray, complex, range, slice)}
# types used as arguments, as in `defaultdict(int)`; replaced by placeholders
_HARMLESS = {"int", "long", "float", "str", "unicode", "bool", "bytes", "object"}
_ACTING = {"os", "posix", "nt", "sys", "subprocess", "shutil", "socket", "ctypes", "importlib", "runpy", "pty", "code"}
_ACTING |= {"webbrowser", "commands", "pickle", "_pickle", "marshal", "signal", "multiprocessing", "threading"}
_NESTED = ("state_dict", "model_state_dict", "model", "net", "network")


class Inert:
    """Placeholder for an object of an unavailable class; stores its state and does nothing else."""

    def __new__(cls, *_: Any, **__: Any) -> Inert:
        return object.__new__(cls)

    def __init__(self, *_: Any, **__: Any) -> None:
        """Ignore the arguments that the pickle passes."""

    def __setstate__(self, state: Any) -> None:
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.__dict__.update(part)

    def append(self, item: Any) -> None:
        """Do nothing; called for subclasses of list."""

    def extend(self, items: Any) -> None:
        """Do nothing; called for subclasses of list."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Do nothing; called for subclasses of dict."""


class Refused(pickle.UnpicklingError):
    """Raised for a file that could execute code."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _REAL:
            return _REAL[module, name]
        if module == "torch" and isinstance(getattr(torch, name, None), torch.dtype):
            return getattr(torch, name)
        if module in ("builtins", "__builtin__"):
            if name in _CONTAINERS:
                return _CONTAINERS[name]
            if name not in _HARMLESS:
                raise Refused(f"it would run {name}")
        elif module.split(".")[0] in _ACTING:
            raise Refused(f"it would run {module}.{name}")
        return type(name, (Inert,), {"__module__": module})


def _load(file: Any, **options: Any) -> Any:
    return _Unpickler(file, **options).load()


_PICKLE: Any = SimpleNamespace(Unpickler=_Unpickler, load=_load, __name__="asr_lab.models.unpickle")


def read_weights(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name: a state dict, one nested under `state_dict`, or a pickled module.

    Raise `AsrLabError` if the file is missing, truncated, would execute code, or holds no weights.
    """
    if not path.is_file():
        raise AsrLabError("no such file", where=str(path))
    try:
        if _is_torchscript(path):
            raise AsrLabError("this is a TorchScript program, not a checkpoint", where=str(path))
        content = torch.load(path, map_location="cpu", pickle_module=_PICKLE, weights_only=False)
    except AsrLabError:
        raise
    except Refused as error:
        raise AsrLabError(f"refused: {error}", where=str(path), allowed="a checkpoint of a network") from error
    except Exception as error:  # a corrupt file can raise anything
        why = (str(error).splitlines() or [""])[0] or type(error).__name__
        raise AsrLabError(f"not a PyTorch checkpoint, or truncated: {why}", where=str(path)) from error
    weights = _weights(content)
    if not weights:
        keys = f"; its keys: {', '.join(map(str, content))[:200]}" if isinstance(content, Mapping) else ""
        raise AsrLabError(f"the file holds no weights{keys}", where=str(path), hint="use KoSpeech's model.pt")
    return weights


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("constants.pkl") for name in archive.namelist())


def _weights(content: Any) -> dict[str, Tensor]:
    if isinstance(content, Inert):
        return dict(_of_module(content, ""))
    if not isinstance(content, Mapping):
        return {}
    own = {str(name): value.detach() for name, value in content.items() if isinstance(value, Tensor)}
    nested = (_weights(content[name]) for name in _NESTED if name in content)
    return next((weights for weights in nested if weights), own)


def _of_module(module: Inert, prefix: str) -> Iterator[tuple[str, Tensor]]:
    """Yield what `nn.Module.state_dict` contains, and also the weights of modules in plain lists."""
    state = vars(module)
    for kind in ("_parameters", "_buffers"):
        for name, value in (state.get(kind) or {}).items():
            if isinstance(value, Tensor):
                yield prefix + name, value.detach()
    for name, child in (state.get("_modules") or {}).items():
        if isinstance(child, Inert):
            yield from _of_module(child, f"{prefix}{name}.")
    for name, value in state.items():
        if isinstance(value, list | tuple):
            for index, child in enumerate(value):
                if isinstance(child, Inert) and "_parameters" in vars(child):
                    yield from _of_module(child, f"{prefix}{name}.{index}.")
