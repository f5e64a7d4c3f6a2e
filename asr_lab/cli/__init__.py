"""The command line: one thin file a command group, imported only when its command is called."""

from __future__ import annotations

import errno
import os
import signal
import warnings
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from asr_lab import __version__
from asr_lab.errors import AsrLabError, brief, is_out_of_memory, nearest
from asr_lab.system import libraries
from asr_lab.system.stopping import Terminated, ending_quietly
from asr_lab.system.visible_text import visible

COMMANDS: dict[str, tuple[str, str]] = {
    "init": ("asr_lab.cli.training.init:init", "Begin a project: configurations, a sample table, the next commands."),
    "train": ("asr_lab.cli.training.train:train", "Train a recogniser from a config."),
    "curriculum": (
        "asr_lab.cli.training.curriculum:curriculum",
        "Fine-tune by phases of growing data, with gates.",
    ),
    "arms": (
        "asr_lab.cli.training.arms:arms",
        "Compare fine-tuning methods on one base model.",
    ),
    "sweep": ("asr_lab.cli.training.sweep:sweep", "Search an experiment's settings for the best metrics."),
    "adapter": ("asr_lab.cli.training.adapter:adapter", "Adapt a recogniser to one speaker."),
    "adapters": ("asr_lab.cli.models.adapters:adapters", "List, inspect, export and import adapters."),
    "evaluate": ("asr_lab.cli.training.evaluate:evaluate", "Score a recogniser on a manifest."),
    "lm": ("asr_lab.cli.models.lm:lm", "Train an n-gram language model to decode with."),
    "pool": ("asr_lab.cli.training.pool:pool", "One evaluation of several runs' parts, such as folds."),
    "transcribe": ("asr_lab.cli.models.transcribe:transcribe", "Transcribe files, folders and manifests."),
    "serve": ("asr_lab.cli.models.serve:serve", "Transcribe over HTTP, for many speakers."),
    "export": ("asr_lab.cli.models.export:export", "Export a recogniser to ONNX, in float or 8 bits."),
    "data": ("asr_lab.cli.data.group:data", "Make, import, split, describe and check corpora."),
    "import-kospeech": (
        "asr_lab.cli.models.import_kospeech:import_kospeech",
        "Convert a KoSpeech checkpoint.",
    ),
    "list": ("asr_lab.cli.runs.list_show:list_runs", "List runs, newest first."),
    "show": ("asr_lab.cli.runs.list_show:show", "Show one run."),
    "compare": ("asr_lab.cli.runs.compare:compare", "Compare runs: what differs, and which is best."),
    "ui": ("asr_lab.cli.runs.ui:ui", "Open the MLflow UI at the figures that count."),
    "open": ("asr_lab.cli.runs.ui:open_run", "Open a run's page: aligned text, a learner, a sweep."),
    "keep": ("asr_lab.cli.store.cleanup:keep", "Pin runs, so that no cleanup deletes them."),
    "note": ("asr_lab.cli.store.cleanup:note", "Add a note to a run."),
    "cleanup": ("asr_lab.cli.store.cleanup:cleanup", "Delete runs that are not needed, after showing which and why."),
    "archive": ("asr_lab.cli.store.archive:archive", "Pack runs into bundles that can be restored anywhere."),
    "restore": ("asr_lab.cli.store.archive:restore", "Restore deleted or archived runs."),
    "forget": ("asr_lab.cli.store.forget:forget", "Erase all data of a speaker."),
    "sync": ("asr_lab.cli.store.sync:sync", "Ship runs recorded while the tracking store was unavailable."),
    "register": ("asr_lab.cli.models.registry:register", "Make a run's model a version in the registry."),
    "promote": ("asr_lab.cli.models.registry:promote", "Give a version an alias, if it is shown to be better."),
    "reproduce": ("asr_lab.cli.runs.reproduce:reproduce", "Repeat a run, and compare all metrics."),
    "results": (
        "asr_lab.cli.runs.results:results",
        "Record figures of studies, check that they stand, make them again.",
    ),
    "guide": ("asr_lab.cli.guide:guide", "Read the documentation: a page for each task."),
    "doctor": (
        "asr_lab.cli.store.doctor:doctor",
        "Check the installation, store, GPU, eSpeak, disk.",
    ),
}


