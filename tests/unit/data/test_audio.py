"""Audio files: channels, and files that are refused."""

import numpy as np
import pytest
import soundfile
from corpora import sound

from asr_lab.data.audio import read_bytes, read_file
from asr_lab.errors import AsrLabError


def test_stereo_is_the_mean_of_its_channels(tmp_path):
    left, right = np.full(4000, 0.5), np.full(4000, -0.25)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    assert np.allclose(read_file(tmp_path / "a.wav"), 0.125)


def test_samples_that_are_not_numbers_are_refused(tmp_path):
    samples = np.zeros(4000, dtype=np.float32)
    samples[7] = np.nan
    soundfile.write(tmp_path / "a.wav", samples, 16000, subtype="FLOAT")
    with pytest.raises(AsrLabError, match="1 sample is not numbers"):
        read_file(tmp_path / "a.wav")


def test_headerless_audio_is_one_message(tmp_path):
    (tmp_path / "a.raw").write_bytes(b"\0" * 4000)
    with pytest.raises(AsrLabError, match="not an audio file"):
        read_file(tmp_path / "a.raw")


@pytest.mark.parametrize("size", [0x7FFFF024, 0x80000024, 0xFFFFFFFF])  # sox, arecord, ffmpeg
def test_a_wav_that_was_written_to_a_pipe_says_no_size(tmp_path, size):
    audio = sound(tmp_path / "a.wav")
    usual, content = read_file(audio), bytearray(audio.read_bytes())
    content[4:8] = size.to_bytes(4, "little")
    place = content.index(b"data") + 4
    content[place : place + 4] = (size - 36).to_bytes(4, "little")
    audio.write_bytes(content)
    assert np.array_equal(read_file(audio), usual)
    assert np.array_equal(read_bytes(bytes(content), "-"), usual)


def test_a_cut_off_file_is_not_transcribed(tmp_path):
    audio = sound(tmp_path / "a.wav")
    audio.write_bytes(audio.read_bytes()[:9000])
    with pytest.raises(AsrLabError, match="cut off"):
        read_file(audio)
