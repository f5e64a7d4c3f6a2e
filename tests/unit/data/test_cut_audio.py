"""The audio of utterances: segments, channels, rates."""

import numpy as np
import pytest
import soundfile
from corpora import sound
from lhotse import MonoCut

from asr_lab.data import manifest
from asr_lab.data.audio import read_file
from asr_lab.data.cut_audio import read_cut
from asr_lab.errors import AsrLabError


def test_audio_cut_off_after_import_is_named_when_read(corpus):
    cut = manifest.read(corpus)[0]
    source = corpus.parent / "audio" / f"{cut.id}.wav"
    source.write_bytes(source.read_bytes()[:5000])
    with pytest.raises(AsrLabError, match="cut off"):
        read_cut(cut)


@pytest.mark.parametrize(("rate", "channels"), [(8000, 1), (44100, 1), (16000, 2), (48000, 2)])
def test_other_rates_are_resampled_and_channels_mixed(tmp_path, rate, channels):
    audio = sound(tmp_path / "a.wav", 1.0, rate=rate, channels=channels)
    cut = manifest.utterance(id="a", audio=audio, text="x", speaker="s")
    manifest.write([cut], tmp_path / "m.jsonl.gz")
    samples = read_cut(manifest.read(tmp_path / "m.jsonl.gz")[0])
    assert samples.ndim == 1
    assert samples.dtype == np.float32
    assert abs(len(samples) - 16000) <= 2


def test_a_piece_of_a_recording(tmp_path):
    audio = sound(tmp_path / "a.wav", 2.0)
    cut = manifest.utterance(id="a", audio=audio, text="x", speaker="s").truncate(offset=0.5, duration=1.0)
    assert np.array_equal(read_cut(cut), read_file(audio)[8000:24000])


def test_one_channel_of_a_stereo_recording_is_read_alone(tmp_path):
    left, right = np.full(4000, 0.5), np.full(4000, 0.25)
    soundfile.write(tmp_path / "a.wav", np.stack([left, right], axis=1), 16000, subtype="FLOAT")
    both = manifest.utterance(id="a", audio=tmp_path / "a.wav", text="x", speaker="s")
    one = MonoCut(
        id="a", start=0, duration=both.duration, channel=1, supervisions=both.supervisions, recording=both.recording
    )
    manifest.write([one], tmp_path / "m.jsonl.gz")
    assert np.allclose(read_cut(manifest.read(tmp_path / "m.jsonl.gz")[0]), 0.25)
    assert np.allclose(read_cut(both), 0.375)
    assert manifest.digest([one]) != manifest.digest([both])
