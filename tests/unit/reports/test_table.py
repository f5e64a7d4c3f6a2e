"""The table in each of its forms."""

import io
import json

import pandas as pd
import pytest
from made import made_run

from asr_lab.cli.runs.list_show import _formatted
from asr_lab.reports.table import Table
from asr_lab.tracking.queries import runs
from asr_lab.tracking.queries.overview import overview

FRAME = pd.DataFrame(
    {"run": ["base-1", "a|b"], "test/wer": [0.25, None], "model.size": ["1", "2"], "gap": [0.5, -0.5]},
    index=["x", "y"],
)
TABLE = Table(frame=FRAME, formats={"gap": "change"}, best={"test/wer": "x", "gone": "x"})


def test_a_terminal_has_figures_right_and_short_headings():
    blank, head, rule, first, second, end = TABLE.terminal().splitlines()
    assert head == " run     test/wer  size     gap "
    assert first == " base-1     25.0%  1     +50.0% "
    assert second == " a|b            -  2     -50.0% "
    assert blank == end == " " * len(head)
    assert rule == f" {'─' * (len(head) - 2)} "


def test_bold_is_of_the_best_cell_and_of_headings_alone():
    lines = TABLE.terminal(bold=True).splitlines()
    assert [line.count("\x1b[1m") for line in lines] == [0, 4, 0, 1, 0, 0]
    assert "\x1b[1m   25.0%\x1b[0m" in lines[3]


def test_long_names_are_shortened_only_where_asked():
    table = Table(frame=pd.DataFrame({"run": ["begin" + "x" * 60 + "end"]}))
    assert "…" not in table.terminal()
    (shown,) = table.terminal(shorten=True).splitlines()[3].split()
    assert len(shown) == 36
    assert shown.startswith("begin")
    assert shown.endswith("end")


def test_korean_takes_two_cells_a_syllable():
    lines = Table(frame=pd.DataFrame({"text": ["나는", "abcd"], "n": [1, 2]})).terminal().splitlines()
    assert lines[3:5] == [" 나는  1 ", " abcd  2 "]


def test_markdown_and_latex_escape_their_signs():
    assert TABLE.markdown().splitlines() == [
        "| run | test/wer | model.size | gap |",
        "|---|---|---|---|",
        "| base-1 | **25.0%** | 1 | +50.0% |",
        r"| a\|b | - | 2 | -50.0% |",
    ]
    assert r"base-1 & \textbf{25.0\%} & 1 & +50.0\% \\" in TABLE.latex().splitlines()
    assert Table(frame=pd.DataFrame({"a_b": ["1 ± 2"]})).latex().splitlines()[2:5:2] == [r"a\_b \\", r"1 $\pm$ 2 \\"]


HOSTILE = ["x[/b]", "*x", "[x] y", "<img src=x onerror=1>", "`a`|b", "_x_ a_b", "~^\\{}$&%#--", "a\x1b\nb", "&lt;"]


def test_names_are_text_in_every_form():
    table = Table(frame=pd.DataFrame({"run": HOSTILE}))
    assert [row[2:-2] for row in table.markdown().splitlines()[2:]] == [
        r"x\[/b\]", r"\*x", r"\[x\] y", r"\<img src=x onerror=1>", r"\`a\`\|b", r"\_x\_ a_b", r"\~^\\{}\$\&%#--",
        r"a\\u001b\\nb", r"\&lt;",
    ]  # fmt: skip
    assert table.latex().splitlines()[4:-2] == [
        r"x[/b] \\",
        r"{}*x \\",
        r"{}[x] y \\",
        r"\textless{}img src=x onerror=1\textgreater{} \\",
        r"\textasciigrave{}a\textasciigrave{}\textbar{}b \\",
        r"\_x\_ a\_b \\",
        r"\textasciitilde{}\textasciicircum{}\textbackslash{}\{\}\$\&\%\#-{}- \\",
        r"a\textbackslash{}u001b\textbackslash{}nb \\",
        r"\&lt; \\",
    ]
    assert [row["run"] for row in json.loads(table.json())] == HOSTILE
    assert [line[1:-1] for line in table.terminal().splitlines()[3:-1]][7].rstrip() == r"a\u001b\nb"


