"""CSV tables as spreadsheets write them: with `,`, `;` or tabs, decimal points or commas."""

import csv
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hw_models.errors import FileError
from hw_models.files.text_file import read_text

SEPARATORS = {",": "commas", ";": "semicolons", "\t": "tabs"}
COMMENT = "#"
DIRECTIVE = re.compile(r'"?sep=([,;\t])"?')  # of Excel, in front of the header
DECIMAL_COMMA = re.compile(r"[+-]?[0-9]*,[0-9]+(?:[eE][+-]?[0-9]+)?")
THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")


@dataclass(frozen=True)
class Row:
    """A line of a table.

    Args:
        line: Number of the line, from 1, with blank lines and comments.
        place: File and line, for messages.
        cells: Text by column; blank cells are left out.
    """

    line: int
    place: str
    cells: dict[str, str]


@dataclass(frozen=True)
class CsvTable:
    """The rows of a CSV file.

    Args:
        columns: In the order of the file.
        rows: Without blank lines and comments.
        separator: Between two cells.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    separator: str

    def with_decimal_points(self, columns: Collection[str]) -> "CsvTable":
        """The same table with decimal commas replaced by points.

        Args:
            columns: Those that hold numbers.

        Returns:
            The table; this one where no commas are to be replaced.

        Raises:
            FileError: Commas may separate thousands, or the table has both commas and points.
        """
        cells = [(row.place, c, t) for row in self.rows for c, t in row.cells.items()]
        commas = [cell for cell in cells if cell[1] in columns and "," in cell[2]]
        points = [cell for cell in cells if cell[1] in columns and "." in cell[2]]
        if not commas:
            return self
        place, column, text = commas[0]
        if points:
            raise FileError(
                f"{place}: {column} = {text!r:.60}, but {points[0][1]} = {points[0][2]!r:.60} "
                "elsewhere: decimal points only, without separators of thousands, are needed"
            )
        if self.separator != ";" and all(THOUSANDS.fullmatch(text) for _, _, text in commas):
            raise FileError(
                f"{place}: {column} = {text!r:.60}: a decimal comma or a separator of thousands? "
                "A decimal point is needed"
            )
        return replace(self, rows=tuple(_with_points(row, columns) for row in self.rows))


def _with_points(row: Row, columns: Collection[str]) -> Row:
    return replace(
        row,
        cells={
            column: text.replace(",", ".")
            if column in columns and DECIMAL_COMMA.fullmatch(text)
            else text
            for column, text in row.cells.items()
        },
    )


def read_table(path: Path) -> CsvTable:
    """Reads a CSV file. Its first line names the columns; lines that begin with # are comments.

    Args:
        path: The file, in any encoding and with any line ends that `read_text` knows.

    Returns:
        The table, with the text of every cell.

    Raises:
        FileError: The file cannot be read, has no header, or a line with other columns than it.
    """
    lines = [
        (number, line)
        for number, line in enumerate(read_text(path).split("\n"), 1)
        if line.strip() and not line.lstrip().startswith(COMMENT)
    ]
    directive = DIRECTIVE.fullmatch(lines[0][1].strip()) if lines else None
    if directive:
        del lines[0]
    if not lines:
        raise FileError(f"{path}: no line with the names of the columns")
    header = f"{path}: line {lines[0][0]}"
    separator = directive[1] if directive else _separator(lines[0][1], header)
    columns = _cells(lines[0][1], separator, header)
    named = [column for column in columns if column]
    if twice := sorted({column for column in named if named.count(column) > 1}):
        raise FileError(f"{header}: columns {', '.join(twice)} are given twice")
    rows = (
        Row(n, f"{path}: line {n}", _by_column(line, f"{path}: line {n}", columns, separator))
        for n, line in lines[1:]
    )
    return CsvTable(tuple(named), tuple(row for row in rows if row.cells), separator)


def _separator(header: str, where: str) -> str:
    """What separates the names of columns, which hold no separators themselves."""
    used = [separator for separator in SEPARATORS if separator in header]
    if len(used) > 1:
        names = " and ".join(SEPARATORS[separator] for separator in used)
        raise FileError(f"{where}: {names} between the columns: one of them is needed")
    return used[0] if used else ","


def _cells(line: str, separator: str, where: str) -> list[str]:
    try:
        cells = next(csv.reader([line], delimiter=separator, strict=True))
    except csv.Error:
        raise FileError(
            f'{where}: {line!r:.60}: a cell in quotes needs " at its end, on the same line'
        ) from None
    return [cell.strip() for cell in cells]


def _by_column(line: str, place: str, columns: Sequence[str], separator: str) -> dict[str, str]:
    cells = _cells(line, separator, place)
    if len(cells) != len(columns):
        comma = separator == "," and len(cells) > len(columns)
        hint = " (for decimal commas, separate the columns by semicolons)" if comma else ""
        raise FileError(f"{place}: {len(columns)} cells are needed, not {len(cells)}{hint}")
    pairs = list(zip(columns, cells, strict=True))
    if stray := [cell for column, cell in pairs if cell and not column]:
        raise FileError(f"{place}: {stray[0]!r:.60} is in a column without a name")
    return {column: cell for column, cell in pairs if cell}
