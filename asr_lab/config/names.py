"""Names that people give, where not every name will do."""

from __future__ import annotations

_REFUSED = '/:@"'  # signs of URIs, and of MLflow's filters, which cannot hold both kinds of quotes


def registered_name(name: str) -> str:
    """The name, if a model can be registered under it and found again by `models:/NAME@alias`.

    Raises `ValueError` that says which signs it has that no such name may have.
    """
    wrong = sorted({sign for sign in name if sign in _REFUSED or not sign.isprintable()})
    if wrong or name != name.strip() or name in ("", ".", ".."):
        found = f" (here: {' '.join(wrong)})" if wrong else ""
        raise ValueError(
            f'no model can be registered as {name!r}: names have none of / : @ " in them{found}, and no spaces around'
        )
    return name
