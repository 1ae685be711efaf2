"""How the commands print: lines, tables, JSON, all of it safe on a terminal."""

import json
import os
import textwrap
from collections.abc import Iterable, Mapping
from typing import Any

from rich.cells import cell_len
from rich.console import Console

from nas_service.cli.table import table
from nas_service.text import metric_label, metric_unit, printable

out = Console(highlight=False, markup=False, emoji=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
NOTHING_FEASIBLE = 3  # exit code


def print_out(text: object = "") -> None:
    """Prints text on stdout; nothing in it can steer the terminal."""
    _print(out, text)


def print_err(text: object) -> None:
    """Prints progress, a note or an error on stderr; nothing in it can steer the terminal."""
    _print(err, text)


def _print(console: Console, text: object) -> None:
    for line in str(text).split("\n"):
        for part in _wrapped(printable(line), width(console)):
            console.print(part)


def _wrapped(line: str, columns: int | None, indent: str = "  ") -> list[str]:
    """A line in as many as it needs, cut between words; as it is where it fits."""
    if columns is None or cell_len(line) <= columns:
        return [line]
    wrapper = textwrap.TextWrapper(columns, subsequent_indent=indent, break_on_hyphens=False)
    wrapper.break_long_words = False  # such as a path
    return wrapper.wrap(line) or [line]


def width(console: Console = out) -> int | None:
    """Characters in a line of the terminal; None where the output is no terminal."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal():
        return int(columns)
    return console.width if console.is_terminal else None


def print_json(document: Any) -> None:
    """One JSON document on stdout. NaN and infinity are refused."""
    print(json.dumps(document, indent=2, allow_nan=False))


def print_aligned(lines: Mapping[str, str]) -> None:
    """Prints values below each other, each after its label."""
    longest = max(map(len, lines), default=0)
    for label, text in lines.items():
        line = f"{label:{longest}s}  {printable(text)}"
        for part in _wrapped(line, width(), " " * (longest + 2)):
            out.print(part)


def print_table(headings: Iterable[str], rows: Iterable[Iterable[object]]) -> None:
    """Prints a table without lines, which is no wider than the terminal.

    Args:
        headings: Of the columns, with a unit after a line end, such as `energy\\nuJ`.
        rows: The cells of each row.
    """
    for line in table(headings, rows, width()):
        out.print(line)


def heading(name: str) -> str:
    """A metric as the heading of a column: its name, and its unit in a line of its own."""
    return f"{metric_label(name)}\n{metric_unit(name)}"
