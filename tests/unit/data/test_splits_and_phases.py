"""Stratified splits of whole speakers, and nested phases."""

import re

import numpy as np
import pytest
from conftest import make_corpus, ok, refused, run
from lhotse import CutSet, MonoCut, Recording, SupervisionSegment

from asr_lab.data import manifest
from asr_lab.data.curriculum import Hard, check_disjoint, check_nested, phases, spread, with_hard_share
from asr_lab.data.split_statistics import distributions, largest_gap, shared, sizes
from asr_lab.data.splits import groups, split_by
from asr_lab.data.stratified_splits import labels, present, stratified_split
from asr_lab.errors import AsrLabError

SHARES = {"train": 0.8, "val": 0.1, "test": 0.1}
FIELDS = ("age", "snr_db", "duration_s")


def made_up(speakers=120, each=10, seed=0) -> CutSet:
    """Children of 4 to 14; the young ones speak shorter, and some of them in noise. No audio."""
    draw = np.random.default_rng(seed)
    cuts = []
    for number in range(speakers):
        age, noisy = int(draw.integers(4, 15)), draw.random() < 0.3
        for place in range(each + int(draw.integers(-5, 6))):
            id = f"c{number:03d}-{place:02d}"
            seconds = float(np.clip(draw.gamma(4, 0.5 + age / 16), 0.5, 18))
            custom = {"age": age, "snr_db": float(draw.normal(8 if noisy else 20, 4)), "audio_digest": id}
            segment = SupervisionSegment(
                id=id, recording_id=id, start=0, duration=seconds, text="x", speaker=f"c{number:03d}", custom=custom
            )
            recording = Recording(id=id, sources=[], sampling_rate=16000, num_samples=1, duration=seconds)
            cuts.append(
                MonoCut(id=id, start=0, duration=seconds, channel=0, supervisions=[segment], recording=recording)
            )
    return CutSet.from_cuts(cuts)


CUTS = made_up()


def test_stratified_splits_share_nobody_and_are_alike():
    plain, alike = split_by(CUTS, SHARES), stratified_split(CUTS, SHARES)
    check_disjoint(alike)
    assert shared(alike)[["speakers_in_both", "utterances_in_both"]].to_numpy().sum() == 0
    assert sum(map(len, alike.values())) == len(CUTS)
    gap = {name: largest_gap(distributions(parts, FIELDS)) for name, parts in (("plain", plain), ("alike", alike))}
    assert gap["alike"] < 0.06 < 0.15 < gap["plain"]
    found = sizes(alike, Hard()).set_index("part")
    assert found.loc["train", "share"] == pytest.approx(0.8, abs=0.02)
    assert found.loc["val", "share"] == pytest.approx(0.1, abs=0.02)
    assert found["hard_share"].max() - found["hard_share"].min() < 0.06


def test_stratifying_is_repeatable_and_follows_the_seed():
    def names(seed):
        return {
            name: sorted(groups(cuts, "speaker")) for name, cuts in stratified_split(CUTS, SHARES, seed=seed).items()
        }

    assert names(0) == names(0)
    assert names(0) != names(1)


def test_every_split_keeps_somebody():
    few = made_up(speakers=3)
    assert [len(groups(cuts, "speaker")) for cuts in stratified_split(few, SHARES).values()] == [1, 1, 1]


def test_a_field_to_stratify_by_that_nobody_has():
    assert present(CUTS, ["age", "duration"]) == ["age", "duration_s"]
    with pytest.raises(AsrLabError, match="did you mean 'snr_db'") as failed:
        present(CUTS, ["snr"])
    assert "no utterance has the field 'snr'" in str(failed.value)


def test_phases_are_nested_and_each_has_the_whole_in_small():
    found = phases(CUTS, (0.2, 0.6, 1.0))
    check_nested(found)
    hours = {name: sum(cut.duration for cut in cuts) for name, cuts in found.items()}
    assert hours["phase1"] / hours["phase3"] == pytest.approx(0.2, abs=0.002)
    assert hours["phase2"] / hours["phase3"] == pytest.approx(0.6, abs=0.002)
    assert len(found["phase3"]) == len(CUTS)
    assert largest_gap(distributions(found, FIELDS)) < 0.02
    assert len(groups(found["phase1"], "speaker")) >= 100  # of 120: nearly everybody is heard from the start
    drawn = {f"draw{seed}": CUTS.sample(len(found["phase1"])) for seed in range(3)} | {"whole": CUTS}
    assert largest_gap(distributions(drawn, FIELDS)) > largest_gap(distributions(found, FIELDS))


