"""Small made-up corpora in the layouts of real ones: each function writes one into a folder, and returns SOURCE."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any
from unicodedata import normalize
from xml.sax.saxutils import escape

import numpy as np
import soundfile

RATE = 16000


def samples(seconds: float = 0.6, seed: int = 0, rate: int = RATE, channels: int = 1) -> np.ndarray:
    shape = (round(rate * seconds), channels) if channels > 1 else round(rate * seconds)
    return np.random.default_rng(seed).normal(0, 0.1, shape).astype(np.float32)


def sound(path: Path, seconds: float = 0.6, seed: int = 0, rate: int = RATE, channels: int = 1) -> Path:
    """Write a sound; headerless 16 bits for `.pcm`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".pcm":
        path.write_bytes((samples(seconds, seed) * 32767).astype("<i2").tobytes())
    else:
        soundfile.write(path, samples(seconds, seed, rate, channels), rate)
    return path


def encoded(seconds: float = 0.6, seed: int = 0, format: str = "FLAC") -> bytes:
    content = io.BytesIO()
    soundfile.write(content, samples(seconds, seed), RATE, format=format)
    return content.getvalue()


def text(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))
    return path


def lines_of_json(path: Path, *rows: dict[str, Any]) -> Path:
    return text(path, "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))


def label(path: Path, content: Any, encoding: str = "utf-8") -> Path:
    return text(path, json.dumps(content, ensure_ascii=False), encoding)


def nemo(root: Path) -> Path:
    sound(root / "wavs" / "long.wav", 3.0)
    sound(root / "wavs" / "b.wav", 0.8)
    return lines_of_json(
        root / "train_manifest.json",
        {"audio_filepath": "wavs/long.wav", "offset": 0.5, "duration": 1.2, "text": "첫 문장", "lang": "ko"},
        {"audio_filepath": "wavs/long.wav", "offset": 1.9, "duration": 1.0, "text": "둘째 문장", "lang": "ko"},
        {"audio_filepath": str(root / "wavs" / "b.wav"), "duration": 0.8, "text": "셋째", "lang": "ko"},
    )


def zeroth(root: Path) -> Path:
    text(
        root / "AUDIO_INFO",
        "SPEAKERID|NAME|SEX|SCRIPTID|DATASET\n106|Made Up|f|003|train_data_01\n"
        "107|Made Down|m|003|train_data_01\n201|Made Left|m|003|test_data_01\n",
    )
    for part, speaker in (("train_data_01", "106"), ("train_data_01", "107"), ("test_data_01", "201")):
        folder = root / part / "003" / speaker
        names = [f"{speaker}_003_{number:04}" for number in (1, 2)]
        for name in names:
            sound(folder / f"{name}.flac")
        text(folder / f"{speaker}_003.trans.txt", "".join(f"{name} 그는 {name[-1]} 번 웃었다\n" for name in names))
    return root


def librispeech(root: Path) -> Path:
    """`root` is LibriSpeech/."""
    text(
        root / "SPEAKERS.TXT",
        ";ID  |SEX| SUBSET           |MINUTES| NAME\n14   | F | train-clean-100  | 25.03 | Made Up\n"
        "26   | M | train-other-500  | 25.10 | Made | Down\n84   | F | dev-clean        | 8.02  | Made Left\n",
    )
    for subset, speaker in (("train-clean-100", "14"), ("train-other-500", "26"), ("dev-clean", "84")):
        folder = root / subset / speaker / "208"
        names = [f"{speaker}-208-{number:04}" for number in range(2)]
        for name in names:
            sound(folder / f"{name}.flac")
        text(folder / f"{speaker}-208.trans.txt", "".join(f"{name} HE LAUGHED {name[-1]} TIMES\n" for name in names))
    return root


COMMON_VOICE = {
    "2019": ("client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accent"),
    "2021": ("client_id", "path", "sentence", "up_votes", "down_votes", "age", "gender", "accents", "locale"),
    "2024": (
        "client_id", "path", "sentence_id", "sentence", "sentence_domain", "up_votes", "down_votes", "age", "gender",
        "accents", "variant", "locale", "segment",
    ),
}  # fmt: skip


def common_voice(root: Path, release: str = "2024") -> Path:
    """`root` is the folder of a language; the clips are MP3 by name, whatever is in them."""
    values = {"up_votes": "2", "down_votes": "0", "age": "twenties", "locale": "ko", "sentence_id": "f" * 64}
    values["gender"] = "female_feminine" if release == "2024" else "female"
    columns = COMMON_VOICE[release]
    for part, numbers in (("train", (1, 2)), ("dev", (3,)), ("test", (4,)), ("validated", (1, 2, 3, 4))):
        rows = []
        for number in numbers:
            name = f"common_voice_ko_{number}.mp3"
            row = values | {"client_id": f"c{number}" * 30, "path": name, "sentence": f'그는 "{number}" 번 웃었다'}
            (root / "clips").mkdir(parents=True, exist_ok=True)
            (root / "clips" / name).write_bytes(encoded(seed=number))
            rows.append("\t".join(row.get(column, "") for column in columns) + "\n")
        text(root / f"{part}.tsv", "\t".join(columns) + "\n" + "".join(rows))
    return root


def ksponspeech(root: Path, *, scripts: bool = True) -> Path:
    dual = {
        1: "b/ 아/ 몬 소리야 그건 또. b/",
        2: "나는 (70%)/(칠십 퍼센트) 확률이라고 봐.",
        3: "어/ 근데 그+ 그거 n/",
    }
    paths = {}
    for number, spoken in dual.items():
        path = f"KsponSpeech_01/KsponSpeech_{number:04}/KsponSpeech_{number:06}.pcm"
        paths[number] = path
        sound(root / path)
        text((root / path).with_suffix(".txt"), spoken + "\n", "cp949")
    for name in ("E00001", "E00002"):
        sound(root / "KsponSpeech_eval" / "eval_clean" / f"KsponSpeech_{name}.pcm")
    if scripts:
        text(root / "KsponSpeech_scripts" / "train.trn", "".join(f"{paths[n]} :: {dual[n]}\n" for n in (1, 2)))
        text(root / "KsponSpeech_scripts" / "dev.trn", f"{paths[3]} :: {dual[3]}\n")
        text(
            root / "KsponSpeech_scripts" / "eval_clean.trn",
            "".join(
                f"KsponSpeech_eval/eval_clean/KsponSpeech_{name}.pcm :: 그게 (3개)/(세 개)야.\n"
                for name in ("E00001", "E00002")
            ),
        )
    return root


def aihub_command(root: Path) -> Path:
    """71405, commands in noise: one label for two recordings of it, -N (noise) and -S."""
    for part, prefix in (("Training", "T"), ("Validation", "V")):
        for number in (1, 2):
            name = f"{prefix}-CMD-{number:03}"
            speaker = f"{prefix}{number:03}"
            for kind in ("N", "S"):
                sound(root / part / "01.원천데이터" / f"{prefix}S_01.식당" / f"{name}-{kind}.wav", seed=number)
            label(
                root / part / "02.라벨링데이터" / f"{prefix}L_01.식당" / f"{name}.json",
                {
                    "file": {"name": name, "format": "wav"},
                    "speaker": {"id": speaker, "age": "30대", "gender": "여"},
                    "command": {"text": f"불 {number} 번 켜 줘"},
                },
            )
    return root


def aihub_reading(root: Path) -> Path:
    """485, reading aloud: the label is a list of readings, with a sentence for each recording."""
    for part, prefix in (("1.Training", "T"), ("2.Validation", "V")):
        readings = []
        for reading in (1, 2):
            sentences = []
            for number in (1, 2):
                name = f"{prefix}{reading}-{number:04}.wav"
                sound(root / part / "원천데이터" / f"{prefix}S_소설" / name, seed=number)
                sentences.append(
                    {
                        "id": number,
                        "origin_text": f"{number}번 웃었다.",
                        "style": {"style": "낭독체", "emotion": "무감정"},
                        "voice_piece": {"filename": name, "tr": f"{number} 번 웃었다", "duration": 0.6},
                        "votes": [{"likert_scale": 4}, {"likert_scale": 5}],
                    }
                )
            reciter = {"id": 10 * reading + (prefix == "V"), "age": 41, "gender": "F"}
            readings.append({"reciter": reciter, "script": {"id": 7}, "sentences": sentences})
        label(root / part / "라벨링데이터" / f"{prefix}L_소설" / f"{prefix}.json", readings)
    return root


def aihub_medical(root: Path) -> Path:
    """208, patients: the speaker is in the file name alone."""
    for speaker in ("PA_0016", "PA_0017"):
        for number in (1, 2):
            name = f"{speaker}_{number:03}"
            sound(root / "Training" / "[T원천]환자_1" / "1" / f"{name}.wav", seed=number)
            label(
                root / "Training" / "[T]라벨링데이터" / "medsub" / "환자" / f"{name}.json",
                {"전사정보": {"LabelText": f"배가 {number} 일 아파요"}, "음성정보": {"SamplingRate": 48000}},
            )
    return root


def audio_folder(root: Path, table: str = "metadata.csv") -> Path:
    """A folder of Hugging Face's `audiofolder`, with a table in each split."""
    for part in ("train", "validation"):
        names = [f"{part}-{number}.wav" for number in (1, 2)]
        for number, name in enumerate(names):
            sound(root / "data" / part / name, seed=number)
        rows = [{"file_name": name, "transcription": f"그는 {number} 번, 웃었다"} for number, name in enumerate(names)]
        if table.endswith(".jsonl"):
            lines_of_json(root / "data" / part / table, *rows)
        else:
            cells = "".join(f'{row["file_name"]},"{row["transcription"]}"\n' for row in rows)
            text(root / "data" / part / table, "file_name,transcription\n" + cells)
    return root


def _embedded(part: str, numbers: tuple[int, ...]) -> list[dict[str, Any]]:
    return [
        {
            "audio": {"bytes": encoded(seed=number), "path": f"{part}_{number:04}.flac"},
            "text": f"그는 {number} 번 웃었다",
            "speaker_id": number % 2,
        }
        for number in numbers
    ]


def parquet(root: Path) -> Path:
    """A repository of the Hub: parquet with the bytes of the audio."""
    import pyarrow
    import pyarrow.parquet

    for name, numbers in (
        ("train-00000-of-00002", (1, 2)),
        ("train-00001-of-00002", (3,)),
        ("test-00000-of-00001", (4,)),
    ):
        (root / "data").mkdir(parents=True, exist_ok=True)
        rows = _embedded(name.partition("-")[0], numbers)
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), root / "data" / f"{name}.parquet")
    return root


