"""What a later call takes for done: results of audio, segments and references that are as they were."""

import errno
import io
import os
from pathlib import Path

import pytest
from conftest import make_corpus
from lhotse import CutSet

from asr_lab.data import manifest
from asr_lab.errors import AsrLabError
from asr_lab.serving.sources import Source, find_sources
from asr_lab.serving.transcribe import check_out
from asr_lab.serving.transcript_journal import TranscriptJournal


@pytest.fixture
def journal(tmp_path):
    made = TranscriptJournal(tmp_path / "x.jsonl")
    made.begin({}, resume=False)
    return made


def test_other_bytes_from_standard_input_are_not_done(journal):
    (first,), (other,) = (find_sources(["-"], io.BytesIO(content)) for content in (b"one", b"other"))
    journal.add(first, {"text": "a"})
    assert journal.is_done(first)
    assert not journal.is_done(other)


@pytest.mark.parametrize("change", ["segment", "speaker", "reference"])
def test_a_row_of_a_manifest_that_changed_is_not_done(journal, tmp_path, change):
    path = make_corpus(tmp_path, {"u1": "cab", "u2": "dad"})
    changed, same = find_sources([path], io.BytesIO())
    for source in (changed, same):
        journal.add(source, {"text": "a"})
    first, second = manifest.read(path)
    if change == "segment":
        first = first.truncate(duration=first.duration / 2)
    elif change == "speaker":
        first.supervisions[0].speaker = "bob"
    else:
        first.supervisions[0].text = "corrected"
    CutSet.from_cuts([first, second]).to_file(path)
    changed, same = find_sources([path], io.BytesIO())
    assert not journal.is_done(changed)
    assert journal.is_done(same)


def test_a_name_that_no_file_can_have_is_missing(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"")
    long = Path("x" * 300 + ".wav")
    with pytest.raises(AsrLabError, match="no such audio file"):
        find_sources([long], io.BytesIO())
    _, source = find_sources([tmp_path / "a.wav", long], io.BytesIO())
    assert source.state == ""


def test_ids_with_dots_have_a_file_each(tmp_path):
    (cut,) = manifest.read(make_corpus(tmp_path, {"u1": "cab"}))
    sources = [Source(name=name, audio=cut) for name in ("s1.01", "s1.02", "s1.wav", "rec/s2.flac")]
    check_out(tmp_path / "{}.srt", sources, resume=False, overwrite=False)


def test_recordings_that_a_scorer_would_take_for_one_are_refused(tmp_path):
    sources = [Source(name=name, audio=tmp_path) for name in ("a/x.wav", "a/y.wav", "a/x.flac")]
    check_out(tmp_path / "t.jsonl", sources, resume=False, overwrite=False)
    check_out(tmp_path / "t.ctm", sources[:2], resume=False, overwrite=False)
    with pytest.raises(AsrLabError) as refused:
        check_out(tmp_path / "t.ctm", sources, resume=False, overwrite=False)
    assert refused.value.where == str(tmp_path / "t.ctm")


def test_links_are_followed_each_folder_once_and_those_to_nothing_are_sources(tmp_path):
    folder, other = tmp_path / "rec", tmp_path / "other"
    for place in (folder / "below", other / "deep", other / ".hidden"):
        place.mkdir(parents=True)
        (place / "a.wav").write_bytes(b"x")
    (folder / "dir.wav").mkdir()
    (folder / "link").symlink_to(other)
    (folder / "below" / "loop").symlink_to(folder)
    (folder / "gone.wav").symlink_to(tmp_path / "nothing.wav")
    names = [source.name for source in find_sources([folder], io.BytesIO())]
    assert names == [str(folder / name) for name in ("below/a.wav", "gone.wav", "link/deep/a.wav")]


def test_a_link_displaces_no_folder_and_leads_not_out_of_the_one_given(tmp_path):
    folder = tmp_path / "rec"
    (folder / "real").mkdir(parents=True)
    for place in (tmp_path, folder / "real"):
        (place / "a.wav").write_bytes(b"x")
    (folder / "latest").symlink_to("real")
    (folder / "above").symlink_to("..")
    assert [source.name for source in find_sources([folder], io.BytesIO())] == [str(folder / "real" / "a.wav")]


