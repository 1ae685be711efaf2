"""The table of verbs: each loads, explains itself and is documented; errors are one line."""

import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from nas_service.cli.main import VERBS, main

ROOT = Path(__file__).parents[3]


def invoke(*words):
    return CliRunner().invoke(main, words)


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_is_one_entry_of_the_table(name):
    command = VERBS[name].load()
    assert isinstance(command, click.Command)
    assert command.get_short_help_str(limit=200) == VERBS[name].summary
    assert invoke(name, "--help").exit_code == 0
    readme = (ROOT / "README.md").read_text()
    assert re.search(rf"`nas {name}\b", readme), "a row of the README's table"


@pytest.mark.parametrize("name", VERBS)
def test_every_option_has_a_help_text_that_is_a_sentence(name):
    command = VERBS[name].load()
    commands = list(command.commands.values()) if isinstance(command, click.Group) else [command]
    for one in commands:
        for option in one.params:
            if isinstance(option, click.Option) and not option.hidden:
                assert option.help, option.name
                assert re.fullmatch(r"[A-Z].*\.", option.help, re.DOTALL), option.help


def test_help_lists_every_verb():
    shown = invoke("--help")
    assert shown.exit_code == 0
    for name, verb in VERBS.items():
        assert f"  {name} " in shown.output
        assert verb.summary in shown.output


@pytest.mark.parametrize(
    ("words", "new"),
    [
        (("run", "x.toml", "--trials", "3"), "--trainings"),
        (("create", "x.toml", "--trials=3"), "--trainings"),
        (("resume", "x", "--trials", "3"), "--trainings"),
        (("retrain", "x", "--trials", "12,7"), "--trial-numbers"),
    ],
)
def test_an_old_option_names_the_new_one(words, new):
    refused = invoke(*words)
    assert refused.exit_code == 2
    assert f"--trials is now called {new}" in refused.output


def test_an_unknown_verb_gets_a_suggestion():
    refused = invoke("statsu", "x")
    assert refused.exit_code == 2
    assert "no command 'statsu', did you mean 'status'?" in refused.output
