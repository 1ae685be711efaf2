"""A table as HTML that a notebook shows; every text in it is escaped."""

from collections.abc import Iterable, Sequence
from html import escape

STYLE = "text-align: right; padding: 0 0 0 1.5em; font-variant-numeric: tabular-nums"
FIRST = "text-align: left"


def html_table(head: Sequence[str], rows: Iterable[Sequence[str]], caption: str = "") -> str:
    """A table with a left-aligned first column.

    Args:
        head: Names of the columns.
        rows: Cells as plain text, row by row.
        caption: Title above the table.

    Returns:
        HTML without scripts or style sheets.
    """
    title = f'<caption style="{FIRST}">{escape(caption)}</caption>' if caption else ""
    body = "".join(f"<tr>{_cells('td', row)}</tr>" for row in rows)
    return (
        f"<table>{title}<thead><tr>{_cells('th', head)}</tr></thead><tbody>{body}</tbody></table>"
    )


def _cells(tag: str, texts: Sequence[str]) -> str:
    styles = (FIRST, *[STYLE] * (len(texts) - 1))
    return "".join(
        f'<{tag} style="{style}">{escape(str(text))}</{tag}>'
        for style, text in zip(styles, texts, strict=True)
    )
