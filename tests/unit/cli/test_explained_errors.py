"""Errors of the system that end a command: those on files are explained, others are not taken for them."""

import errno
import os

import click
import pytest
from click.testing import CliRunner

from asr_lab import cli


@pytest.fixture
def ending(monkeypatch):
    """Runs a command that ends with an error."""

    def run(error: OSError):
        @click.command()
        def fails() -> None:
            raise error

        monkeypatch.setattr(cli.LazyGroup, "get_command", lambda *_: fails)
        return CliRunner().invoke(cli.cli, ["list"])

    return run


@pytest.mark.parametrize("number", [errno.EACCES, errno.EPERM])
def test_a_refusal_that_names_no_file_is_not_explained_as_one(ending, number):
    error = OSError(number, os.strerror(number))  # of a signal, or a port
    assert ending(error).exception is error


@pytest.mark.parametrize(
    "error",
    [
        PermissionError(errno.EACCES, "Permission denied", "corpus/all.jsonl.gz"),
        PermissionError(errno.EACCES, "Failed to open local file 'corpus/all.jsonl.gz'"),  # Arrow
        OSError(errno.EPERM, "Operation not permitted", "a", None, "corpus/all.jsonl.gz"),
    ],
)
def test_a_file_that_is_refused_is_named(ending, error):
    result = ending(error)
    assert result.exit_code == 1
    assert "corpus/all.jsonl.gz" in result.output
    assert "permission to read or write" in result.output


def test_an_error_of_the_disk_needs_no_name(ending):
    result = ending(OSError(errno.EIO, "Input/output error"))
    assert result.exit_code == 1
    assert "dmesg" in result.output