def saved_to_disk(root: Path) -> Path:
    """What `DatasetDict.save_to_disk` writes: Arrow streams, state.json, dataset_info.json."""
    import pyarrow

    text(root / "dataset_dict.json", json.dumps({"splits": ["train", "test"]}))
    for part, numbers in (("train", (1, 2)), ("test", (3,))):
        table = pyarrow.Table.from_pylist(_embedded(part, numbers))
        (root / part).mkdir(parents=True)
        with pyarrow.ipc.new_stream(root / part / "data-00000-of-00001.arrow", table.schema) as stream:
            stream.write_table(table)
        files = [{"filename": "data-00000-of-00001.arrow"}]
        label(root / part / "state.json", {"_data_files": files, "_split": part})
        label(root / part / "dataset_info.json", {"features": {"audio": {"_type": "Audio"}}})
    return root


def texts_beside(root: Path) -> Path:
    for speaker in ("mina", "juno"):
        for number in (1, 2):
            sound(root / speaker / f"{number}.wav", seed=number)
            text(
                root / speaker / f"{number}.txt",
                f"그는 {number} 번 웃었다\n",
                "cp949" if speaker == "juno" else "utf-8",
            )
    return root


def one_file_of_texts(root: Path, form: str = "kss") -> Path:
    for number in (1, 2):
        sound(root / "1" / f"1_{number:04}.wav", seed=number)
    forms = {
        "kss": "1/1_{n:04}.wav|{n}번 웃었다.|{n} 번 웃었다.|x|0.6|He laughed.\n",
        "ljspeech": "1_{n:04}|{n} times|{n} times\n",
        "tabs": "1/1_{n:04}.wav\t그는 {n} 번 웃었다\n",
        "spaces": "1_{n:04} 그는 {n} 번 웃었다\n",
        "colons": "1_{n:04}.wav :: 그는 {n} 번 웃었다\n",
    }
    text(root / "transcript.txt", "".join(forms[form].format(n=number) for number in (1, 2)))
    return root


