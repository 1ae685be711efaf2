"""Completion in the shell: one command prints the script, which asks `nas` for what can follow."""

import shutil
import sys

import pytest
import stored_studies as stored
from click.testing import CliRunner

from nas_service.cli.completion import SHELLS, VARIABLE
from nas_service.cli.main import main
from nas_service.cli.verbs import VERBS
from nas_service.store.store import Store


def completed(monkeypatch, capsys, *words):
    """What can follow these words, the last of which is incomplete."""
    monkeypatch.setenv(VARIABLE, "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(("nas", *words)))
    monkeypatch.setenv("COMP_CWORD", str(len(words)))
    with pytest.raises(SystemExit):
        main.main([], prog_name="nas")
    lines = capsys.readouterr().out.split("\n")
    return [line.split(",")[1].split("\t")[0] for line in lines if line]


@pytest.mark.parametrize("shell", SHELLS)
def test_a_script_for_each_shell(shell):
    done = CliRunner().invoke(main, ["completion", shell])
    assert done.exit_code == 0
    assert f"{VARIABLE}={shell}_complete" in done.output
    assert SHELLS[shell] in done.output, "where the shell reads it"
    assert done.output.startswith("#compdef nas\n") or shell != "zsh"


@pytest.mark.process
@pytest.mark.parametrize("shell", SHELLS)
def test_the_shell_reads_its_script(shell, tmp_path):
    import subprocess

    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    (tmp_path / "script").write_text(CliRunner().invoke(main, ["completion", shell]).output)
    done = subprocess.run([shell, "-n", tmp_path / "script"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_another_shell_is_refused():
    done = CliRunner().invoke(main, ["completion", "tcsh"])
    assert done.exit_code == 2
    assert "'bash', 'zsh', 'fish'" in done.output


def test_verbs_and_options_are_completed(monkeypatch, capsys):
    assert completed(monkeypatch, capsys, "st") == ["status", "studies"]
    assert completed(monkeypatch, capsys, "") == list(VERBS)
    assert {"--storage", "--any-disk", "--plugin", "--help"} <= set(
        completed(monkeypatch, capsys, "report", "--")
    )
    assert completed(monkeypatch, capsys, "launch", "s") == ["slurm"]


def test_completing_a_verb_loads_none(monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "nas_service.cli.show", raising=False)
    completed(monkeypatch, capsys, "s")
    assert "nas_service.cli.show" not in sys.modules


def test_studies_of_the_store_are_completed(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert completed(monkeypatch, capsys, "front", "d") == [], "no store yet"
    store = Store("sqlite:///nas.db", create=True)
    for name in ("digits", "dvs", "other"):
        stored.stored_study(store, name, ())
    store.close()
    assert completed(monkeypatch, capsys, "front", "d") == ["digits", "dvs"]
    assert completed(monkeypatch, capsys, "worker", "--study", "o") == ["other"]
    monkeypatch.setenv("NAS_STORAGE", "postgresql://nobody@nowhere/nas")
    assert completed(monkeypatch, capsys, "front", "d") == []
    (tmp_path / "broken.db").write_bytes(b"no database")
    words = ("front", "--storage", "sqlite:///broken.db", "d")
    assert completed(monkeypatch, capsys, *words) == []
