"""Tables of a terminal: no lines, numbers to the right, no wider than the terminal."""

import itertools
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from rich.cells import cell_len

from nas_service.text import MISSING, printable

GAP = "  "  # between two columns
TEXT = 16  # least width of a column whose text takes several lines
NUMBER = re.compile(r"[-+]?[\d.,]+(e-?\d+)?( ?%| !)?|[-+]?inf|nan|-|")


class Column(NamedTuple):
    """One column as it is printed."""

    heading: list[str]
    cells: list[list[str]]  # the lines of each
    width: int
    to_the_right: bool

    def line(self, text: str) -> str:
        """A line of a cell, as wide as the column."""
        space = " " * (self.width - cell_len(text))
        return space + text if self.to_the_right else text + space


def table(
    headings: Iterable[str], rows: Iterable[Iterable[object]], width: int | None = None
) -> Iterator[str]:
    """The lines of a table. No cell and no heading is cut.

    A heading takes as many lines as keep its column narrow. Where the columns do not fit the width,
    text in the last one takes several lines, or columns are printed below the others, after the
    first column once more.

    Args:
        headings: One for each column; the text after a line end, such as a unit, has its own line.
        rows: The cells of each row. A column of numbers is aligned to the right.
        width: Of the terminal, in characters; None for any.

    Yields:
        Each line, without spaces at its end.
    """
    cells = [[printable(cell) for cell in row] for row in rows]
    columns = [_column(name, [row[n] for row in cells]) for n, name in enumerate(headings)]
    if width is not None:
        columns = _narrowed(columns, width)
    for n, block in enumerate(_blocks(columns, width)):
        if n:
            yield ""
        yield from _lines(block)


def _column(heading: str, cells: list[str]) -> Column:
    are_numbers = all(map(NUMBER.fullmatch, cells)) and not {"", MISSING}.issuperset(cells)
    widest = max(map(cell_len, cells), default=0)
    words, _, unit = heading.partition("\n")
    least = max(widest, *(cell_len(word) for word in (*words.split(), unit)))
    lines = [*_wrapped(words, least), *([unit] if unit else [])]
    return Column(lines, [[cell] for cell in cells], least, are_numbers)


def _wrapped(words: str, width: int) -> list[str]:
    """The words in lines of this width; a longer word has a line of its own."""
    lines: list[str] = []
    for word in printable(words).split():
        if lines and cell_len(lines[-1]) + 1 + cell_len(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _taken(columns: Sequence[Column]) -> int:
    """The width of columns with the gap after each."""
    return sum(len(GAP) + column.width for column in columns)


def _narrowed(columns: list[Column], width: int) -> list[Column]:
    """The columns with the text of the last one in several lines, where that makes them fit."""
    *others, last = columns
    left = width - _taken(others)
    if last.to_the_right or last.width <= left or left < TEXT:
        return columns
    cells = [_wrapped(text, left) or [""] for (text,) in last.cells]
    widest = max(cell_len(line) for lines in [last.heading, *cells] for line in lines)
    return columns if widest > left else [*others, last._replace(cells=cells, width=widest)]


def _blocks(columns: Sequence[Column], width: int | None) -> Iterator[list[Column]]:
    """The columns in groups that fit the width; each begins with the first column."""
    block: list[Column] = []
    for column in columns:
        if width is not None and len(block) > 1 and _taken(block) + column.width > width:
            yield block
            block = [columns[0]]
        block.append(column)
    yield block


def _lines(columns: Sequence[Column]) -> Iterator[str]:
    upward = itertools.zip_longest(*(c.heading[::-1] for c in columns), fillvalue="")
    heading = [line for line in [*upward][::-1] if any(line)]
    cells = (
        itertools.zip_longest(*row, fillvalue="")
        for row in zip(*(c.cells for c in columns), strict=True)
    )
    for line in itertools.chain(heading, *cells):
        yield GAP.join(c.line(text) for c, text in zip(columns, line, strict=True)).rstrip()
