"""What a later call takes for done: results of audio, segments and references that are as they were."""

import io
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
