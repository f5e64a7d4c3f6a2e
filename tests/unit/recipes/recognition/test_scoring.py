"""Audio in pages: what does not fit is counted, of a manifest's table too."""

import numpy as np
import pytest
import soundfile

from asr_lab.data import manifest
from asr_lab.recipes.pronunciation.evaluate import of_ids
from asr_lab.recipes.recognition import scoring
from asr_lab.recipes.splits import Split


@pytest.mark.parametrize(("most", "embedded"), [(50_000_000, ["b", "c"]), (0, [])])
def test_audio_that_does_not_fit_is_counted(tmp_path, monkeypatch, most, embedded):
    soundfile.write(tmp_path / "a.wav", np.zeros(8000, np.float32), 16000)
    cuts = [manifest.utterance(id=id, audio=tmp_path / "a.wav", text="a", speaker="s") for id in "abc"]
    manifest.write(cuts, tmp_path / "test.jsonl.gz")
    split = Split.read("test", str(tmp_path / "test.jsonl.gz"))
    monkeypatch.setattr(scoring, "_MOST_AUDIO", most)
    audio, note = scoring.embedded(of_ids(split.cuts, {"b", "c"}))
    assert list(audio) == embedded
    assert ("2 utterances" in note) == (not embedded)