def test_a_folder_that_cannot_be_read_is_a_source_whose_reading_fails(tmp_path, monkeypatch):
    folder, scandir = tmp_path / "rec", os.scandir
    for place in (folder, folder / "lost+found"):
        place.mkdir()
        (place / "a.wav").write_bytes(b"x")

    def scan(path):
        if Path(path).name == refused:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", scan)
    refused = "lost+found"
    assert [source.name for source in find_sources([folder], io.BytesIO())] == [
        str(folder / name) for name in ("a.wav", "lost+found")
    ]
    refused = "rec"
    with pytest.raises(AsrLabError) as error:
        find_sources([folder], io.BytesIO())
    assert error.value.where == str(folder)


def test_files_of_a_folder_that_cannot_be_entered_are_sources_whose_reading_fails(tmp_path, monkeypatch):
    folder, stat = tmp_path / "rec", os.stat
    for place in (folder, folder / "closed"):
        place.mkdir()
        for name in ("a.wav", "notes.txt"):
            (place / name).write_bytes(b"x")

    def refuse(path, *args, **options):
        if Path(path).parent.name == "closed":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return stat(path, *args, **options)

    monkeypatch.setattr(os, "stat", refuse)
    names = [source.name for source in find_sources([folder], io.BytesIO())]
    assert names == [str(folder / name) for name in ("a.wav", "closed/a.wav")]


@pytest.mark.parametrize(("names", "said"), [("a", "a.srt is a folder"), ("ab", "b.srt are folders")])
def test_the_message_on_output_that_is_folders_counts_them(tmp_path, names, said):
    for name in names:
        (tmp_path / f"{name}.srt").mkdir()
    sources = [Source(name=f"{name}.wav", audio=tmp_path) for name in names]
    with pytest.raises(AsrLabError) as refused:
        check_out(tmp_path / "{}.srt", sources, resume=False, overwrite=True)
    assert refused.value.what.endswith(said)


@pytest.mark.parametrize("name", ["t.txt", "{}.srt"])
def test_a_folder_is_no_output_whatever_is_overwritten(tmp_path, name):
    (tmp_path / "t.txt").mkdir()
    (tmp_path / "x.srt").mkdir()
    sources = [Source(name="a/x.wav", audio=tmp_path)]
    with pytest.raises(AsrLabError) as refused:
        check_out(tmp_path / name, sources, resume=False, overwrite=True)
    assert "overwrite" not in refused.value.allowed


def test_names_of_recordings_are_no_folders(tmp_path):
    with pytest.raises(AsrLabError):
        check_out(tmp_path / "{}" / "t.txt", [Source(name="a.wav", audio=tmp_path)], resume=False, overwrite=False)


def test_standard_input_is_one_file():
    with pytest.raises(AsrLabError):
        find_sources([Path("-"), Path("-")], io.BytesIO(b"x"))


def test_a_journal_that_found_no_room_is_begun_again(tmp_path):
    settings = {"model": "models:/a/1"}
    (tmp_path / ".x.jsonl.journal").write_bytes(b"")
    journal = TranscriptJournal(tmp_path / "x.jsonl")
    journal.begin(settings, resume=True)
    (source,) = find_sources(["-"], io.BytesIO(b"one"))
    journal.add(source, {"text": "a"})
    again = TranscriptJournal(tmp_path / "x.jsonl")
    again.begin(settings, resume=True)
    assert again.is_done(source)


@pytest.mark.parametrize("line", ['{"name": "-"}', '{"name": "-", "row": 7}', '{"name": "-", "row": null}', "[]"])
def test_a_line_of_a_journal_that_is_no_result_is_none(journal, line):
    (source,) = find_sources(["-"], io.BytesIO(b"one"))
    with journal.path.open("a") as file:
        file.write(f"{line}\n")
    journal.begin({}, resume=True)
    assert not journal.is_done(source)
    assert list(journal.rows([source])) == []
