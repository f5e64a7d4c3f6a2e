"""Filtering of training utterances, and disjoint splits."""

import pytest
from conftest import make_corpus
from lhotse import CutSet

from asr_lab.data import manifest
from asr_lab.data.filtering import Limits, filter_transcribed
from asr_lab.data.splits import groups, hold_out, hold_out_share, split_by
from asr_lab.data.text import TextNormalizer, build_vocabulary
from asr_lab.errors import AsrLabError
from asr_lab.units import frames_needed

NORMALIZE = TextNormalizer()


def screened(cuts, vocabulary, longest=20.0):
    return filter_transcribed(
        cuts,
        NORMALIZE.all,
        vocabulary,
        Limits(output_frames=lambda samples: samples // 320, max_duration_s=longest),
    )


def test_blanks_between_equal_neighbours_are_counted():
    assert frames_needed([1, 2, 3]) == 3
    assert frames_needed([1, 1, 2, 2]) == 6


def test_labels_longer_than_frames_are_named_dropped_and_counted(corpus):
    cuts = list(manifest.read(corpus))
    cuts[3].supervisions[0].text = "abcdefg" * 30
    found = screened(CutSet.from_cuts(cuts), build_vocabulary(["abcdefg"]))
    assert found.more_labels_than_frames == ["u03"]
    assert "u03" not in {cut.id for cut in found.cuts}
    assert "1 utterance has more labels than frames, left out: u03" in found.warnings("train")[0]


def test_long_utterances_are_left_out(corpus):
    cuts = manifest.read(corpus)
    longest = max(cuts, key=lambda cut: cut.duration)
    assert longest.id in screened(cuts, build_vocabulary(["abcdefg"]), longest.duration - 0.01).too_long


def test_unknown_characters_are_counted_and_listed(corpus):
    warnings = screened(manifest.read(corpus), build_vocabulary(["abcdef"])).warnings("val")
    assert any("characters outside the vocabulary: 'g' x" in line for line in warnings)


def test_nothing_left_is_an_error(corpus):
    with pytest.raises(AsrLabError, match="no utterance is usable for training"):
        screened(manifest.read(corpus), build_vocabulary(["a"]), 0.01)


@pytest.fixture
def speakers(tmp_path):
    rows = []
    for number in range(7):
        path = make_corpus(
            tmp_path / str(number), {f"s{number}-{i}": "cab dad" for i in range(4)}, speaker=f"s{number}"
        )
        rows += list(manifest.read(path))
    return CutSet.from_cuts(rows)


def test_splits_share_no_speaker_and_lose_nothing(speakers):
    parts = split_by(speakers, {"train": 0.6, "val": 0.2, "test": 0.2})
    names = {split: set(groups(cuts, "speaker")) for split, cuts in parts.items()}
    assert not names["train"] & names["val"]
    assert not names["train"] & names["test"]
    assert not names["val"] & names["test"]
    assert sum(map(len, parts.values())) == len(speakers)
    assert len(names["train"]) > len(names["val"])


def test_splitting_is_repeatable_and_follows_the_seed(speakers):
    def ids(seed):
        return {
            name: [c.id for c in cuts] for name, cuts in split_by(speakers, {"a": 0.5, "b": 0.5}, seed=seed).items()
        }

    assert ids(0) == ids(0)
    assert any(ids(0) != ids(seed) for seed in range(1, 6))


def test_too_few_speakers_is_an_error(speakers):
    one = CutSet.from_cuts(groups(speakers, "speaker")["s1"])
    with pytest.raises(AsrLabError, match="cannot be split into 2 parts"):
        split_by(one, {"train": 0.9, "val": 0.1})


def test_hold_out(speakers):
    rest, held = hold_out(speakers, "speaker", ["s3"])
    assert set(groups(held, "speaker")) == {"s3"}
    assert "s3" not in groups(rest, "speaker")
    with pytest.raises(AsrLabError, match="s0, s1"):
        hold_out(speakers, "speaker", ["nobody"])


def test_hold_out_share_keeps_one_on_each_side(speakers):
    few = CutSet.from_cuts(list(speakers)[:2])
    rest, held = hold_out_share(few, 0.99)
    assert len(rest) == len(held) == 1


def test_a_field_nobody_has_is_named(speakers):
    with pytest.raises(AsrLabError, match="no field 'block'"):
        groups(speakers, "block")
