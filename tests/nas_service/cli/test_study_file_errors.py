"""Every command that reads a study file names file and key of what is wrong; logs have no time."""

import logging
from pathlib import Path

import optuna
import pytest
from command_line import refused, run

DIGITS = Path(__file__).parents[3] / "studies" / "digits.toml"


@pytest.mark.parametrize(
    "words",
    [
        ("check", "bad.toml"),
        ("census", "bad.toml"),
        ("census", "bad.toml", "--list", "1"),
        ("cost", "a.json", "--study", "bad.toml"),
        ("evaluate", "a.json", "bad.toml"),
        ("ablate", "bad.toml"),
        ("run", "bad.toml"),
    ],
)
def test_the_file_is_named_beside_the_key(words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = DIGITS.read_text()
    Path("bad.toml").write_text(text.replace('"rram_28nm"', '"ram_28nm"'))
    Path("a.json").write_text("{}")
    error = refused(*words)
    assert "bad.toml: hardware" in error
    assert "did you mean 'rram_28nm'" in error


def test_optunas_log_has_no_local_times(sqlite_url):
    optuna.logging.enable_default_handler()
    assert run("studies", "--storage", sqlite_url).exit_code == 0
    assert optuna.logging._default_handler not in logging.getLogger("optuna").handlers
