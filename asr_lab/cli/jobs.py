"""`--engine` of commands: what they do is done by jobs, which run the same command line."""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from click.core import ParameterSource

from asr_lab.cli.options import console
from asr_lab.engines.engine import ENGINES, make_engine, parse_resources, python_command, refuse_processes
from asr_lab.engines.work import LOGS, Piece, Work
from asr_lab.errors import AsrLabError
from asr_lab.system.distributed import is_first
from asr_lab.system.files import write_text
from asr_lab.system.processes import declare_gone, process_mark
from asr_lab.system.stopping import Terminated, held

F = TypeVar("F", bound=Callable[..., Any])

FOLDER = Path("jobs")
"""Where the jobs of commands leave logs and results until these are taken."""
_MARKS = "processes"
"""File in the folder of a job that lists its processes so far, one a line."""
_OWN = ("engine", "resources", "detach", "jobs", "at_a_time", "job", "part")

engine_option = click.option("--engine", type=click.Choice(list(ENGINES)), help="Let jobs of this engine do it.")


def _resources_option(amounts: str) -> Callable[[F], F]:
    return click.option(
        "--resources",
        "resources",
        multiple=True,
        metavar="NAME=AMOUNT,...",
        help=f"What a job gets: {amounts}, or an option of Slurm such as partition.",
    )


resources_option = _resources_option("cpus, gpus, memory_gb, hours")
"""Of jobs that are one process each."""
_training_resources_option = _resources_option("cpus, gpus, processes, memory_gb, hours")
_detach_option = click.option("--detach", is_flag=True, help="With --engine: do not wait for the job.")
_jobs_option = click.option(
    "--jobs", type=click.IntRange(min=1), default=1, show_default=True, help="Jobs, each of a part; with --engine."
)
_part_option = click.option("--part", hidden=True, metavar="NUMBER/COUNT")
_job_option = click.option("--job", type=click.Path(path_type=Path), hidden=True)


@dataclass(frozen=True)
class Jobs:
    """What a command was asked about jobs."""

    engine: str = ""
    """"": this process does the work."""
    resources: tuple[str, ...] = ()
    count: int = 1
    detach: bool = False

    def __post_init__(self) -> None:
        if not self.engine and (self.resources or self.detach or self.count > 1):
            raise AsrLabError(
                "--resources, --jobs and --detach apply to jobs, which need an engine",
                allowed=f"--engine {' | '.join(ENGINES)}",
            )
        if self.detach and self.engine == "local":
            raise AsrLabError(
                "--detach: processes of the engine local end with the command that started them",
                allowed="--engine slurm, slurm-local or ray",
            )

    def run_command(self, variants: Sequence[str] = ()) -> None:
        """Have a job run this command, several processes of it together by torchrun.

        With several jobs, each of the `variants` (`--part NAME`) is done before by one of its own, so many at a time.
        Raises `AsrLabError` if the engine refuses the job, or with the error that the job ended with.
        """
        from asr_lab.tracking.connection import check_usable

        context = click.get_current_context()
        if not context.params.get("offline"):  # before a job waits in a queue
            check_usable()
        words = command_words(context)
        with ExitStack() as stack:
            before: list[Path] = []
            if self.count > 1 and variants:
                of_each = partial(self._pieces, [*words, "--part"], variants)
                before = stack.enter_context(self.results([*words, *variants], of_each, most=self.count))

            def last(folder: Path) -> list[Piece]:
                _count_as_attempts([result.with_name(_MARKS) for result in before], folder / _MARKS)
                return self._pieces(words, (), folder)

            stack.enter_context(self.results(words, last, shows=True))

    def _pieces(self, words: Sequence[str], variants: Sequence[str], folder: Path) -> list[Piece]:
        """Return the pieces that run `words`: one, or one for each variant with its name behind."""
        asked = parse_resources(self.resources)
        commands = {folder / name: (name, [*words, name]) for name in variants} or {folder: (words[0], [*words])}
        return [
            Piece(
                name,
                python_command(*own, "--job", str(place), processes=asked.processes or asked.gpus or 1),
                _result(place),
            )
            for place, (name, own) in commands.items()
        ]

    def check_parts(self) -> None:
        """Raise `AsrLabError` where the engine is not there, or has not such resources: before a run is begun."""
        if self.engine:
            resources = parse_resources(self.resources)
            refuse_processes(resources, "the job of a part")
            make_engine(self.engine, FOLDER, resources)

    def parts(self, words: Sequence[str], folder: Path, suffix: str) -> list[Piece]:
        """Return the pieces of which each runs `words` for one part of the work, into a file of its own."""
        files = {f"{number}/{self.count}": folder / f"part-{number}{suffix}" for number in range(1, self.count + 1)}
        return [
            Piece(f"part {part}", python_command(*words, "--part", part, "--job", str(file)), file)
            for part, file in files.items()
        ]

    @contextmanager
    def results(
        self, words: Sequence[str], pieces_of: Callable[[Path], list[Piece]], *, shows: bool = False, most: int = 0
    ) -> Iterator[list[Path]]:
        """Have jobs do the pieces of some work, which `words` identify; yield their results, removed afterwards.

        `pieces_of` takes the folder of the work; `most` is how many jobs are there at a time, 0: all. Nothing is
        yielded that was not done: with `detach`, the command ends here.
        """
        content = "\0".join([*words, os.environ.get("MLFLOW_TRACKING_URI", ""), str(self.count)])
        folder = FOLDER / f"{words[0]}-{hashlib.sha256(content.encode()).hexdigest()[:8]}"
        engine = make_engine(self.engine, folder / LOGS, parse_resources(self.resources))
        out = console(stderr=not shows)
        pieces = pieces_of(folder)
        work = Work(engine, folder, pieces, lambda line: out.say("{}", line), shows=shows, most=most)
        try:
            work.submit()
            if self.detach:
                cancels = " ".join(["scancel", *work.numbers]) if self.engine == "slurm" else "Ctrl-C of that"
                out.print(f"not waited for: the same command without --detach does; {cancels} cancels")
                raise click.exceptions.Exit(0)
            _wait(work)
            yield [piece.result for piece in pieces]
            work.remove()
        finally:
            work.leave()


