"""What all benchmarks share: their options, clocks, tables, and figures with their spread."""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from nas_service.statistics import mean
from nas_service.worker.training_process.client import WORKER_ENVIRONMENT


def parser(description: str | None) -> argparse.ArgumentParser:
    """The options of a script, with `--json`; its help is the script's own docstring."""
    options = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_json(options)
    return options


def add_json(options: argparse.ArgumentParser) -> None:
    """Adds the option `--json`."""
    options.add_argument("--json", action="store_true", help="one JSON document for scripts")


def use_worker_environment() -> None:
    """Starts the script anew unless it has the environment of the service's workers.

    The allocator then keeps freed memory, as it does in a worker.
    """
    if any(os.environ.get(name) != value for name, value in WORKER_ENVIRONMENT.items()):
        environment = {**os.environ, **WORKER_ENVIRONMENT}
        os.execve(sys.executable, [sys.executable, *sys.argv], environment)  # noqa: S606


def seconds(act: Callable[[], object], clock: Callable[[], float] = time.process_time) -> float:
    """Seconds of one call by a clock; by default CPU seconds of this process."""
    start = clock()
    act()
    return clock() - start


def show(document: Any, as_json: bool, lines: Callable[[], Iterable[str]]) -> None:
    """Prints the document as JSON, or the lines for people."""
    for line in [json.dumps(document, indent=2)] if as_json else lines():
        print(line)


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> list[str]:
    """Lines of a table: the first column to the left, the others to the right."""
    cells = [list(headings), *([str(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return ["  ".join(_aligned(row, widths)).rstrip() for row in cells]


def figures(rows: Sequence[dict[str, Any]]) -> list[str]:
    """Lines of a table, with the keys of the rows as headings."""
    return table(list(rows[0]), [[figure(value) for value in row.values()] for row in rows])


def pairs(document: dict[str, Any]) -> list[str]:
    """Lines of a key and its value."""
    width = max(map(len, document))
    return [f"{key:{width}s}  {rounded(value)}" for key, value in document.items()]


def figure(value: Any) -> str:
    """A number to four digits, also a whole one; anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float | int) else str(value)


def rounded(value: Any) -> str:
    """A number to four digits, anything else as it is."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _aligned(row: Sequence[str], widths: Sequence[int]) -> list[str]:
    first, *others = zip(row, widths, strict=True)
    return [first[0].ljust(first[1]), *(cell.rjust(width) for cell, width in others)]


def median(values: Iterable[float], digits: int = 3) -> str:
    """`median [least .. most]`."""
    return span(extremes(values), digits)


def extremes(values: Iterable[float]) -> list[float]:
    """[median, least, most]."""
    known = sorted(values)
    return [statistics.median(known), known[0], known[-1]]


def quartiles(values: Sequence[float]) -> list[float]:
    """[median, first quartile, third quartile]."""
    return [float(q) for q in np.quantile(values, (0.5, 0.25, 0.75))]


def span(figures: Sequence[float], digits: int = 3) -> str:
    """`middle [low .. high]` of three figures."""
    middle, low, high = figures
    return f"{middle:.{digits}f} [{low:.{digits}f} .. {high:.{digits}f}]"


def difference(own: Sequence[float], other: Sequence[float]) -> list[float] | None:
    """Mean of paired differences with its 95 % interval (Student's t); None for fewer than two.

    Returns:
        [mean, low, high].
    """
    interval = mean([a - b for a, b in zip(own, other, strict=True)]) if len(own) > 1 else None
    return None if interval is None else [interval.value, interval.low, interval.high]


def interval(values: Sequence[float] | None, digits: int = 3) -> str:
    """`mean (low .. high)`; empty for None."""
    if values is None:
        return ""
    value, low, high = values
    return f"{value:+.{digits}f} ({low:+.{digits}f} .. {high:+.{digits}f})"


def numbers(text: str) -> tuple[int, ...]:
    """Whole numbers of a list `1,2,3`."""
    return tuple(int(part) for part in text.split(",") if part)
