"""Names are text on a terminal: no markup, no emoji codes, nothing that a terminal acts on."""

import io
import json

import pytest

from asr_lab.system.terminal import Console
from asr_lab.system.visible_text import one_line, visible


def printed(show) -> str:
    console = Console(file=io.StringIO(), width=80)
    show(console)
    return console.file.getvalue()


@pytest.mark.parametrize("name", ["x[/bold]", "[x] y", "[red]x", "x\\", "x\\\\[/]", ":smile:", "{}", "{0.x}", "50 %"])
def test_a_value_is_text_in_a_template_and_alone(name):
    assert printed(lambda console: console.say("[bold]{}[/] of {}", name, name)) == f"{name} of {name}\n"
    assert printed(lambda console: console.print(name)) == f"{name}\n"


def test_a_value_has_the_style_around_it():
    console = Console(file=io.StringIO(), force_terminal=True, color_system="standard")
    console.say("[bold]{}[/] x", "[/]")
    assert console.file.getvalue() == "\x1b[1m[/]\x1b[0m x\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2J", r"\u001b[2J"),
        ("\x9b31m", r"\u009b31m"),
        ("a\x7f\u202eb\u2066", r"a\u007f\u202eb\u2066"),
        ("\udcff.wav", r"\udcff.wav"),
        ("\u200bx\ufeff", r"\u200bx\ufeff"),
        ("한국어 é 👩‍👧 می‌خواهم\u3000x", "한국어 é 👩‍👧 می‌خواهم\u3000x"),
    ],
)
def test_what_a_terminal_would_act_on_is_shown(text, shown):
    assert visible(text) == one_line(text) == shown
    assert printed(lambda console: console.say("{}", text)) == shown + "\n"
    assert printed(lambda console: console.print(text)) == shown + "\n"


def test_lines_are_kept_in_a_text_and_not_in_a_name():
    assert visible("a\nb\tc") == "a\nb\tc"
    assert one_line("a\nb\tc") == r"a\nb\tc"
    assert printed(lambda console: console.say("{}: kept", "a\nfake line")) == "a\\nfake line: kept\n"


def test_json_is_the_same_json():
    content = {"name": "\x1b\x7f\x9b\u202e\U000e0001\n"}
    assert json.loads(visible(json.dumps(content, ensure_ascii=False))) == content
