"""What the commands share: consoles, options, and how numbers look on a terminal."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from hw_models import HardwareReport
from nas_service.metrics import Evaluation, decimals, measure
from nas_service.spaces.operations import BACK
from nas_service.store.store import Store
from nas_service.worker.telemetry import LOG_FORMATS, LOOPBACK

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)
NOTHING_FEASIBLE = 3  # exit code
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def plain(text: object) -> str:
    """Text that cannot steer a terminal."""
    return CONTROL.sub("?", str(text))


def options(*names: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    known = {
        "storage": click.option("--storage", help="Database URL; else NAS_STORAGE, else ./nas.db."),
        "any_disk": click.option(
            "--any-disk", is_flag=True, help="Allow SQLite on a network disk."
        ),
        "data": click.option(
            "--data",
            type=click.Path(path_type=Path, file_okay=False),
            envvar="NAS_DATA",
            default=Path("data"),
            show_default=True,
            help="Folder of data sets.",
        ),
        "workers": click.option("--workers", type=click.IntRange(1, 256), help="Local processes."),
        "trials": click.option("--trials", type=click.IntRange(1, 10**6), help="Trainings in all."),
        "log_format": click.option(
            "--log-format",
            type=click.Choice(LOG_FORMATS),
            default="text",
            show_default=True,
            help="Logs on stderr: sentences, or a JSON object a line.",
        ),
        "log_level": click.option(
            "--log-level",
            type=click.Choice(("debug", "info", "warning", "error")),
            default="warning",
            show_default=True,
            help="What is logged.",
        ),
        "metrics_port": click.option(
            "--metrics-port",
            type=click.IntRange(0, 65535),
            help="Serve figures for Prometheus here; 0 takes a free port.",
        ),
        "metrics_host": click.option(
            "--metrics-host",
            default=LOOPBACK,
            show_default=True,
            help="Address that figures are served at; there is no login.",
        ),
        "json": click.option("--json", "as_json", is_flag=True, help="One JSON document."),
    }

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        for name in reversed(names):
            function = known[name](function)
        return function

    return decorate


def closed_at_end(store: Store) -> Store:
    """The store, which lets go of its connections when the command ends."""
    click.get_current_context().call_on_close(store.close)
    return store


def print_json(document: Any) -> None:
    print(json.dumps(document, indent=2, allow_nan=False))


def heading(metric: str) -> str:
    return metric.replace("_", " ")


def number(metric: str, value: float | None) -> str:
    return "-" if value is None else f"{value:.{decimals(metric)}f}"


def print_candidate(evaluation: Evaluation, names: tuple[str, ...]) -> None:
    """Architecture, its cells as text in these operations, all metrics, hardware by layers."""
    out.print_json(json.dumps(evaluation.architecture.to_json()))
    known = {o.removeprefix(BACK) for c in evaluation.architecture.cells for o in c.operations}
    if known <= set(names[:10]):
        digits = ", ".join(f"{i} {name}" for i, name in enumerate(names[:10]))
        for k, one in enumerate(evaluation.architecture.cells):
            out.print(f"cell {k}: {one.text(names)}   ({digits})", markup=False)
    if len(evaluation.curve) > 1:
        curve = ", ".join(f"{number('accuracy', a)} after {n}" for n, a in evaluation.curve)
        out.print(f"{'by epochs':14s} {curve}", markup=False)
    for metric, value in measure(evaluation).items():
        out.print(f"{heading(metric):14s} {number(metric, value)}", markup=False)
    print_hardware(evaluation.hardware)


def print_hardware(report: HardwareReport) -> None:
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
    for warning in report.warnings:
        err.print(f"note: {warning}", markup=False)