def names_in_nfd(root: Path, *, on_disk: str = "NFD", in_table: str = "NFC") -> Path:
    sound(root / normalize(on_disk, "녹음") / normalize(on_disk, "첫째.wav"))
    row = normalize(in_table, "녹음/첫째.wav,그는 웃었다,미나")
    return text(root / "table.csv", f"audio,text,speaker\n{row}\n")


def workbook(path: Path, sheets: dict[str, list[list[Any]]], merged: str = "") -> Path:
    """Write an .xlsx with texts and numbers; `merged` are cells of the first sheet (`C2:C3`)."""
    main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    links = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
    package = "http://schemas.openxmlformats.org/package/2006"
    names = [(number, escape(name)) for number, name in enumerate(sheets, start=1)]
    book = "".join(f'<sheet name="{name}" sheetId="{number}" r:id="r{number}"/>' for number, name in names)
    relations = "".join(
        f'<Relationship Id="r{number}" Type="{links}/worksheet" Target="worksheets/sheet{number}.xml"/>'
        for number, _ in names
    )
    types = f'<Types xmlns="{package}/content-types"><Default Extension="xml" ContentType="application/xml"/></Types>'
    start = f'<Relationship Id="r1" Type="{links}/officeDocument" Target="xl/workbook.xml"/>'
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("[Content_Types].xml", types)
        archive.writestr("_rels/.rels", f'<Relationships xmlns="{package}/relationships">{start}</Relationships>')
        archive.writestr(
            "xl/workbook.xml", f'<workbook xmlns="{main}" xmlns:r="{links}"><sheets>{book}</sheets></workbook>'
        )
        archive.writestr(
            "xl/_rels/workbook.xml.rels", f'<Relationships xmlns="{package}/relationships">{relations}</Relationships>'
        )
        for number, rows in enumerate(sheets.values(), start=1):
            content = "".join(
                f'<row r="{row}">{"".join(_cell(row, place, value) for place, value in enumerate(cells))}</row>'
                for row, cells in enumerate(rows, start=1)
            )
            cells = f'<mergeCells count="1"><mergeCell ref="{merged}"/></mergeCells>' if merged and number == 1 else ""
            archive.writestr(
                f"xl/worksheets/sheet{number}.xml",
                f'<worksheet xmlns="{main}"><sheetData>{content}</sheetData>{cells}</worksheet>',
            )
    return path


def _cell(row: int, place: int, value: Any) -> str:
    name = f"{'ABCDEFGHIJ'[place]}{row}"
    if isinstance(value, int | float):
        return f'<c r="{name}"><v>{value}</v></c>'
    return f'<c r="{name}" t="inlineStr"><is><t>{escape(value)}</t></is></c>' if value else ""
