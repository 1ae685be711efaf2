"""How the commands print: lines, tables, JSON, all of it safe on a terminal."""

import json
import os
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.cells import cell_len
from rich.console import Console

from nas_service.cli.table import table
from nas_service.cli.verbosity import Verbosity, verbosity
from nas_service.text import metric_label, metric_unit, printable


def console(stderr: bool = False) -> Console:
    """A console that takes text as it is, and uses no colour where NO_COLOR is set."""
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)


out, err = console(), console(stderr=True)
NOTHING_FEASIBLE = 3  # exit code


def print_out(text: object = "") -> None:
    """Prints text on stdout; nothing in it can steer the terminal."""
    _print(out, text)


def print_err(text: object) -> None:
    """Prints progress or a note on stderr, unless --quiet is given."""
    if verbosity() is not Verbosity.QUIET:
        _print(err, text)


def print_error(text: object) -> None:
    """Prints on stderr what a user has to read: an error, or what a question is about."""
    _print(err, text)


def print_detail(text: object) -> None:
    """Prints on stderr what the program does, where --verbose is given."""
    if verbosity() is Verbosity.VERBOSE:
        _print(err, text)


def _print(to: Console, text: object) -> None:
    for line in str(text).split("\n"):
        for part in wrapped(printable(line), width(to)):
            to.print(part)


def wrapped(line: str, columns: int | None, indent: str = "  ") -> list[str]:
    """A line in as many as it needs, cut between words.

    Args:
        line: The text.
        columns: Width of the terminal; None for any.
        indent: Before each further line.

    Returns:
        The lines; the line as it is where it fits.
    """
    if columns is None or cell_len(line) <= columns:
        return [line]
    wrapper = textwrap.TextWrapper(columns, subsequent_indent=indent, break_on_hyphens=False)
    wrapper.break_long_words = False  # such as a path
    return wrapper.wrap(line) or [line]


def width(of: Console = out) -> int | None:
    """Characters in a line of the terminal; None where the output is no terminal."""
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal():
        return int(columns)
    return of.width if of.is_terminal else None


def can_redraw(of: Console = out) -> bool:
    """True where lines that were printed can be replaced: on a terminal that is not dumb."""
    return of.is_terminal and of.is_interactive


def print_json(document: Any) -> None:
    """One JSON document on stdout. NaN and infinity are refused."""
    print(json.dumps(document, indent=2, allow_nan=False))


def print_aligned(lines: Mapping[str, str]) -> None:
    """Prints values below each other, each after its label."""
    for line in aligned(lines):
        out.print(line)


def aligned(lines: Mapping[str, str]) -> Iterator[str]:
    """Values below each other, each after its label, in lines that fit the terminal."""
    longest = max(map(len, lines), default=0)
    for label, text in lines.items():
        line = f"{label:{longest}s}  {printable(text)}"
        yield from wrapped(line, width(), " " * (longest + 2))


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
