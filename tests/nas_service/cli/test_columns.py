"""Tables without lines: what a front looks like in a narrow terminal."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nas_service.cli.front import front_headings
from nas_service.cli.table import table
from nas_service.cli.terminal import print_aligned, print_err, print_out, print_table
from nas_service.study.loading import load_spec

ROOT = Path(__file__).parents[3]


def test_the_readme_shows_a_front_as_a_terminal_of_80_columns_does():
    spec = load_spec(ROOT / "studies" / "digits.toml")
    metrics = [o.metric for o in spec.objectives] + [c.metric for c in spec.constraints]
    headings = front_headings(list(dict.fromkeys(metrics)))
    shown = re.search(
        r"\n\n(( +.*\n)+trial  .*\n(?: +\d+ .*\n)+)", (ROOT / "README.md").read_text()
    )
    lines = shown[1].splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith("trial"))
    rows = [re.split(r"  +", line.strip()) for line in lines[first + 1 :]]
    assert list(table(headings, rows, 80)) == lines


def test_headings_are_narrow_and_units_have_a_line_of_their_own():
    rows = [["7", "0.5", "area"], ["12", "1,234", "-"]]
    assert list(table(["trial", "test accuracy\n%", "tightest budget"], rows)) == [
        "           test",
        "       accuracy  tightest",
        "trial         %  budget",
        "    7       0.5  area",
        "   12     1,234  -",
    ]


def test_columns_that_do_not_fit_are_printed_below():
    rows = [["7", "0.5", "123", "4.5e-6"]]
    assert list(table(["trial", "area\nmm2", "parameters", "energy\nuJ"], rows, 22)) == [
        "       area",
        "trial   mm2  parameters"[:11],
        "    7   0.5",
        "",
        "trial  parameters",
        "    7         123",
        "",
        "       energy",
        "trial      uJ",
        "    7  4.5e-6",
    ]


def test_text_in_the_last_column_takes_several_lines():
    rows = [["a", "some words that are too long for one line"], ["b", "short"]]
    assert list(table(["name", "licence"], rows, 30)) == [
        "name  licence",
        "a     some words that are too",
        "      long for one line",
        "b     short",
    ]


cells = st.text(st.characters(codec="utf-8"), max_size=12)


@given(st.lists(st.tuples(cells, cells, cells), max_size=4), st.integers(1, 60))
def test_no_cell_is_cut_and_nothing_steers_the_terminal(rows, width):
    lines = list(table(["one two", "three\nuJ", "four"], rows, width))
    assert all("\x1b" not in line and "\n" not in line for line in lines)
    assert all(line == line.rstrip() for line in lines)
    whole = "".join(lines).replace(" ", "")
    for row in rows:
        for cell in row:
            if cell.isascii() and cell.isalnum():
                assert cell in whole


def test_tables_fit_the_terminal(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    print_table([f"column {n}" for n in range(20)], [[str(10**n) for n in range(20)]])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 40


def test_long_lines_are_cut_between_words(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "30")
    print_out("front: of the 3 feasible candidates that are trained")
    print_aligned({"study": "digits", "ended": "budget spent: 40 trainings, and more"})
    assert capsys.readouterr().out.splitlines() == [
        "front: of the 3 feasible",
        "  candidates that are trained",
        "study  digits",
        "ended  budget spent: 40",
        "       trainings, and more",
    ]


@pytest.mark.parametrize("write", [print_out, print_err])
def test_lines_of_a_pipe_are_not_cut(monkeypatch, capsys, write):
    monkeypatch.delenv("COLUMNS", raising=False)
    write("word " * 60)
    read = capsys.readouterr()
    assert (read.out + read.err).count("\n") == 1


@pytest.mark.parametrize("write", [print_out, print_err])
def test_what_is_printed_cannot_steer_the_terminal(capsys, write):
    write("[red]1[/] :smile: \x1b[31m\u202e\ud800\nsecond line")
    read = capsys.readouterr()
    assert (read.out + read.err) == "[red]1[/] :smile: \\x1b[31m\\u202e\\ud800\nsecond line\n"
