"""Names of models: those that users may give, and those of adapters."""

from __future__ import annotations

import re
from pathlib import Path

ADAPTER_PREFIX = "deepspeech2-adapter-"
"""Begins the registered name of an adapter; the speaker's name follows."""
ADAPTER_SUFFIX = "_adapter.pt"
"""Ends the file name of an adapter, after the speaker's name."""
_REFUSED = '/:@"'  # signs of URIs, and of MLflow's filters, which cannot hold both kinds of quotes

_LONGEST = 200  # characters; stores keep 250 or so, with what is added
_BARE = re.compile(r"[^/@:]+(?P<which>@[^/]+|/\d+)?")


def registered_name(name: str) -> str:
    """Return the name if a model can be registered under it and loaded by `models:/NAME@alias`.

    Raise `ValueError` listing the characters that are not allowed.
    """
    wrong = sorted({sign for sign in name if sign in _REFUSED or not sign.isprintable()})
    if len(name) > _LONGEST:
        raise ValueError(f"no model can be registered by a name of {len(name):,} characters: {_LONGEST} at most")
    if wrong or name != name.strip() or name in ("", ".", ".."):
        here = f" (here: {' '.join(wrong)})" if wrong else ""
        raise ValueError(
            f'no model can be registered as {name!r}: names have none of / : @ " in them{here}, and no spaces around'
        )
    return name


def model_uri(model: str) -> str:
    """Return the URI of a registered `NAME` (its champion), `NAME@alias` or `NAME/3`; others unchanged."""
    if Path(model).is_dir() or not (parts := _BARE.fullmatch(model)):
        return model
    return f"models:/{model}" if parts["which"] else f"models:/{model}@champion"
