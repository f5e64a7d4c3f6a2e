"""README, guide and the other pages: every command, option, key and link in them exists."""

import re
from itertools import chain

import click
import pytest
from documents import GUIDE, PAGES, ROOT, all_commands, anchors, blocks, commands, inline_code, links

from asr_lab.cli import COMMANDS, cli
from asr_lab.cli.guide import TOPICS
from asr_lab.config.load import keys
from asr_lab.config.schema import ALIASES
from asr_lab.families import FAMILIES, config_class
from asr_lab.reports.studies import read_studies
from asr_lab.tracking.results.check import check_pages, check_settings

KEYS = set(chain.from_iterable(keys(config_class(name)) for name in FAMILIES)) | set(ALIASES)
NOT_OURS = {"--env-manager", "--key", "--ngpu", "--num_nodes", "--asr_args", "--optim_conf", "--upgrade"}
"""Options of other programs, and `--key`, which stands for any key."""
each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def options(command: click.Command) -> set[str]:
    command.make_context(command.name, [], resilient_parsing=True)  # some make their options only then
    return {"--help", "-h", "--version", *(name for param in command.params for name in param.opts)}


def tree(command: click.Command) -> list[click.Command]:
    """A command with all that are under it."""
    if not isinstance(command, click.Group):
        return [command]
    context = click.Context(command)
    below = [command.get_command(context, name) for name in command.list_commands(context)]
    return [command, *chain.from_iterable(tree(one) for one in below if one)]


def wrong_words(words: list[str]) -> list[str]:
    """The words of `asr-lab WORDS` that its commands do not know."""
    command: click.Command = cli
    rest = list(words)
    while isinstance(command, click.Group) and rest and not rest[0].startswith("-"):
        name = rest.pop(0)
        if name.isupper():  # a placeholder
            return []
        below = command.get_command(click.Context(command), name)
        if below is None:
            return [name]
        command = below
    takes_keys = "key" in " ".join(param.metavar or "" for param in command.params).lower()
    wrong = []
    for word in rest:
        name, equals, _ = word.partition("=")
        if word.startswith("--"):
            known = name in options(command) or (takes_keys and name[2:].replace("-", "_") in KEYS)
        elif equals and takes_keys and re.fullmatch(r"[a-z_0-9.]+", name):
            known = name in KEYS or name.startswith(("space.", "arms."))
        elif re.fullmatch(r"experiments/[\w/.-]+\.yaml", word):
            known = (ROOT / word).is_file()
        else:
            known = True
        if not known:
            wrong.append(word)
    return wrong


@each_page
def test_every_command_option_key_and_config_exists(page):
    wrong = {" ".join(words): bad for words in all_commands(page) if (bad := wrong_words(words))}
    assert not wrong


@each_page
def test_every_option_named_alone_is_one_of_some_command(page):
    known = set(chain.from_iterable(options(command) for command in tree(cli))) | NOT_OURS
    alone = [word for code in inline_code(page) if code.startswith("--") for word in code.split()]
    assert not {word for word in alone if word.startswith("--") and word.partition("=")[0] not in known}


@each_page
def test_every_test_and_configuration_that_is_named_is_there(page):
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"(?:tests|experiments|\.readme)/[\w/.-]+\.(?:py|yaml|jinja|md|png)", text)
    assert not [path for path in named if not (ROOT / path).is_file()]


def test_wrong_words_are_noticed():
    assert wrong_words(["train", "CONFIG", "--dry-run", "train.epochs=1"]) == []
    assert wrong_words(["train", "CONFIG", "--dry-ruin", "train.epoch=1"]) == ["--dry-ruin", "train.epoch=1"]
    assert wrong_words(["data", "splitt"]) == ["splitt"]
    assert wrong_words(["train", "experiments/none.yaml"]) == ["experiments/none.yaml"]
    assert commands("x && asr-lab train a/{b,c}.yaml \\\n  --dry-run  # asr-lab no") == [
        ["train", "a/b.yaml", "a/c.yaml", "--dry-run"]
    ]


@each_page
def test_every_relative_link_and_anchor_resolves(page):
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not anchor or anchor in anchors(target), link


def test_every_page_is_a_topic_and_the_index_lists_it():
    assert {page.stem for page in GUIDE.glob("*.md")} - {"README"} == set(TOPICS)
    index = (GUIDE / "README.md").read_text(encoding="utf-8")
    for topic, about in TOPICS.items():
        assert f"| [{topic}]({topic}.md) | {about.summary} |" in index


def test_every_command_is_explained_by_one_page_and_named_on_it():
    explained = [(command, topic) for topic, about in TOPICS.items() for command in about.commands]
    assert sorted(command for command, _ in explained) == sorted(COMMANDS)
    for command, topic in explained:
        assert f"asr-lab {command}" in (GUIDE / f"{topic}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("topic", TOPICS)
def test_a_page_begins_with_what_one_can_do_and_a_command(topic):
    text = (GUIDE / f"{topic}.md").read_text(encoding="utf-8")
    title, first, *_ = text.split("\n\n")
    assert title.startswith("# ")
    assert len(first.split()) > 15
    assert 1 < blocks(GUIDE / f"{topic}.md")[0].line < 16


def test_results_are_made_from_studies_whose_settings_still_stand():
    """The quick part of `asr-lab results check`; its data are made again by tests/recipes/test_results.py."""
    folder = ROOT / "experiments" / "results"
    studies = read_studies(folder)
    findings = [one for name, study in studies.items() for one in check_settings(name, study, ROOT)]
    findings += check_pages(folder, studies)
    assert [one for one in findings if one.is_stale] == []
