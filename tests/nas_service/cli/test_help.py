"""Help that teaches: grouped verbs, options in whole sentences, examples that work."""

import re
import shlex
import shutil
from pathlib import Path

import click
import pytest
import stored_studies as stored
from click.testing import CliRunner

from nas_service.cli.examples import EXAMPLES
from nas_service.cli.main import main
from nas_service.cli.verbs import GROUPS
from nas_service.store.store import Store

ROOT = Path(__file__).parents[3]
WIDTH = {"COLUMNS": "80"}
# Examples that only read or write small files are run, in this order; the others are parsed.
RUN = (
    "init", "check", "status", "front", "show", "report", "studies", "census", "recost",
    "data", "migrate", "doctor", "completion", "launch kubernetes",
)  # fmt: skip
ABSENT = ("server", "leaves", "digits --test", "--validate", "--figures")  # or slow


def leaves(path=(), group=main):
    """Every command, by its words after `nas`."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield " ".join((*path, name)), command
            yield from leaves((*path, name), command)
        else:
            yield " ".join((*path, name)), command


COMMANDS = dict(leaves())


def options(command):
    return [o for o in command.params if isinstance(o, click.Option) and not o.hidden]


def words_of(example):
    """Its words without the redirection of a shell; none where it is a shell's own command."""
    text = re.sub(r'^eval "\$\((.*)\)"$', r"\1", example.words).partition(" > ")[0]
    program, *words = shlex.split(text)
    assert program == "nas"
    return words


def parsed(words):
    """The command of these words, which are parsed as `nas` parses them."""
    command, context = main, main.make_context("nas", list(words))
    while isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        name, command, rest = command.resolve_command(context, rest)
        assert command is not None
        context = command.make_context(name, rest, parent=context)
    return command


def test_verbs_are_grouped():
    shown = CliRunner().invoke(main, ["--help"], env=WIDTH).output
    assert list(GROUPS) == ["Search", "Look", "Take away", "Chips", "Operate"]
    for title, verbs in GROUPS.items():
        section = shown.split(f"\n{title}:\n")[1].split("\n\n")[0]
        assert [line.split()[0] for line in section.splitlines()] == list(verbs)


@pytest.mark.parametrize("path", COMMANDS)
def test_help_fits_80_columns_and_cuts_nothing(path):
    shown = CliRunner().invoke(main, [*path.split(), "--help"], env=WIDTH).output
    assert max(map(len, shown.splitlines())) <= 80 or "--format" in shown
    assert "..." not in shown.replace("ARGS]...", "").replace("SHELL}...", "")
    for example in EXAMPLES[path]:
        assert f"    # {example.purpose}\n    {example.words}\n" in shown + "\n"
    assert shown.rstrip().endswith(EXAMPLES[path][-1].words), "the examples are last"


@pytest.mark.parametrize("path", COMMANDS)
def test_every_option_has_a_help_that_is_a_whole_thought(path):
    for option in options(COMMANDS[path]):
        text = option.help or ""
        assert re.fullmatch(r"[A-Z].*\.", text, re.DOTALL), (option.opts, text)
        assert len(text.split()) >= 5, (option.opts, text)
        fragments = ("Instead", "Of ", "Its ", "Another", "Finalists")
        assert not text.startswith(fragments), (option.opts, text)


def test_every_command_has_two_examples():
    assert EXAMPLES.keys() == COMMANDS.keys()
    for path, pair in EXAMPLES.items():
        assert pair[0].words != pair[1].words
        for example in pair:
            assert len(example.words) <= 76, "one line of 80 columns"
            assert f"nas {path} " in f"{example.words} ".replace(")", " ")


@pytest.mark.parametrize("path", COMMANDS)
def test_examples_parse(path):
    for example in EXAMPLES[path]:
        command = parsed(words_of(example))
        assert command is COMMANDS[path] or isinstance(COMMANDS[path], click.Group)


def test_an_example_that_is_wrong_would_be_noticed():
    with pytest.raises(click.UsageError):
        parsed(["front", "digits", "--tset"])
    with pytest.raises(click.UsageError):
        parsed(["show", "digits", "three"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The folder of a user who has run `nas init --data digits` and a search of it."""
    folder = tmp_path_factory.mktemp("user")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        store = Store("sqlite:///nas.db", create=True)
        stored.stored_study(store, "digits", (0.5, 0.6, None, 0.7))
        store.close()
        Path("store.url").touch(0o600)
        Path("store.url").write_text(f"sqlite:///{folder}/nas.db")
    return folder


@pytest.mark.parametrize("path", RUN)
def test_examples_work(path, folder, monkeypatch):
    monkeypatch.chdir(folder)
    if not Path("digits.toml").exists() and path != "init":
        shutil.copy(ROOT / "studies" / "digits.toml", "digits.toml")
    for example in EXAMPLES[path]:
        if any(word in example.words for word in ABSENT):
            continue
        done = CliRunner().invoke(main, words_of(example), env=WIDTH)
        assert done.exit_code in (0, 3), (example.words, done.output, done.exception)
        if target := example.words.partition(" > ")[2]:
            (folder / Path(target).name).write_text(done.stdout)