def test_phases_are_in_the_order_of_the_manifest_and_repeat():
    ids = [cut.id for cut in CUTS]
    one, again, other = (list(phases(CUTS, (0.3, 1.0), seed=seed)["phase1"].ids) for seed in (0, 0, 1))
    assert one == again != other
    assert one == sorted(one, key=ids.index)


def test_file_order_takes_the_first_files():
    found = phases(CUTS, (0.2, 0.6), order="file")
    ids = [cut.id for cut in CUTS]
    assert list(found["phase1"].ids) == ids[: round(0.2 * len(ids))]
    assert list(found["phase2"].ids) == ids[: round(0.6 * len(ids))]
    with pytest.raises(AsrLabError, match="no effect in file order"):
        phases(CUTS, (0.2,), order="file", hard_share=0.25)


def test_a_share_of_each_phase_is_hard_as_far_as_there_is_as_much():
    hard = Hard(below_snr_db=8)
    whole = sizes({"all": CUTS}, hard)["hard_share"][0]
    assert 0.1 < whole < 0.25
    found = phases(CUTS, (0.2, 0.5, 1.0), hard_share=0.25, hard=hard)
    check_nested(found)
    shares = sizes(found, hard).set_index("part")
    assert shares.loc["phase1", "hard_share"] == pytest.approx(0.25, abs=0.01)
    assert shares.loc["phase2", "hard_share"] == pytest.approx(0.25, abs=0.01)
    assert shares.loc["phase3", "hard_share"] == pytest.approx(whole)
    assert len(found["phase3"]) == len(CUTS)


@pytest.mark.parametrize("share", [0.1, 0.25, 0.6])
def test_a_part_with_a_share_of_hard_utterances(share):
    part = with_hard_share(CUTS, share)
    assert sizes({"part": part}, Hard())["hard_share"][0] == pytest.approx(share, abs=0.01)
    assert len(part) < len(CUTS)


def test_a_share_of_hard_utterances_that_cannot_be():
    with pytest.raises(AsrLabError, match=r"0 of \d+ utterances are hard"):
        with_hard_share(CUTS, 0.25, Hard(below_snr_db=-90, from_duration_s=100))


def test_hard_is_noisy_or_long_and_an_unknown_snr_is_not_noisy():
    cuts = made_up(speakers=9)
    noisy, long = next(c for c in cuts if manifest.field(c, "snr_db") < 5), max(cuts, key=lambda c: c.duration)
    assert Hard()(noisy)
    assert Hard(from_duration_s=5)(long)
    segment = manifest.supervision(noisy)
    segment.custom = {"audio_digest": ""}
    assert not Hard(from_duration_s=100)(noisy)


@pytest.mark.parametrize("shares", [(), (0.6, 0.2), (0.2, 0.2), (0.0, 1.0), (0.5, 1.5)])
def test_shares_that_make_no_phases(shares):
    with pytest.raises(AsrLabError, match="make no nested phases"):
        phases(CUTS, shares)


def test_a_phase_without_an_utterance_of_its_own():
    with pytest.raises(AsrLabError, match="phase 1 of 2 would have no utterance"):
        phases(CutSet.from_cuts(list(CUTS)[:3]), (0.01, 1.0))


def test_overlapping_splits_name_pair_and_speakers():
    parts = stratified_split(CUTS, SHARES)
    stray = next(iter(parts["train"]))
    parts["test"] = CutSet.from_cuts([*parts["test"], stray])
    with pytest.raises(AsrLabError, match="train and test share 1: ") as failed:
        check_disjoint(parts)
    assert manifest.supervision(stray).speaker in str(failed.value)
    assert "asr-lab data split" in str(failed.value)


def test_phases_that_are_not_nested_name_what_is_missing():
    found = phases(CUTS, (0.2, 0.6))
    lost = next(iter(found["phase1"]))
    found["phase2"] = found["phase2"].filter(lambda cut: cut.id != lost.id)
    with pytest.raises(AsrLabError, match="phase2 lacks 1 of the") as failed:
        check_nested(found)
    assert lost.id in str(failed.value)
    assert "asr-lab data phases" in str(failed.value)


