"""How much the commands print: --quiet, --verbose, NO_COLOR, and terminals that cannot redraw."""

import io
import re
from contextlib import closing

import pytest
import stored_studies as stored
from command_line import run
from rich.progress import Progress

from nas_service.cli import progress, terminal
from nas_service.cli.verbs import VERBS
from nas_service.store.store import Store

COLOUR = re.compile(r"\x1b\[[\d;]*\b[349]\d")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store with a study whose plug-in nobody gives, which is a note."""
    monkeypatch.setenv("NAS_STORAGE", f"sqlite:///{tmp_path}/nas.db")
    with closing(Store(f"sqlite:///{tmp_path}/nas.db", create=True)) as store:
        yield store


def test_quiet_prints_no_note(store):
    assert "no study yet" in run("studies").stderr
    assert run("studies", "--quiet").output == run("-q", "studies").output == ""


def test_quiet_prints_errors(store):
    result = run("front", "nothing", "--quiet")
    assert result.exit_code == 2
    assert result.stderr.startswith("nas: ")


def test_verbose_says_what_was_read_and_how_long_it_took(store):
    stored.stored_study(store, "x", (0.9, 0.8))
    quiet, normal, verbose = (run("status", "x", *o) for o in (["-q"], [], ["-v"]))
    assert quiet.stdout == normal.stdout == verbose.stdout
    assert "2 finished trials read" in verbose.stderr
    assert re.search(r"^nas status: \d+\.\d s$", verbose.stderr, re.MULTILINE)


@pytest.mark.parametrize("words", [["-q", "-v"], ["-v", "--quiet"]])
def test_one_of_both(store, words):
    result = run("studies", *words)
    assert result.exit_code == 2
    assert "--quiet and --verbose: one of them is possible at a time" in result.stderr


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_both(verb):
    text = run(verb, "--help").output
    assert verb == "launch" or ("--quiet" in text and "--verbose" in text)  # its parts have them


@pytest.mark.parametrize("switch", ["", "1"])
def test_no_color(monkeypatch, switch):
    monkeypatch.setenv("NO_COLOR", switch)
    monkeypatch.setenv("COLORTERM", "truecolor")
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    console = terminal.console()
    console.file = io.StringIO()
    with Progress(console=console) as bar:
        bar.add_task("training", total=2, completed=1)
    text = console.file.getvalue()
    assert "training" in text
    assert bool(COLOUR.search(text)) is not bool(switch)


@pytest.mark.parametrize(("name", "redraws"), [("xterm", True), ("dumb", False)])
def test_a_terminal_that_cannot_redraw_gets_lines(monkeypatch, name, redraws):
    monkeypatch.setenv("TERM", name)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(progress, "err", terminal.console(stderr=True))
    assert progress.ProgressBar(None, 5).live is redraws


def test_the_bar_fits_80_columns(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    console = terminal.console(stderr=True)
    console.file = io.StringIO()
    monkeypatch.setattr(progress, "err", console)
    bar = progress.ProgressBar(None, 4000)
    parts = ["12 min 5 s left", "1,234 feasible", "best accuracy 93.9 %", "hypervolume 0.712"]
    bar.bar.update(bar.task, completed=1000, description=bar.fitting(parts))
    (line,) = console.render_lines(bar.bar.get_renderable(), pad=False)
    text = "".join(segment.text for segment in line)
    assert len(text) <= 80
    assert "1000/4000" in text
    assert text.rstrip().endswith("12 min 5 s left · 1,234 feasible")
