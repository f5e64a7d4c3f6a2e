"""Text that a language model is trained on: a sentence a line, and nothing else."""

import pytest

from asr_lab.data.text import TextNormalizer
from asr_lab.errors import AsrLabError
from asr_lab.recipes.language_model import read


@pytest.mark.parametrize(
    "content",
    [
        '{"id": "u1", "audio": "a.wav", "text": "a cab"}\n',
        '[\n  {"text": "a cab"}\n]\n',
        "a.pcm\ta cab\t1 5 2\nb.pcm\tbad\t3\n",
        "\\data\\\nngram 1=3\n",
        '# asr_lab {"order": 2}\n',
    ],
)
@pytest.mark.parametrize("name", ["a.txt", "a.jsonl"])
def test_rows_of_fields_are_no_sentences(tmp_path, content, name):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(AsrLabError) as caught:
        read([str(path)], TextNormalizer())
    assert caught.value.where == str(path)
    assert caught.value.next_command


def test_a_file_of_commas_is_no_text(tmp_path):
    (tmp_path / "a.CSV").write_text("audio,text\na.wav,a cab\n")
    with pytest.raises(AsrLabError, match="a table"):
        read([str(tmp_path / "a.CSV")], TextNormalizer())


def test_marks_and_single_tabs_are_text(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("{laughing} a cab\n[noise] dad\nbed\n\tace\n")
    assert list(read([str(path)], TextNormalizer()).texts) == ["a cab", "dad", "bed", "ace"]
