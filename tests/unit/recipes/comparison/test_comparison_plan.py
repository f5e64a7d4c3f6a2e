"""Errors of the variants of a comparison."""

from __future__ import annotations

import pytest

from asr_lab.errors import UnavailableError
from asr_lab.interfaces.in_memory import FolderStore
from asr_lab.recipes.comparison import plan


def test_the_error_of_a_variant_names_it_and_keeps_its_kind(monkeypatch):
    """A store that does not answer may do so later: what repeats such commands looks at the kind."""

    def unavailable(*_: object) -> None:
        raise UnavailableError("the store does not answer", where="http://127.0.0.1:1")

    monkeypatch.setattr(plan, "_plan", unavailable)
    with pytest.raises(UnavailableError) as caught:
        plan.plans({"r4": None}, "models:/base/1", FolderStore())
    assert (caught.value.what, caught.value.where) == ("arms.r4: the store does not answer", "http://127.0.0.1:1")
    assert str(caught.value).startswith("arms.r4: the store")