class LazyGroup(click.Group):
    """Commands by name; a module is imported when its command is."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in COMMANDS and not args[0].startswith("-"):
            ctx.fail(f"no such command {args[0]!r}" + _similar(args[0]))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_text) for name, (_, help_text) in COMMANDS.items()])

    def main(self, *args: Any, **kwargs: Any) -> Any:
        if "_ASR_LAB_COMPLETE" in os.environ:
            from click.shell_completion import add_completion_class

            from asr_lab.cli.completion import Bash

            add_completion_class(Bash)
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            _check_working_folder()
            return super().invoke(ctx)
        except AsrLabError as error:
            raise click.ClickException(visible(str(error))) from error
        except click.UsageError as error:
            raise click.UsageError(visible(brief(error.format_message())) + _example(error), error.ctx) from error
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except KeyboardInterrupt as stop:  # click itself would say "Aborted!" and exit with 1
            raise Terminated(signal.SIGINT) from stop
        except Exception as error:
            if explained := _explain(error):
                raise click.ClickException(visible(str(explained))) from error
            raise


def _explain(error: Exception) -> Exception | None:
    """Return a message for an error that the user can fix: a path that is too long, a full or failing disk, too little
    memory, a broken library; None for any other.
    """
    from asr_lab.system.files import remedy

    named = str(getattr(error, "filename2", None) or getattr(error, "filename", None) or "")
    if isinstance(error, OSError) and error.errno == errno.ENAMETOOLONG:
        return AsrLabError("no file can have so long a name", where=named or str(error))
    if isinstance(error, OSError) and (named or not _refuses_no_file(error)) and (known := remedy(error)):
        return AsrLabError(f"{error.strerror}: a file cannot be written or read", where=named, hint=known)
    if is_out_of_memory(error):
        return AsrLabError(
            "out of memory",
            where=next(iter(str(error).splitlines()), ""),
            hint="a smaller train.batch_size, data.max_duration_s or model needs less memory",
        )
    return libraries.explain(error)


def _refuses_no_file(error: OSError) -> bool:
    """Return whether an error without the name of a file is not on one: signals, ports and memory are refused too."""
    is_refused = error.errno in (errno.EACCES, errno.EPERM)
    return is_refused and " file " not in str(error)  # Arrow names its file in the message alone


def _check_working_folder() -> None:
    """Raise `AsrLabError` if the working folder was deleted: libraries then fail to load, for reasons that mislead."""
    try:
        Path.cwd()
    except OSError as error:
        raise AsrLabError(
            f"the working folder cannot be read: {error.strerror}",
            hint="it was deleted or moved, or its permissions changed",
            next_command="cd to a folder that is there",
        ) from error


def _similar(name: str) -> str:
    """Return the question for a command that does not exist: the same one of a group, or one with a similar name."""
    group = "data"
    below = import_module(COMMANDS[group][0].partition(":")[0]).data.commands
    near = f"{group} {name}" if name in below else nearest(name, [*COMMANDS, *below])
    near = f"{group} {near}" if near in below and near not in COMMANDS else near
    return f"; did you mean {near!r}?" if near else ""


def _example(error: click.UsageError) -> str:
    """Return the first example of the command whose arguments are missing, "" for other errors."""
    command = error.ctx.command if error.ctx and isinstance(error, click.MissingParameter) else None
    _, marker, examples = (command.help or "" if command else "").partition("Examples:\n")
    first = next((line.strip() for line in examples.splitlines() if line.strip()), "") if marker else ""
    return f"\n  try: {first.partition('   ')[0]}" if first else ""


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(__version__, prog_name="asr-lab")
def cli() -> None:
    """Train, adapt, evaluate and compare speech recognisers; every run is recorded in MLflow.

    \b
    Examples:
      mlflow run . -e adapter -P name=john          the whole demo: corpus, base, john's adapter
      asr-lab train experiments/deepspeech2/base.yaml train.batch_size=32
      asr-lab compare --pattern john
      asr-lab transcribe recording.wav --adapter john

    Runs and models are stored in MLFLOW_TRACKING_URI, else in sqlite:///mlflow.db of this folder.
    The documentation: asr-lab guide
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    warnings.filterwarnings("ignore", category=FutureWarning)


def main() -> None:
    """The script of earlier installations; `asr_lab.__main__` is quiet from the first import on."""
    from asr_lab.cli.stopped import report_stop

    with ending_quietly(report_stop):
        cli(prog_name="asr-lab")
