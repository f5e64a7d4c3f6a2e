"""Data folders of Kaldi: segments, channels, and lines that match nothing."""

import numpy as np
import pytest
import soundfile
from imported import LONG_S, cuts_of, faults, kaldi, recordings

from asr_lab.data import manifest
from asr_lab.data.cut_audio import read_cut
from asr_lab.data.importers.import_report import ImportRefusedError
from asr_lab.data.importers.registry import import_corpus


@pytest.fixture
def folder(tmp_path):
    return recordings(tmp_path)


def test_the_segments_of_kaldi_are_cut(folder):
    first, second = cuts_of("kaldi", kaldi(folder))
    assert [(cut.start, round(cut.end, 6)) for cut in (first, second)] == [(0.5, 1.7), (3.0, LONG_S)]
    assert [manifest.field(first, name) for name in ("text", "speaker", "gender")] == ["hello there", "ann", "female"]


def test_the_side_of_a_recording_of_kaldi_is_its_channel(folder):
    kaldi(
        folder,
        wav_scp="r-A stereo.wav\nr-B stereo.wav\nr-C a.wav\n",
        segments="u1 r-A 0.5 1\nu2 r-B 0.5 1\nu3 r-C 0.1 1\n",
        text="u1 hello there\nu2 the rest\nu3 alone\n",
        utt2spk="u1 ann\nu2 bob\nu3 ann\n",
        reco2file_and_channel="r-A st A\nr-B st B\nr-C a B\n",
    )
    samples, _ = soundfile.read(folder / "stereo.wav", dtype="float32")
    first, second, third = cuts_of("kaldi", folder)
    assert np.allclose(read_cut(first), samples[8000:16000, 0])
    assert np.allclose(read_cut(second), samples[8000:16000, 1])
    assert third.channel == 0


def test_files_of_kaldi_that_match_nothing_are_refused_and_unmatched_lines_counted(folder):
    kaldi(folder, spk2gender="ann f\ncho f\n", utt2spk="u1 ann\nu2 bob\nu3 cho\n")
    result = import_corpus("kaldi", folder, folder / "out")
    assert [note for note in result.report.notes if "spk2gender" in note or "utt2spk" in note] == [
        "1 of 3 lines in utt2spk are of no utterance, and not used",
        "1 of 2 speakers have no lines in spk2gender",
        "1 of 2 lines in spk2gender are of no speaker, and not used",
    ]
    kaldi(folder, spk2gender="ANN f\nBOB m\n")
    with pytest.raises(ImportRefusedError) as error:
        import_corpus("kaldi", folder, folder / "out")
    assert [fault.item for fault in error.value.report.faults] == ["spk2gender"]
    skipped = import_corpus("kaldi", folder, folder / "out", {"skip_faulty": True})
    assert "2 utterances read, 2 imported, 0 left out" in skipped.summary


def test_lines_of_kaldi_that_are_faulty_are_reported_and_can_be_left_out(folder):
    texts = "u1 hello there\nu2 late\nu3 piped\nu4 unknown\n"
    kaldi(
        folder,
        text=texts,
        wav_scp="rec1 long.wav\nrec2 sox a.sph -t wav - |\n",
        utt2spk="u1 ann\nu2 bob\nu3 ann\n",
        segments="u1 rec1 0.5 1.7\nu2 rec1 5 9\nu3 rec2 0 1\n",
    )
    assert sorted(faults("kaldi", folder)) == [
        (2, "the piece is not inside the file"), (3, "wav.scp has a command"), (4, "it is not in utt2spk")
    ]  # fmt: skip
    assert [cut.id for cut in cuts_of("kaldi", folder, skip_faulty=True)] == ["u1"]
