"""The registry of importers: every entry can be called, its help is complete, and a new entry is a command."""

import inspect
import sys
from types import ModuleType

import numpy as np
import pytest
import soundfile
from conftest import ok, refused, run, tone_word

from asr_lab.data import manifest
from asr_lab.data.importers.contract import Importer, ImportResult, Option, Reading
from asr_lab.data.importers.import_report import ImportRefusedError, ImportReport
from asr_lab.data.importers.registry import IMPORTERS, PCM, SPEAKERS, import_corpus
from asr_lab.data.importers.source_view import Source
from asr_lab.errors import AsrLabError


@pytest.mark.parametrize("kind", IMPORTERS)
def test_the_options_of_the_table_are_those_of_the_function(kind):
    importer = IMPORTERS[kind]
    parameters = inspect.signature(importer.load()).parameters
    source, out, *options = [name for name in parameters if name != "progress"]
    assert (source, out) == ("source", "out")
    own = [option for option in importer.options if option not in PCM]
    assert options == list(dict.fromkeys("speakers" if option in SPEAKERS else option.name for option in own))
    for option in own:
        if not option.positional and option not in SPEAKERS:
            default = False if option.kind == "flag" else option.default
            assert parameters[option.name].default == default, option.name


def import_toy(source, out, *, voice="nobody", scale=None, loud=False, progress):
    """A file `NAME.toy` is an utterance NAME."""
    report = ImportReport()
    cuts = []
    for path in sorted(source.glob("*.toy")):
        if not (text := path.read_text()):
            report.add(path.stem, "no text", file=path, line=1)
            continue
        audio = path.with_suffix(".wav")
        soundfile.write(audio, tone_word(text, np.random.default_rng(0)), 16000)
        cuts.append(manifest.utterance(id=path.stem, audio=audio, text=text, speaker=voice, scale=scale, loud=loud))
        progress(len(cuts), 0)
    if not cuts:
        report.refuse(source)
    return ImportResult(splits={"all": cuts}, report=report)


def toys(source: Source) -> list[Reading]:
    seen = source.top(".toy")
    return [Reading(what="toys", evidence=tuple(seen))] if seen else []


@pytest.fixture
def toy(tmp_path, monkeypatch):
    """A corpus of one utterance and one fault, and its importer in the table."""
    module = ModuleType("toy_importer")
    module.import_toy = import_toy
    module.toys = toys
    monkeypatch.setitem(sys.modules, "toy_importer", module)
    options = (
        Option(name="voice", default="nobody", help="who speaks."),
        Option(name="scale", kind="range", help="a range."),
        Option(name="loud", kind="flag", help="a flag."),
    )
    importer = Importer(
        description="files that end in .toy",
        function="toy_importer:import_toy",
        recognizer="toy_importer:toys",
        options=options,
    )
    monkeypatch.setitem(IMPORTERS, "toy", importer)
    folder = tmp_path / "in"
    folder.mkdir()
    (folder / "a.toy").write_text("cab")
    (folder / "b.toy").write_text("")
    return folder


def test_an_importer_in_the_table_is_a_command(toy, tmp_path):
    help_text = ok("data", "import", "--help")
    assert "files that end in .toy" in help_text
    assert "toy: who speaks." in help_text
    printed = ok("data", "import", "toy", toy, tmp_path / "out", "--voice", "ann", "--scale", "1-5", "--loud")
    assert "1 left out: no text: b\n" in printed
    assert "1 utterance of 1 speaker" in printed
    cut = manifest.read(tmp_path / "out" / "all.jsonl.gz")["a"]
    fields = [manifest.field(cut, name) for name in ("speaker", "scale", "loud")]
    assert fields == ["ann", [1, 5], True]
    assert "would be replaced" in refused("data", "import", "toy", toy, tmp_path / "out")
    ok("data", "import", "toy", toy, tmp_path / "out", "--overwrite")
    assert "--voice has no effect on csv" in refused("data", "import", "csv", toy, tmp_path, "--voice", "ann")


def test_a_kind_that_is_not_in_the_table_is_no_command(tmp_path):
    assert run("data", "import", "toy", tmp_path, tmp_path / "out").exit_code == 2
    with pytest.raises(AsrLabError, match="no importer 'toy'"):
        import_corpus("toy", tmp_path, tmp_path / "out")
    with pytest.raises(AsrLabError, match="csv has no option join"):
        import_corpus("csv", tmp_path, tmp_path / "out", {"join": (1, 5)})


def test_a_folder_of_another_kind_names_the_importer(toy, tmp_path):
    with pytest.raises(AsrLabError) as error:
        import_corpus("l2-arctic", toy, tmp_path / "out")
    assert error.value.next_command == f"asr-lab data import toy {toy} {tmp_path / 'out'}"
    (toy / "a.toy").write_text("")
    with pytest.raises(ImportRefusedError) as refusal:
        import_corpus("toy", toy, tmp_path / "out")
    assert refusal.value.next_command == ""
    assert refusal.value.report.counts() == {"no text": 2}


def test_a_refusal_shows_the_first_faults_and_counts_all(tmp_path):
    report = ImportReport()
    for number in range(30):
        report.add(f"u{number}", "no label" if number % 3 else "no text", file=tmp_path / "labels.txt", line=number + 1)
    with pytest.raises(ImportRefusedError) as refusal:
        report.refuse(tmp_path)
    lines = refusal.value.what.splitlines()
    assert len(lines) == 22
    assert lines[1].split() == f"u0: no text ({tmp_path / 'labels.txt'}, line 1)".split()
    assert lines[-1].strip() == "and 10 more; 20 no label, 10 no text"
    assert len(report.lines()) == 2
    assert report.lines()[0] == "10 left out: no text: u0, u3, u6, u9, u12, u15 and 4 more"


@pytest.mark.parametrize("kind", IMPORTERS)
def test_the_help_of_a_kind_shows_its_layout_and_its_own_options(kind):
    shown = ok("data", "import", kind, "--help")
    assert all(line.strip() in shown for line in IMPORTERS[kind].layout.splitlines())
    assert IMPORTERS[kind].layout
    flags = {option.flag for option in IMPORTERS[kind].options if not option.positional}
    assert all(flag in shown for flag in flags)
    assert ("--drop-silence" in shown) == ("--drop-silence" in flags)


@pytest.mark.parametrize("kind", IMPORTERS)
def test_every_importer_can_leave_out_what_is_faulty(kind):
    assert IMPORTERS[kind].accepts("skip_faulty")
