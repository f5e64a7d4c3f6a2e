"""Ages, genders and SNRs as corpora write them."""

import pytest
from conftest import ok
from imported import cuts_of, jsonl, recordings, table

from asr_lab.data import manifest
from asr_lab.data.importers.aihub.labels import value_of
from asr_lab.data.importers.registry import import_corpus
from asr_lab.data.importers.speaker_fields import age_of, gender_of, snr_of


def test_ages_genders_and_levels_as_they_are_written():
    assert age_of("만 7세") == age_of("7") == {"age": 7}
    assert age_of("10~19") == {"age_group": "10-19"}
    assert age_of("20대") == {"age_group": "20-29"}
    assert age_of("") == {}
    assert [gender_of(text) for text in ("남", "여성", "Female", "m", "?")] == ["male", "female", "female", "male", ""]
    assert snr_of("12.5 dB") == {"snr_db": 12.5}
    assert snr_of("high") == {}
    assert value_of({"화자정보.Age": "N/A", "나이": "9"}, "age") == "9"


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("7", 7),
        ("만 7세", 7),
        ("7살", 7),
        ("7.0", 7),
        ("6 years old", 6),
        ("6y", 6),
        ("72개월", 6),
        ("63 months", 5.25),
        ("6세 3개월", 6.25),
        ("7세(만 6세)", 6),
        ("만6세 (7세)", 6),
        ("７세", 7),
    ],
)
def test_ages_in_years(text, age):
    assert age_of(text) == {"age": age}


@pytest.mark.parametrize(
    "text",
    [
        "초등학교 2학년",
        "3학년",
        "초2",
        "2015",
        "2015년생",
        "-1",
        "0",
        "999",
        "7세(6세)",
        "만",
    ],
)
def test_what_is_no_age_in_years_is_kept_as_it_is(text):
    assert age_of(text) == {"age_range": text}


@pytest.mark.parametrize(
    ("text", "group"),
    [
        ("20대", "20-29"), ("20대 초반", "20-29"), ("twenties", "20-29"), ("Teens", "10-19"), ("20s", "20-29"),
        ("20's", "20-29"), ("20-29", "20-29"), ("만 20~29세", "20-29"), ("18 – 24 years", "18-24"),
        ("19 - 29", "19-29"),
        ("60세 이상", "60+"), ("60+", "60+"), ("over 60", "60+"), ("7세 미만", "0-6"), ("< 19", "0-18"),
        ("10~19", "10-19"), ("이십대", "20-29"), ("오십대 초반", "50-59"), ("mid-20s", "20-29"), ("20대-30대", "20-39"),
        ("20~30대", "20-39"),
    ],
)  # fmt: skip
def test_decades_and_ranges_are_age_groups(text, group):
    assert age_of(text) == {"age_group": group}


def test_ages_that_are_said_to_be_unknown_are_none():
    assert [age_of(text) for text in ("", "unknown", "N/A", "미상", "do_not_wish_to_say")] == [{}] * 5


def test_genders_and_levels():
    assert {gender_of(text) for text in ("female_feminine", "F", "woman", "여성")} == {"female"}
    assert {gender_of(text) for text in ("male_masculine", "m", "Man", "남")} == {"male"}
    assert {gender_of(text) for text in ("non-binary", "Other")} == {"other"}
    assert {gender_of(text) for text in ("여자아이", "여자 아이", "여학생", "Girl")} == {"female"}
    assert {gender_of(text) for text in ("남자아이", "남학생", "소년")} == {"male"}
    assert {gender_of(text) for text in ("여성(F)", "w", "female/여", "Frau", "女子")} == {"female"}
    assert {gender_of(text) for text in ("M(남)", "남성/male", "männlich")} == {"male"}
    assert {gender_of(text) for text in ("남/여", "M/F", "혼성", "()", "x")} == {""}
    levels = {"약 20dB": 20, "+12": 12, ".5": 0.5, "-3.5 dB": -3.5, "15㏈": 15, "20~30dB": None, "high": None}
    assert {text: snr_of(text).get("snr_db") for text in levels} == levels


@pytest.fixture
def folder(tmp_path):
    return recordings(tmp_path)


def test_ages_and_genders_as_they_are_written(folder):
    rows = [("twenties", "여"), ("20대", "F"), ("7세", "female_feminine"), ("만 7세", "Male"), ("72개월", "남"),
            ("41", "man"), ("", "robot")]  # fmt: skip
    source = jsonl(folder, *({"id": str(n), "age": age, "gender": gender} for n, (age, gender) in enumerate(rows)))
    result = import_corpus("jsonl", source, folder / "out")
    fields = [[manifest.field(cut, name) for name in ("age", "age_group", "gender")] for cut in result.splits["all"]]
    assert fields == [
        [None, "20-29", "female"], [None, "20-29", "female"], [7, None, "female"], [7, None, "male"],
        [6, None, "male"], [41.0, None, "male"], [None, None, "robot"],
    ]  # fmt: skip
    assert result.report.unknown_values == {"gender": {"robot": 1}}


def test_an_age_that_is_none_is_counted_and_no_fault(folder):
    ages = ["초3", 1990, "-19", "41", 7, "", None]
    source = jsonl(folder, *({"id": str(number), "age": age} for number, age in enumerate(ages)))
    result = import_corpus("jsonl", source, folder / "out")
    fields = [[manifest.field(cut, name) for name in ("age", "age_range")] for cut in result.splits["all"]]
    assert fields == [[None, "초3"], [None, "1990"], [None, "-19"], [41, None], [7, None], [None, None], [None, None]]
    assert result.report.unknown_values["age"] == {"초3": 1, "1990": 1, "-19": 1}


def test_ages_and_genders_under_other_names_are_hinted_at(folder):
    source = table(folder, "audio,text,speaker,성별,나이\na.wav,cab,ann,여,20대\n")
    assert "--columns gender=성별,age=나이\n" in ok("data", "import", "csv", source, folder / "out")
    (cut,) = cuts_of("csv", source, keys={"gender": "성별", "age": "나이"})
    assert [manifest.field(cut, name) for name in ("gender", "age_group", "성별")] == ["female", "20-29", None]


def test_age_groups_are_stratified_by_and_sliced_by(folder):
    rows = [{"id": str(n), "speaker": f"s{n}", "age": "20대" if n % 2 else "60+"} for n in range(8)]
    ok("data", "import", "jsonl", jsonl(folder, *rows), folder / "out")
    path = folder / "out" / "all.jsonl.gz"
    ok("data", "split", path, folder / "parts", "--val", "0", "--test", "0.5")
    test = manifest.read(folder / "parts" / "test.jsonl.gz")
    assert sorted(manifest.field(cut, "age_group") for cut in test) == ["20-29"] * 2 + ["60+"] * 2

    from asr_lab.data.text import TextNormalizer
    from asr_lab.metrics.slices import slices
    from asr_lab.recipes.recognition.scoring import score

    by_slice = slices(score(test, {cut.id: "a b" for cut in test}, TextNormalizer()))
    assert list(by_slice[by_slice["slice"] == "age_group"]["value"]) == ["20-29", "60+"]
