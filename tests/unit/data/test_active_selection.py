"""Active selection within a budget."""

import pytest
from conftest import make_corpus

from asr_lab.data import manifest
from asr_lab.data.active_selection import Budget, cap_warning, exclude_used, select_hardest
from asr_lab.errors import AsrLabError


@pytest.fixture
def cuts(tmp_path):
    """Twenty utterances of like duration of four speakers."""
    rows = []
    for speaker in "abcd":
        texts = {f"{speaker}{i}": "cab" for i in range(5)}
        rows += list(manifest.read(make_corpus(tmp_path / speaker, texts, speaker=speaker)))
    manifest.write(rows, tmp_path / "all.jsonl.gz")
    return manifest.read(tmp_path / "all.jsonl.gz")


def test_the_worst_come_first(cuts):
    difficulty = {cut.id: place / 20 for place, cut in enumerate(cuts)}
    chosen = select_hardest(cuts, difficulty, Budget(share=0.25, speaker_share=1))
    assert [cut.id for cut in chosen] == ["d4", "d3", "d2", "d1", "d0"]


def test_no_speaker_fills_more_than_his_part(cuts):
    difficulty = {cut.id: float(cut.id.startswith("a")) for cut in cuts}  # a is the worst by far
    chosen = [cut.id for cut in select_hardest(cuts, difficulty, Budget(share=0.5, speaker_share=0.3))]
    assert len(chosen) == 10
    assert [id for id in chosen if id.startswith("a")] == ["a0", "a1", "a2"]


def test_what_the_cap_on_a_speaker_cost_is_reported(cuts):
    difficulty = {cut.id: float(cut.id.startswith("a")) for cut in cuts}
    seconds = sum(cut.duration for cut in cuts)

    def warning(budget):
        return cap_warning(cuts, select_hardest(cuts, difficulty, budget), budget)

    capped = Budget(share=0.5, speaker_share=0.1)  # one of each of four speakers, of ten utterances asked for
    message = warning(capped)
    assert all(part in message for part in (f"{0.2 * seconds:.1f} s", f"{0.5 * seconds:.1f} s", "10%"))
    assert warning(Budget(share=0.5, speaker_share=0.3)) == ""
    assert warning(Budget(share=0.001)) == ""


def test_one_is_taken_of_the_smallest_budget(cuts):
    assert len(select_hardest(cuts, {cut.id: 0.0 for cut in cuts}, Budget(share=0.001))) == 1


@pytest.mark.parametrize("shares", [{"share": 0}, {"share": 1.5}, {"speaker_share": 0}])
def test_shares_are_shares_before_anything_is_transcribed(shares):
    with pytest.raises(AsrLabError, match="above 0"):
        Budget(**shares)


def test_what_was_used_is_left_out(cuts):
    some = cuts.filter(lambda cut: cut.id[0] in "ab").to_eager()
    assert {cut.id[0] for cut in exclude_used(cuts, [some])} == {"c", "d"}
    with pytest.raises(AsrLabError, match="used already"):
        exclude_used(some, [cuts])