def _count_as_attempts(jobs: Sequence[Path], last: Path) -> None:
    """List the processes of some jobs as earlier attempts of the last job, so that it finds the runs they made."""
    if jobs and not last.is_file():
        write_text(last, "\n".join(file.read_text(encoding="utf-8") for file in jobs))


def _wait(work: Work) -> None:
    """Wait for the results; whatever breaks that off, except the end of the terminal, cancels the jobs."""
    try:
        work.wait()
    except Terminated as stop:
        if stop.number != getattr(signal, "SIGHUP", None):
            _cancel(work)
        raise
    except BaseException:
        _cancel(work)
        raise


def _cancel(work: Work) -> None:
    with held():
        if count := work.cancel():
            console(stderr=True).print("its job is cancelled" if count == 1 else f"{count} jobs are cancelled")


def job_options(function: F) -> F:
    """`--engine --resources --detach` of a command that one job runs: it takes them as `jobs`."""

    @functools.wraps(function)
    def call(*arguments: Any, engine: str | None, resources: tuple[str, ...], detach: bool, job: Path | None,
             **more: Any) -> Any:  # fmt: skip
        with as_job(job):
            return function(*arguments, jobs=Jobs(engine or "", resources, detach=detach), **more)

    for option in (_job_option, _detach_option, _training_resources_option, engine_option):
        call = option(call)
    return cast(F, call)


def trainings_options(function: F) -> F:
    """`job_options`, and `--jobs` for trainings within the command; `part`: the one that this process does."""

    @functools.wraps(function)
    def call(*arguments: Any, jobs: Jobs, **more: Any) -> Any:
        return function(*arguments, jobs=replace(jobs, count=more.pop("at_a_time")), **more)

    at_a_time = click.option(
        "--jobs", "at_a_time", type=click.IntRange(min=1), default=1, show_default=True,
        help="Jobs at a time, one training each; with --engine.",
    )  # fmt: skip
    return cast(F, job_options(_part_option(at_a_time(call))))


def part_options(function: F) -> F:
    """`--engine --jobs --resources` of a command that does its work in parts: it takes them as `jobs`, and as `part`
    which one of how many it does itself, and as `job` the file of the result.
    """

    @functools.wraps(function)
    def call(*arguments: Any, engine: str | None, resources: tuple[str, ...], **more: Any) -> Any:
        jobs = Jobs(engine or "", resources, more.pop("jobs"))
        jobs.check_parts()
        return function(*arguments, jobs=jobs, **more)

    for option in (_job_option, _part_option, resources_option, _jobs_option, engine_option):
        call = option(call)
    return cast(F, call)


@contextmanager
def as_job(folder: Path | None) -> Iterator[None]:
    """Wrap the work of the job with this folder, which has the result once the job has succeeded.

    If this process runs, earlier attempts of the same job or torchrun were lost: a run that one of them began on any
    machine is continued, also with `--new-run`.
    """
    own = folder or _folder_of_torchrun()
    if own is None:
        yield
        return
    if is_first():
        marks = own / _MARKS
        attempts = marks.read_text(encoding="utf-8").splitlines() if marks.is_file() else []
        declare_gone(attempts)
        write_text(marks, "\n".join([*attempts, process_mark()]))
    yield
    if is_first() and folder:
        write_text(_result(folder), "")
    elif is_first():
        shutil.rmtree(own, ignore_errors=True)


def _folder_of_torchrun() -> Path | None:
    """Return where the processes of one torchrun leave their mark; None unless it has an id, and restarts them."""
    id, restarts = (os.environ.get(f"TORCHELASTIC_{name}", "") for name in ("RUN_ID", "MAX_RESTARTS"))
    if id in ("", "none") or restarts in ("", "0"):  # `none` without --rdzv-id
        return None
    return FOLDER / f"torchrun-{hashlib.sha256(id.encode()).hexdigest()[:8]}"


def _result(folder: Path) -> Path:
    return folder / "done"


def command_words(context: click.Context) -> list[str]:
    """Return the words after `asr-lab` that run this command again, without its options of jobs."""
    options: list[str] = []
    arguments: list[str] = []
    for param in context.command.params:
        name = str(param.name)
        if name in _OWN or context.get_parameter_source(name) is not ParameterSource.COMMANDLINE:
            continue
        value = context.params[name]
        values = [str(one) for one in (value if isinstance(value, tuple) else (value,))]
        if not isinstance(param, click.Option):
            arguments += values
        elif param.is_flag:
            options.append(param.opts[0])
        else:
            options += [f"{param.opts[0]}={one}" for one in values]
    path: list[str] = []
    while context.parent is not None:
        path.insert(0, str(context.info_name))
        context = context.parent
    return [*path, *options, *arguments]
