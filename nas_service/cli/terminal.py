"""What is printed: consoles, text that is safe on a terminal, numbers with their units."""

import json
import re
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from nas_service.metrics import Evaluation, measure, written
from nas_service.spaces.operations import BACK

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from hw_models import HardwareReport
    from hw_models.assumption import Assumption

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
NOTHING_FEASIBLE = 3  # exit code
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
DIGITS = 10  # operations that have a digit of their own in the text of a cell


def plain(text: object) -> str:
    """The text with `?` for every character that is none or could steer a terminal."""
    return CONTROL.sub("?", str(text))


def print_json(document: Any) -> None:
    """One JSON document on stdout. NaN and infinity are refused."""
    print(json.dumps(document, indent=2, allow_nan=False))


def print_aligned(lines: dict[str, str]) -> None:
    """Prints values below each other, each after its label."""
    width = max(map(len, lines), default=0)
    for label, text in lines.items():
        out.print(f"{label:{width}s}  {plain(text)}", markup=False)


def print_columns(headings: "Iterable[str]", rows: "Iterable[Iterable[str]]") -> None:
    """Prints a table without lines; no cell is shortened, however narrow the terminal is.

    Args:
        headings: Of the columns, in one line or two.
        rows: The cells of each row.
    """
    parts = [name.rpartition("\n") for name in headings]
    first, second = [name for name, _, _ in parts], [last for _, _, last in parts]
    cells = [*([first] if any(first) else []), second, *map(list, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        line = " ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        out.print(plain(line.rstrip()), markup=False)


def heading(metric: str) -> str:
    """A metric's name as the head of a column."""
    return metric.replace("_", " ")


def number(metric: str, value: float | None) -> str:
    """A value with the decimals that its metric deserves; a dash for a missing one."""
    return written(metric, value)


def print_candidate(
    evaluation: Evaluation,
    operations: tuple[str, ...],
    stored: "Mapping[str, float] | None" = None,
) -> None:
    """Prints an architecture, its cells, all metrics, and the hardware costs of each layer.

    Args:
        evaluation: What is known of the candidate.
        operations: Names of the space's operations; the text of a cell numbers them.
        stored: Metrics of the candidate in its store.
    """
    out.print_json(json.dumps(evaluation.architecture.to_json()))
    _print_cells(evaluation, operations)
    lines = {}
    if len(evaluation.curve) > 1:
        points = (f"{number('accuracy', a)} after {n}" for n, a in evaluation.curve)
        lines["by epochs"] = ", ".join(points)
    metrics = {**measure(evaluation), **(stored or {})}.items()
    print_aligned(lines | {heading(name): number(name, value) for name, value in metrics})
    print_hardware(evaluation.hardware)


def _print_cells(evaluation: Evaluation, operations: tuple[str, ...]) -> None:
    cells, batch_of_numbers = evaluation.architecture.cells, operations[:DIGITS]
    if not {o.removeprefix(BACK) for c in cells for o in c.operations} <= set(batch_of_numbers):
        return
    key = ", ".join(f"{i} {name}" for i, name in enumerate(batch_of_numbers))
    for k, cell in enumerate(cells):
        out.print(f"cell {k}: {cell.text(operations)}   ({key})", markup=False)


def print_hardware(report: "HardwareReport") -> None:
    """Prints the costs of each layer as a table, then the chip, what was assumed, and warnings."""
    units = {"memory_B": 1.0, "area_m2": 1e6, "latency_s": 1e3, "energy_J": 1e6}
    table = Table("layer", "memory B", "area mm2", "latency ms", "energy uJ")
    columns = [getattr(report, name).by_row() for name in units]
    for i, row in enumerate(report.rows):
        values = zip(columns, units.values(), strict=True)
        table.add_row(plain(row), *(f"{c[i] * f:.4g}" for c, f in values))
    totals = ((getattr(report, name).total, factor) for name, factor in units.items())
    table.add_row("total", *(f"{t * f:.4g}" for t, f in totals), style="bold")
    out.print(table)
    out.print(f"{report.crossbars} crossbars on {report.tiles} tiles, {report.profile}")
    print_assumed(report.assumed)
    for warning in report.warnings:
        err.print(f"note: {plain(warning)}", markup=False)


def print_assumed(assumed: "Iterable[Assumption]") -> None:
    """Prints the figures that a network does not say, one a line."""
    for assumption in assumed:
        out.print(f"assumed: {plain(assumption.text)}", markup=False)
