"""`asr-lab guide`: the pages of the documentation that ship with the package."""

from __future__ import annotations

import re
import shutil
import sys
from dataclasses import dataclass
from importlib.resources import files
from typing import ClassVar

import click

from asr_lab.errors import AsrLabError, listing, nearest


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A page: what it is about, and the commands it explains, which name it too (`asr-lab guide cleanup`)."""

    summary: str
    commands: tuple[str, ...] = ()


TOPICS: dict[str, Topic] = {
    "own-data": Topic(
        summary="begin with your own recordings: project, import, split, training, transcripts, in five commands",
        commands=("init",),
    ),
    "train": Topic(
        summary="train or fine-tune a recogniser: from scratch, LoRA, a curriculum of phases, several methods compared",
        commands=("train", "curriculum", "arms", "sync"),
    ),
    "adapt": Topic(
        summary="train a small adapter for one speaker on a frozen base model",
        commands=("adapter", "adapters"),
    ),
    "evaluate": Topic(
        summary="score a model on a manifest, decode with a language model, pool folds, transcribe files",
        commands=("evaluate", "lm", "pool", "transcribe"),
    ),
    "compare": Topic(
        summary="list, show and compare runs, with confidence intervals; the same in a notebook",
        commands=("list", "show", "compare", "ui", "open", "note", "reproduce", "results"),
    ),
    "keep": Topic(
        summary="keep, delete, archive and restore runs; erase the data of a speaker",
        commands=("keep", "cleanup", "archive", "restore", "forget"),
    ),
    "registry": Topic(
        summary="register models, promote a champion, load, serve and export them",
        commands=("register", "promote", "export"),
    ),
    "serve": Topic(
        summary="transcribe over HTTP, for many speakers, by the API of OpenAI's clients",
        commands=("serve",),
    ),
    "data": Topic(
        summary="import, synthesise, split, describe and check corpora",
        commands=("data",),
    ),
    "pronunciation": Topic(summary="assess the pronunciation of second-language speakers: data, models, metrics"),
    "sweeps": Topic(summary="search hyperparameters with Optuna, on one machine or many", commands=("sweep",)),
    "scale": Topic(summary="more than one machine: Slurm, Ray, two hosts; what 3,500 hours on 8 GPUs would cost"),
    "server": Topic(summary="set up a tracking server for a team: PostgreSQL, S3, users, backup"),
    "coming-from": Topic(
        summary="coming from KoSpeech, HF Trainer, Kaldi or ESPnet: what corresponds to what",
        commands=("import-kospeech",),
    ),
    "install": Topic(
        summary="other ways to install: lock, hashes, CPU only, uv, conda, version ranges",
        commands=("doctor",),
    ),
    "configuration": Topic(
        summary="configuration files, keys, overrides, aliases of older option names, environment variables",
        commands=("guide",),
    ),
}

_WIDEST = 100
"""Characters of a line: longer ones are hard to read, however wide the terminal is."""


def _complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    return [topic for topic in TOPICS if topic.startswith(incomplete)]


@click.command()
@click.argument("topic", required=False, shell_complete=_complete)
def guide(topic: str | None) -> None:
    """Show a page of the guide, or list the TOPICs. A command's name shows the page that explains it.

    On a terminal the page is formatted and shown in a pager (PAGER); in a pipe it is plain Markdown.

    \b
    Examples:
      asr-lab guide
      asr-lab guide train
      asr-lab guide cleanup             the page that explains this command
      asr-lab guide compare > compare.md
    """
    if topic is None:
        width = max(map(len, TOPICS))
        for name, about in TOPICS.items():
            click.echo(f"  {name:{width}}  {about.summary}")
        click.echo("\nRead one: asr-lab guide TOPIC")
        return
    text = read_page(resolve_topic(topic))
    if sys.stdout.isatty():
        show_formatted(text)
    else:
        click.echo(text, nl=False)


def resolve_topic(wanted: str) -> str:
    """The topic of this name, or the one that explains the command of this name; `AsrLabError` if there is none."""
    by_command = {command: topic for topic, about in TOPICS.items() for command in about.commands}
    topic = wanted if wanted in TOPICS else by_command.get(wanted)
    if topic is None:
        near = nearest(wanted, [*TOPICS, *by_command])
        raise AsrLabError(
            f"the guide has no page {wanted!r}",
            allowed=listing(TOPICS, len(TOPICS)),
            next_command=f"asr-lab guide {near}".rstrip(),
        )
    return topic


def read_page(topic: str) -> str:
    """The Markdown text of a page."""
    return files("asr_lab").joinpath("guide", f"{topic}.md").read_text(encoding="utf-8")


def show_formatted(text: str) -> None:
    """Print Markdown formatted for the terminal, in a pager where it is longer than the screen."""
    from rich.console import Console, ConsoleOptions, RenderResult
    from rich.markdown import Markdown, TableElement
    from rich.table import Table

    class FoldedTable(TableElement):
        """A table whose long words are folded; rich cuts them off, and commands with them."""

        def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
            for part in super().__rich_console__(console, options):
                if isinstance(part, Table):
                    for column in part.columns:
                        column.overflow = "fold"
                yield part

    class Page(Markdown):
        elements: ClassVar = Markdown.elements | {"table_open": FoldedTable}

    screen = shutil.get_terminal_size()
    console = Console(width=min(screen.columns, _WIDEST))
    with console.capture() as captured:
        console.print(Page(_replace_links(text), code_theme="ansi_dark", hyperlinks=False))
    page = captured.get()
    if page.count("\n") < screen.lines:
        click.echo(page, nl=False)
    else:
        click.echo_via_pager(page)


def _replace_links(text: str) -> str:
    """Links to other pages become the command that shows them; pictures and comments, which are for tests, go."""
    text = re.sub(r"^(<!--.*?-->|!\[.*?\]\(.*?\))\n", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"\[([^\]]+)\]\(#[^)]*\)", r"\1", text)
    text = re.sub(r"\[([a-z-]+)\]\(\1\.md(?:#[^)]*)?\)", r"`asr-lab guide \1`", text)
    return re.sub(r"\[([^\]]+)\]\(([a-z-]+)\.md(?:#[^)]*)?\)", r"\1 (`asr-lab guide \2`)", text)