def test_any_beginning_has_its_share_of_each_bin():
    rows = spread(CUTS)
    ages = labels(rows, ["age"])["age"]
    for share in (0.1, 0.37, 0.8):
        taken = ages[: round(share * len(rows))].value_counts()
        for label, count in ages.value_counts().items():
            assert taken[label] == pytest.approx(share * count, abs=3)


# --- as a user runs it ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def children(tmp_path_factory):
    """A manifest of 24 children of 5 to 10, every third in noise."""
    folder = tmp_path_factory.mktemp("children")
    rows = []
    for number in range(24):
        texts = {f"c{number:02d}-{place}": "cab dad" if place % 2 else "cab dad bed fad egg beef" for place in range(4)}
        custom = {"age": 5 + number % 6, "snr_db": 4.0 if number % 3 == 0 else 22.0}
        rows += manifest.read(make_corpus(folder / f"{number:02d}", texts, speaker=f"c{number:02d}", **custom))
    manifest.write(rows, folder / "all.jsonl.gz")
    return folder


@pytest.mark.slow
def test_split_command_proves_what_it_did(children, tmp_path):
    said = ok("data", "split", children / "all.jsonl.gz", tmp_path / "out", "--val", "0.25", "--test", "0.25")
    assert "0 speakers are in two splits, of 24" in said
    assert "below 5" in said  # the distributions, side by side
    page = (tmp_path / "out" / "split.html").read_text()
    assert "0 speakers are in two splits, of 24" in page
    assert "data:image/png;base64," in page
    assert "http" not in page  # loads nothing
    assert (tmp_path / "out" / "split.png").read_bytes()[:4] == b"\x89PNG"
    parts = {name: manifest.read(tmp_path / "out" / f"{name}.jsonl.gz") for name in ("train", "val", "test")}
    check_disjoint(parts)
    assert largest_gap(distributions(parts, FIELDS)) < 0.2
    plain = ok("data", "split", children / "all.jsonl.gz", tmp_path / "plain", "--stratify", "none")
    assert "0 speakers are in two splits" in plain


def test_the_report_of_a_split_has_the_fields_it_was_stratified_by(tmp_path):
    source = make_corpus(tmp_path / "in", {"a": "cab", "b": "dad", "c": "egg"}, 지역="제주")
    said = ok(
        "data", "split", source, tmp_path / "out", "--by", "text", "--stratify", "지역", "--val", "0.3", "--test", "0.3"
    )
    for text in (said, (tmp_path / "out" / "split.html").read_text(encoding="utf-8")):
        assert {"지역", "제주", "duration"} <= set(re.findall(r"지역|제주|duration", text))


@pytest.mark.slow
def test_split_with_a_share_of_hard_utterances(children, tmp_path):
    arguments = ("data", "split", children / "all.jsonl.gz", tmp_path, "--val", "0.25", "--test", "0")
    said = ok(*arguments, "--hard-share", "0.25")
    assert "hard (SNR below 10 dB or 10 s and longer): train 25" in said
    kept = sum(len(manifest.read(tmp_path / f"{name}.jsonl.gz")) for name in ("train", "val"))
    assert kept < 96
    cost = f"--hard-share left out {96 - kept} of 96 utterances, "
    assert cost in said
    assert cost in (tmp_path / "split.html").read_text()
    said = refused(*arguments, "--hard-share", "0.25", "--hard-snr", "1", "--overwrite")
    assert "0 of 72 utterances of train are hard" in said
    assert "another --hard-snr" in said
    assert "data snr" not in said  # every SNR is known


def test_where_nobody_knows_the_noise_a_share_of_hard_ones_wants_it_measured():
    quiet = [cut for cut in made_up(speakers=9) if cut.duration < 5]
    for cut in quiet:
        del manifest.supervision(cut).custom["snr_db"]
    with pytest.raises(AsrLabError, match=r"utterances of val are hard[\s\S]*asr-lab data snr"):
        with_hard_share(CutSet.from_cuts(quiet), 0.25, name="val")


