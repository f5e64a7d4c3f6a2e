"""How wide a table is in a file or a pipe."""

import pandas as pd
import pytest

from asr_lab.cli.tables import show

WIDE = pd.DataFrame({f"column_{number}": ["a text of some length"] for number in range(8)})


@pytest.mark.parametrize("columns", ["", "0", "wide"])
def test_a_piped_table_is_as_wide_as_it_is(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", columns)
    show(WIDE, "table")
    shown, errors = capsys.readouterr()
    assert shown.count("a text of some length") == 8
    assert not errors


def test_columns_limit_a_piped_table(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "60")
    show(WIDE, "table")
    shown, _ = capsys.readouterr()
    assert 0 < max(map(len, shown.splitlines())) <= 60
    assert "\x1b" not in shown
