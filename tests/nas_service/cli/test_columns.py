"""Tables without lines: what a front looks like in a narrow terminal."""

import re
from pathlib import Path

from nas_service.cli.show import front_headings
from nas_service.cli.terminal import print_columns
from nas_service.study.loading import load_spec

ROOT = Path(__file__).parents[3]


def test_the_readme_shows_a_front_as_a_terminal_of_80_columns_does(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "80")
    spec = load_spec(ROOT / "studies" / "digits.toml")
    metrics = [o.metric for o in spec.objectives] + [c.metric for c in spec.constraints]
    shown = re.search(r"(?<=\n)  .*\ntrial .*\n(?:\d+ .*\n)+", (ROOT / "README.md").read_text())[0]
    count = 3 + len(set(metrics))  # the last cell has spaces of its own
    rows = [line.split(maxsplit=count - 1) for line in shown.splitlines()[2:]]
    print_columns(front_headings(list(dict.fromkeys(metrics))), rows)
    assert capsys.readouterr().out == shown
    assert max(map(len, shown.splitlines())) <= 80


def test_no_cell_is_shortened_or_wrapped(monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "20")
    print_columns(["trial", "area\nmm2"], [["7", "0.5"], ["12", "a long cell of text"]])
    assert capsys.readouterr().out.splitlines() == [
        "      area",
        "trial mm2",
        "7     0.5",
        "12    a long cell of text",
    ]


def test_headings_of_one_word_take_one_line(capsys):
    print_columns(["trial", "parameters"], [["7", "[red]1\x1b"]])
    assert capsys.readouterr().out == "trial parameters\n7     [red]1?\n"