def test_no_text_is_a_formula_in_a_spreadsheet():
    texts = ["=1+2", "+cmd|' /C calc'!A0", "@x", "-x", "-", "-0.5", "+3e5", "a=b"]
    table = pd.read_csv(io.StringIO(Table(frame=pd.DataFrame({"=x": texts, "n": -1.5})).csv()), dtype=str)
    assert table["'=x"].tolist() == ["'=1+2", "'+cmd|' /C calc'!A0", "'@x", "'-x", "-", "-0.5", "+3e5", "a=b"]
    assert set(table["n"]) == {"-1.5"}


def test_programs_get_the_values_as_they_are():
    assert TABLE.csv() == "run,test/wer,model.size,gap\nbase-1,0.25,1,0.5\na|b,,2,-0.5\n"
    assert json.loads(TABLE.json())[1] == {"run": "a|b", "test/wer": None, "model.size": "2", "gap": -0.5}


def test_html_marks_figures_and_rows_and_escapes():
    page = Table(frame=pd.DataFrame({"<b>": ["<i>"], "wer": [0.1]})).html(best_rows={0})
    assert '<th>&lt;b&gt;<th class="n">wer' in page
    assert '<tr class="best"><td>&lt;i&gt;<td class="n">10.0%' in page


def test_figures_of_several_metrics_are_written_each_in_its_way():
    frame = pd.DataFrame({"metric": ["val/wer", "train/loss", ""], "value": [0.25, 0.25, None]})
    rows = Table(frame=frame, metric_columns={"value": "metric"}).markdown().splitlines()[2:]
    assert [row.split(" | ")[1] for row in rows] == ["25.0% |", "0.25 |", "- |"]


@pytest.mark.parametrize("style", ["table", "json", "csv", "markdown", "latex"])
def test_a_table_without_rows_has_every_form(style):
    assert "run" in Table(frame=FRAME[:0]).text(style) or style == "json"


def test_thousands_of_rows_are_quick():
    import time

    table = Table(frame=pd.DataFrame({f"c{number}": range(5000) for number in range(10)}))
    began = time.process_time()
    table.terminal()
    assert time.process_time() - began < 4


def test_a_narrow_terminal_does_without_expendable_columns_in_their_order():
    frame = pd.DataFrame([{"run": "korean-children", "took": "1 min 00 s", "size": "6 kB", "value": 0.5}])
    table = Table(frame=frame, expendable=("took", "missing", "size"))
    assert table.fitted(200) == (table, [])
    narrower, left_out = table.fitted(table.width() - 1)
    assert left_out == ["took"]
    assert list(narrower.frame) == ["run", "size", "value"]
    assert max(map(len, narrower.terminal().splitlines())) == narrower.width()
    assert table.fitted(10)[1] == ["took", "size"]


def test_a_block_a_row_where_no_table_fits():
    frame = pd.DataFrame([{"run": "a", "train.lr": 0.1}, {"run": "b", "train.lr": 0.2}])
    assert Table(frame=frame).blocks() == "\n run  a\n lr   0.1\n\n run  b\n lr   0.2\n\n"


def test_a_list_of_runs_fits_80_columns_with_its_figures(store):
    """However long the names of a run and of its registered model are."""
    made_run("base-hidden_size=1024-num_layers=5-units=jamo-lr=0.0003", register="deepspeech2-adapter-someone")
    table, left_out = _formatted(overview(runs.find())).fitted(80, shorten=True)
    assert table.width(shorten=True) <= 80
    assert {"run", "state", "metric", "value"} <= set(table.frame)
    assert "marks" in left_out
