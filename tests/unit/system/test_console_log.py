"""What is printed, as the terminal shows it in the end: complete lines at once, progress bars not at all."""

from __future__ import annotations

import io
import sys

from rich.console import Console
from rich.progress import Progress

from asr_lab.system.console_log import ConsoleLog, listen


def logged(tmp_path, *texts: str, before: str = "") -> str:
    log = ConsoleLog()
    log.add(before)
    log.open(tmp_path / "a" / "x.log", lambda line: line.replace("secret", "***"))
    for text in texts:
        log.add(text)
    log.close()
    return (tmp_path / "a" / "x.log").read_text()


def test_lines_are_kept_in_their_order(tmp_path):
    assert logged(tmp_path, " one\ntwo", "\n\x1b[31mred\x1b[0m\nhalf", before="early\nline") == (
        "early\nline one\ntwo\nred\nhalf\n"
    )


def test_a_progress_bar_leaves_its_last_state(tmp_path):
    assert logged(tmp_path, "  1%|#", "\r 50%|##", "\r100%|###\n", "a\r\nb\n") == "100%|###\na\nb\n"


def test_what_a_live_display_draws_again_is_there_once(tmp_path):
    file = io.StringIO()
    console = Console(file=file, force_terminal=True, width=80)
    with Progress(console=console) as bar:
        tasks = [bar.add_task(f"task {number}", total=50) for number in range(2)]
        for step in range(50):
            for task in tasks:
                bar.advance(task)
            if step == 25:
                bar.console.print("printed meanwhile")
            bar.refresh()
    lines = logged(tmp_path, file.getvalue()).splitlines()
    assert len(lines) == 3
    assert "printed meanwhile" in lines
    assert [line.split()[1] for line in lines if "100%" in line] == ["0", "1"]


def test_secrets_are_hidden_and_a_long_log_loses_its_middle(tmp_path):
    text = logged(tmp_path, "a secret\n", *(f"line {number} {'x' * 80}\n" for number in range(30_000)), "the end\n")
    assert text.startswith("a ***\n")
    assert text.endswith("the end\n")
    assert "left out" in text
    assert len(text) < 1_100_000


def test_streams_print_as_before(tmp_path, capsys):
    log = listen()
    log.open(tmp_path / "before.log", str)  # what other tests printed
    log.open(tmp_path / "x.log", str)
    print("out")
    print("err", file=sys.stderr)
    assert listen() is log
    log.close()
    print("later")
    assert (tmp_path / "x.log").read_text() == "out\nerr\n"
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("out\nlater\n", "err\n")