def there(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*.gz")}


@pytest.mark.slow
def test_a_split_removes_what_an_earlier_one_left_and_nothing_else(children, tmp_path):
    """The former test speaker is now in training: the old test set would leak."""
    arguments = ("data", "split", children / "all.jsonl.gz", tmp_path)
    ok(*arguments, "--folds", "2")
    ok(*arguments, "--hold-out", "age=5", "--overwrite")
    train, val, test, held = (f"{name}.jsonl.gz" for name in ("train", "val", "test", "held-out"))
    assert there(tmp_path) == {train, val, test, held}
    assert not (tmp_path / "fold1").exists()
    others = {"all.jsonl.gz", "phase1.jsonl.gz", "fold1-old/test.jsonl.gz", "fold9/notes.gz", "test.old.jsonl.gz"}
    for name in others:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"mine")
    (tmp_path / "split.html").unlink()
    (tmp_path / "split.png").unlink()
    (tmp_path / train).unlink()
    (tmp_path / val).unlink()
    again = (*arguments, "--test", "0", "--val", "0.2", "--seed", "3")
    assert f"{tmp_path / test}, {tmp_path / held} of an earlier call would be removed" in refused(*again)
    assert test in there(tmp_path)
    said = ok(*again, "--overwrite")
    assert f"removed {tmp_path / test}" in said
    assert there(tmp_path) == {train, val, *others}


def test_the_page_of_a_split_shows_what_was_held_out(children, tmp_path):
    assert "held-out_share" not in ok("data", "split", children / "all.jsonl.gz", tmp_path, "--hold-out", "age=5")
    page = (tmp_path / "split.html").read_text()
    assert "<summary>held-out: 4</summary>" in page  # its speakers
    assert "train and held-out" in page


def test_phases_remove_earlier_ones_and_keep_what_was_selected(children, tmp_path):
    arguments = ("data", "phases", children / "all.jsonl.gz", tmp_path)
    ok(*arguments)
    for name in ("phase4.jsonl.gz", "phase4.csv", "phase2.old.jsonl.gz", "test.jsonl.gz"):
        (tmp_path / name).write_bytes(b"mine")
    assert f"removed {tmp_path / 'phase3.jsonl.gz'}" in ok(*arguments, "--shares", "0.3,0.7", "--overwrite")
    kept = {f"{name}.jsonl.gz" for name in ("phase1", "phase2", "phase4", "phase2.old", "test")}
    assert there(tmp_path) == kept


def test_what_is_split_is_never_removed(children, tmp_path):
    path = tmp_path / "test.jsonl.gz"
    manifest.write(manifest.read(children / "all.jsonl.gz"), path)
    before = path.read_bytes()
    said = refused("data", "split", path, tmp_path, "--test", "0", "--overwrite")
    assert "another folder" in said
    assert path.read_bytes() == before
    assert there(tmp_path) == {"test.jsonl.gz"}


@pytest.mark.parametrize(
    "what",
    [("--val", "nan"), ("--test", "nan"), ("--hard-share", "nan"), ("--hard-snr", "nan"), ("--hard-duration", "nan")],
)
def test_shares_that_are_not_numbers(children, tmp_path, what):
    done = run("data", "split", children / "all.jsonl.gz", tmp_path / "out", *what)
    assert done.exit_code == 2
    assert f"'{what[0]}'" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture
def two(tmp_path):
    """A manifest of two speakers."""
    folders = [make_corpus(tmp_path / who, {f"{who}{i}": "cab dad" for i in range(3)}, speaker=who, age=age)
               for who, age in (("ann", 7), ("bob", 12))]  # fmt: skip
    manifest.write([cut for folder in folders for cut in manifest.read(folder)], tmp_path / "all.jsonl.gz")
    return tmp_path / "all.jsonl.gz"


def test_what_two_speakers_allow_is_reported(two, tmp_path):
    out = tmp_path / "out"
    assert "hint: --test 0 or --val 0 or --by another field" in refused("data", "split", two, out)
    said = refused("data", "split", two, out, "--folds", "2")
    assert "is tested on," in said
    assert "alone is left to train and validate on" in said
    assert "hint: --val 0\n" in said
    said = refused("data", "split", two, out, "--hold-out", "speaker=ann,bob")
    assert "every utterance has speaker = ann, bob: nothing is left" in said
    assert not out.exists()
    ok("data", "split", two, out, "--folds", "2", "--val", "0")
    assert there(out) == {f"fold{n}/{name}.jsonl.gz" for n in (1, 2) for name in ("train", "test")}


