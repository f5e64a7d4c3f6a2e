"""Audio whose name and bytes disagree, and audio without a header."""

import io

import numpy as np
import pytest
import soundfile
from conftest import ok, refused

from asr_lab.data import manifest
from asr_lab.data.audio import Pcm, headerless, probe, read_audio, read_file
from asr_lab.data.containers import kind_of
from asr_lab.data.cut_audio import read_cut
from asr_lab.errors import AsrLabError

WAVE = 0.3 * np.sin(np.arange(16000) / 16000 * 2 * np.pi * 440).astype(np.float32)


def raw(samples, width=16):
    """Samples in [-1, 1] as little-endian integers, unsigned for 8 bits."""
    if width == 8:
        return np.round(samples * 127 + 128).astype("u1").tobytes()
    whole = np.round(samples * (2 ** (width - 1) - 1)).astype("<i4")
    return whole.view("u1").reshape(-1, 4)[:, : width // 8].tobytes() if width < 32 else whole.tobytes()


def encoded(format, subtype=None, rate=16000):
    file = io.BytesIO()
    soundfile.write(file, WAVE, rate, format=format, subtype=subtype)
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.pcm", "a.raw", "a.PCM", "a.wav", "a"])
@pytest.mark.parametrize(
    ("format", "rate"), [("WAV", 8000), ("FLAC", 16000), ("OGG", 16000), ("MP3", 16000), ("AIFF", 16000), ("W64", 8000)]
)
def test_the_bytes_say_what_a_file_is_not_its_name(tmp_path, format, rate, name):
    (tmp_path / name).write_bytes(encoded(format, rate=rate))
    samples = read_file(tmp_path / name)
    assert probe(tmp_path / name).samplerate == rate
    assert abs(np.abs(samples).max() - 0.3) < 0.05
    assert abs(len(samples) - 16000 * 16000 / rate) < 3000


@pytest.mark.parametrize(("level", "bits"), [(0.0, 16), (1e-4, 16), (1.0, 16), (1.0, 8), (0.01, 32)])
def test_noise_of_any_level_names_no_kind(level, bits):
    rng = np.random.default_rng(1)
    for _ in range(200):
        assert kind_of(raw(np.clip(rng.normal(0, level, 4096), -1, 1), bits)) == ""
    assert kind_of(b"\xff\xfb" * 4096) == kind_of(b"\xff" * 8192) == kind_of(b"") == ""


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x89PNG" + b"\0" * 400, "an image"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n" * 9, "a Git LFS pointer"),
        ("안녕하세요 저는 글입니다\n".encode() * 20, "a text"),
        (b"PK\x03\x04" + b"\0" * 400, "a ZIP archive"),
    ],
)
def test_what_is_no_audio_is_not_read_as_noise(tmp_path, head, kind):
    (tmp_path / "a.pcm").write_bytes(head)
    with pytest.raises(AsrLabError, match="not an audio file") as caught:
        read_file(tmp_path / "a.pcm")
    assert kind in caught.value.hint


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.raw", "a.mp3"])
def test_headerless_audio_of_another_name_is_refused_with_the_way_round(tmp_path, name):
    (tmp_path / name).write_bytes(raw(WAVE))
    with pytest.raises(AsrLabError, match="not an audio file") as caught:
        read_file(tmp_path / name)
    assert "--pcm-rate" in caught.value.hint


@pytest.mark.parametrize("width", [8, 16, 24, 32])
@pytest.mark.parametrize("name", ["a.pcm", "a.wav"])
def test_headerless_audio_of_any_format_is_read_again_from_the_manifest(tmp_path, width, name):
    stereo = np.stack([WAVE, 0 * WAVE], axis=1).reshape(-1)
    (tmp_path / name).write_bytes(raw(stereo, width))
    with headerless(Pcm(8000, width, 2)):
        cut = manifest.utterance(id="a", audio=tmp_path / name, text="x", speaker="s")
    manifest.write([cut], tmp_path / "m.jsonl.gz")
    (again,) = manifest.read(tmp_path / "m.jsonl.gz")
    assert (again.duration, again.recording.sampling_rate, again.num_channels) == (2.0, 8000, 2)
    samples = read_cut(again)
    assert len(samples) == 32000
    assert abs(np.abs(samples).max() - 0.15) < 0.02


def test_bytes_without_a_name_have_no_way_round():
    with pytest.raises(AsrLabError, match="not an audio file") as caught:
        read_audio(io.BytesIO(raw(WAVE)), "upload")
    assert (caught.value.where, caught.value.hint) == ("upload", "")


def test_half_a_sample_is_reported(tmp_path):
    (tmp_path / "a.pcm").write_bytes(raw(WAVE)[:-1])
    with pytest.raises(AsrLabError, match="ends within a sample: 31999 bytes are 1 more"):
        read_file(tmp_path / "a.pcm")
    (tmp_path / "b.pcm").write_bytes(raw(WAVE))
    with headerless(Pcm(channels=3)), pytest.raises(AsrLabError, match="bytes are 2 more"):
        read_file(tmp_path / "b.pcm")


def test_the_format_is_an_option_of_the_import(tmp_path):
    (tmp_path / "a.pcm").write_bytes(raw(WAVE, 24))
    (tmp_path / "b.wav").write_bytes(encoded("WAV"))
    (tmp_path / "table.csv").write_text("audio,text,speaker\na.pcm,x,s\nb.wav,y,s\n")
    ok("data", "import", "csv", tmp_path / "table.csv", tmp_path / "out", "--pcm-rate", 8000, "--pcm-width", 24)
    durations = {cut.id: cut.duration for cut in manifest.read(tmp_path / "out" / "all.jsonl.gz")}
    assert durations == {"a": 2.0, "b": 1.0}
    ok("data", "check", tmp_path / "out" / "all.jsonl.gz")
    assert "12 bits" in refused("data", "import", "csv", tmp_path / "table.csv", tmp_path / "no", "--pcm-width", 12)
    assert not (tmp_path / "no").exists()


def test_headerless_files_are_transcribed_with_a_note(tmp_path):
    from asr_lab.serving.engine import Request, read_samples

    (tmp_path / "a.pcm").write_bytes(raw(WAVE))
    (tmp_path / "b.pcm").write_bytes(encoded("WAV", rate=8000))
    read = [read_samples(Request(audio=tmp_path / name)) for name in ("a.pcm", "b.pcm")]
    assert [note for _, note in read] == ["", "resampled from 8000 Hz"]
    for samples, _ in read:
        assert np.abs(samples).max() > 0.1
