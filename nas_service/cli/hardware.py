"""The hardware costs of a network on a terminal: each layer, the chip, what was assumed."""

from collections.abc import Iterable

from hw_models import HardwareReport
from hw_models.assumption import Assumption
from nas_service.cli.terminal import print_err, print_out, print_table
from nas_service.text import column

COSTS = {  # of a layer: its heading, and its unit as a multiple of the report's
    "memory_B": ("memory\nKiB", 1 / 1024),
    "area_m2": ("area\nmm2", 1e6),
    "latency_s": ("latency\nms", 1e3),
    "energy_J": ("energy\nuJ", 1e6),
}


def print_hardware(report: HardwareReport) -> None:
    """Prints the costs of each layer as a table, then the chip, what was assumed, and warnings."""
    columns = []
    for name, (_, factor) in COSTS.items():
        costs = getattr(report, name)
        columns.append(column(factor * x for x in (*costs.by_row(), costs.total)))
    names = [*report.rows, "total"]
    headings = (heading for heading, _ in COSTS.values())
    print_table(["layer", *headings], zip(names, *columns, strict=True))
    print_out(f"{report.crossbars} crossbars on {report.tiles} tiles, {report.profile}")
    print_assumed(report.assumed)
    for warning in report.warnings:
        print_err(f"note: {warning}")


def print_assumed(assumed: Iterable[Assumption]) -> None:
    """Prints the figures that a network does not say, one a line."""
    for assumption in assumed:
        print_out(f"assumed: {assumption.text}")