def test_parts_that_are_not_alike_are_warned_of_by_bin_and_part(two, children, tmp_path):
    said = ok("data", "split", two, tmp_path / "out", "--test", "0", "--val", "0.5")
    assert "warning: the parts are not balanced: age " in said
    assert " is 100% of train and 0% of val" in said
    assert "warning: the parts are not balanced" in (tmp_path / "out" / "split.html").read_text()
    assert "warning" not in ok("data", "phases", children / "all.jsonl.gz", tmp_path / "phases")


def test_splitting_by_what_nobody_has_says_what_to_do(corpus, tmp_path):
    said = refused("data", "split", corpus, tmp_path / "out", "--stratify", "snr_db")
    assert "no utterance has the field 'snr_db'" in said
    assert "asr-lab data snr" in said
    assert not (tmp_path / "out").exists()


def test_phases_command(children, tmp_path):
    said = ok("data", "phases", children / "all.jsonl.gz", tmp_path)
    assert "nested: phase1 (" in said
    found = {name: manifest.read(tmp_path / f"{name}.jsonl.gz") for name in ("phase1", "phase2", "phase3")}
    check_nested(found)
    assert len(found["phase3"]) == 96
    assert "nested: phase1" in (tmp_path / "phases.html").read_text()
    assert "would be replaced" in refused("data", "phases", children / "all.jsonl.gz", tmp_path)
    ok("data", "phases", children / "all.jsonl.gz", tmp_path, "--order", "file", "--overwrite")
    first = [cut.id for cut in manifest.read(tmp_path / "phase1.jsonl.gz")]
    assert first == [cut.id for cut in manifest.read(children / "all.jsonl.gz")][:19]


def test_phases_that_cannot_be_are_one_message_and_nothing_is_written(children, tmp_path):
    out = tmp_path / "out"
    assert "make no nested phases" in refused("data", "phases", children / "all.jsonl.gz", out, "--shares", "0.6,0.2")
    assert "are not numbers" in refused("data", "phases", children / "all.jsonl.gz", out, "--shares", "a,b")
    both = ("--order", "file", "--stratify", "age")
    assert "no effect in file order" in refused("data", "phases", children / "all.jsonl.gz", out, *both)
    assert not out.exists()


@pytest.mark.slow
def test_check_of_given_splits_and_phases(children, tmp_path):
    ok("data", "split", children / "all.jsonl.gz", tmp_path)
    train, val = tmp_path / "train.jsonl.gz", tmp_path / "val.jsonl.gz"
    assert "no speaker is in two of 2 manifests" in ok("data", "check", train, val, "--disjoint", "speaker")
    said = refused("data", "check", train, children / "all.jsonl.gz", "--disjoint", "speaker")
    assert "the splits are not disjoint by speaker" in said
    assert "each of 2 manifests contains the previous one" in ok(
        "data", "check", train, children / "all.jsonl.gz", "--nested"
    )
    assert "the phases are not nested" in refused("data", "check", val, train, "--nested")


def test_check_by_a_field_nobody_has_names_the_nearest(children, tmp_path):
    ok("data", "split", children / "all.jsonl.gz", tmp_path)
    train, val = tmp_path / "train.jsonl.gz", tmp_path / "val.jsonl.gz"
    said = refused("data", "check", train, val, "--disjoint", "speker")
    assert "no utterance has the field 'speker'" in said
    assert "did you mean 'speaker'?" in said
    assert "did you mean 'speaker'?" in refused("data", "split", train, tmp_path / "out", "--by", "speker")
    assert "no utterance has the field 'gender'" in refused("data", "check", train, val, "--disjoint", "gender")


def test_utterances_without_the_field_are_counted_not_compared():
    parts = {name: list(made_up(speakers=3, seed=seed)) for seed, name in enumerate(("train", "val"))}
    for name, rows in parts.items():
        for cut in rows[1:]:
            manifest.supervision(cut).custom["school"] = name
    assert check_disjoint(parts, "school") == 2
    for cut in parts["val"]:
        del manifest.supervision(cut).custom["age"]
    with pytest.raises(AsrLabError, match=r"no utterance has the field 'age'[\s\S]*where: val"):
        check_disjoint(parts, "age")


@pytest.mark.parametrize("what", [("--nested",), ("--disjoint", "speaker")])
def test_one_manifest_cannot_be_compared(children, what):
    path = children / "all.jsonl.gz"
    assert "at least two manifests" in refused("data", "check", path, *what)
    assert "at least two manifests" in refused("data", "check", path, path, *what)
