"""Audio that needs a decoder: PyAV, ffmpeg, or neither."""

import importlib.util

import corpora
import pytest
from imported import faults, read

from asr_lab.data.cut_audio import read_cut
from asr_lab.data.importers.import_report import ImportRefusedError

needs_pyav = pytest.mark.skipif(not importlib.util.find_spec("av"), reason="PyAV is not there (the extra media)")


def encode(path, codec, rate):
    import av
    import soxr

    signal = soxr.resample(corpora.samples(2.0), corpora.RATE, rate)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray((signal * 32767).astype("<i2").reshape(1, -1), format="s16", layout="mono")
        frame.rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            container.mux(packet)


@needs_pyav
@pytest.mark.parametrize(
    ("name", "codec", "rate"),
    [("a.m4a", "aac", 16000), ("a.aac", "aac", 16000), ("a.mp4", "aac", 44100), ("a.webm", "libopus", 48000)],
)
def test_audio_that_needs_a_decoder_becomes_flac(tmp_path, name, codec, rate):
    encode(tmp_path / name, codec, rate)
    source = corpora.text(tmp_path / "t.csv", f"audio,text,speaker,start,end\n{name},가,x,0.5,1.5\n")
    result = read("csv", source)
    (cut,) = result.splits["all"]
    assert (cut.recording.sampling_rate, cut.duration) == (rate, 1.0)
    assert cut.recording.sources[0].source == str(tmp_path / "out" / "audio" / f"{name}.flac")
    assert len(read_cut(cut)) == 16000
    assert any("decoded to FLAC" in note for note in result.report.notes)


@needs_pyav
def test_media_that_are_cut_off_are_refused(tmp_path):
    encode(tmp_path / "a.webm", "libopus", 48000)
    (tmp_path / "a.webm").write_bytes((tmp_path / "a.webm").read_bytes()[:9000])
    source = corpora.text(tmp_path / "t.csv", "audio,text,speaker\na.webm,가,x\n")
    assert faults("csv", source) == [(2, "the audio cannot be decoded")]


FFMPEG = """#!/bin/sh
echo "  Duration: 00:00:{seconds}, start: 0.000000" >&2
for last; do :; done
cp {file} "${{last#file:}}"
"""


@pytest.mark.parametrize(("seconds", "is_whole"), [("00.60", True), ("09.00", False)])
def test_ffmpeg_decodes_where_pyav_is_not_there(tmp_path, monkeypatch, seconds, is_whole):
    """A stand-in for ffmpeg: it says how long the input is, and writes a FLAC of 0.6 s."""
    script = corpora.text(tmp_path / "bin" / "ffmpeg", FFMPEG.format(seconds=seconds, file=tmp_path / "done.flac"))
    script.chmod(0o755)
    corpora.sound(tmp_path / "done.flac", 0.6)
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A isom" + b"\0" * 400)
    source = corpora.text(tmp_path / "t.csv", "audio,text,speaker\na.m4a,가,x\n")
    monkeypatch.setattr("asr_lab.data.media.find_spec", lambda name: None)
    monkeypatch.setenv("PATH", str(script.parent), prepend=":")
    if is_whole:
        (cut,) = read("csv", source).splits["all"]
        assert cut.recording.sources[0].source == str(tmp_path / "out" / "audio" / "a.m4a.flac")
    else:
        assert faults("csv", source) == [(2, "the audio cannot be decoded")]


def test_without_a_decoder_both_ways_are_named(tmp_path, monkeypatch):
    (tmp_path / "a.m4a").write_bytes(b"\0\0\0\x20ftypM4A isom" + b"\0" * 400)
    source = corpora.text(tmp_path / "t.csv", "audio,text,speaker\na.m4a,가,x\n")
    monkeypatch.setattr("asr_lab.data.media.find_spec", lambda name: None)
    monkeypatch.setattr("asr_lab.data.media.shutil.which", lambda name: None)
    with pytest.raises(ImportRefusedError) as error:
        read("csv", source)
    (fault,) = error.value.report.faults
    assert (fault.line, "PyAV" in fault.allowed, "ffmpeg" in fault.allowed) == (2, True, True)
    assert not (tmp_path / "out").exists()
