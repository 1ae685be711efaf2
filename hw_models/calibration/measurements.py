"""Measured networks: what a chip took for them, read from a CSV file."""

import difflib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hw_models.assumption import Assumption
from hw_models.errors import CalibrationError, FileError, WorkloadError
from hw_models.files.csv_table import Row, read_table
from hw_models.files.numerals import parse_number
from hw_models.network import Network, read_layer_list
from hw_models.parameters import CHOICES, DEFECTS, SCHEMA
from hw_models.workload import Workload

METRICS = {"energy_uJ": 1e6, "latency_ms": 1e3, "area_mm2": 1e6}  # and their factor from SI
SETTINGS = {*SCHEMA, *CHOICES, *DEFECTS}  # columns that set the chip of one measurement
NUMBERS = {"spike_rate", *METRICS, *(f"{metric}_sd" for metric in METRICS), *SCHEMA}  # columns


@dataclass(frozen=True)
class Measurement:
    """One measured network on the chip.

    Args:
        name: To be named in messages and residuals.
        workload: Its layers.
        settings: Settings of the chip in this measurement, where they differ from the profile.
        values: metric of METRICS -> measured value, in the metric's unit.
        deviations: metric -> standard deviation in the same unit, where it is known.
        assumed: Figures that neither the network nor the measurement says.
        line: File and line it comes from, for messages; empty for none.
    """

    name: str
    workload: Workload
    settings: Mapping[str, Any]
    values: Mapping[str, float]
    deviations: Mapping[str, float]
    assumed: tuple[Assumption, ...] = ()
    line: str = ""

    @property
    def place(self) -> str:
        """What messages call it: its file and line, else its name."""
        return self.line or f"measurement {self.name}"


def read_measurements(
    path: Path, read: Callable[[Path], Network] = read_layer_list
) -> list[Measurement]:
    """Measurements of a CSV file, one a line.

    Args:
        path: A file with a column `workload` (path of a network, from the file's folder), at
            least one of METRICS, and as wanted `name`, `spike_rate`, METRICS with `_sd`, and
            settings of the chip. It may be as a spreadsheet writes it, see `read_table`.
        read: Reads a network from its file; by default a layer list.

    Returns:
        One measurement per line.

    Raises:
        CalibrationError: Naming file, line and column.
    """
    try:
        table = read_table(path)
        for column in table.columns:
            _check_column(column, path)
        if "workload" not in table.columns or not set(METRICS) & set(table.columns):
            right = f"columns workload and one of {', '.join(METRICS)} are needed"
            raise CalibrationError(f"{path}: {right}, separated by , or ; or tabs")
        rows = table.with_decimal_points(NUMBERS).rows
    except FileError as error:
        raise CalibrationError(str(error)) from None
    if not rows:
        raise CalibrationError(f"{path}: no measurement: a line for each is needed")
    measurements = [_measurement(row, path.parent, read) for row in rows]
    count = Counter(m.name for m in measurements)
    return [
        replace(m, name=f"{m.name}, line {row.line}") if count[m.name] > 1 else m
        for m, row in zip(measurements, rows, strict=True)
    ]


def _check_column(name: str, path: Path) -> None:
    known = {"name", "workload", *NUMBERS, *SETTINGS}
    if name not in known:
        near = difflib.get_close_matches(name, sorted(known), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        columns = ", ".join(sorted(known - SETTINGS))
        raise CalibrationError(
            f"{path}: unknown column {name!r:.60}{hint} (known: {columns}, and settings of a chip)"
        )


def _measurement(row: Row, folder: Path, read: Callable[[Path], Network]) -> Measurement:
    cells, where = row.cells, row.place
    if "workload" not in cells:
        raise CalibrationError(f"{where}: workload: the path of a layer list is needed")
    file = folder / cells["workload"]
    network = _network(file, cells.get("spike_rate"), read, where)
    values = {m: _positive(cells[m], f"{where}: {m}") for m in METRICS if m in cells}
    if not values:
        raise CalibrationError(f"{where}: one of {', '.join(METRICS)} is needed")
    deviations = {
        m: _positive(cells[f"{m}_sd"], f"{where}: {m}_sd") for m in METRICS if f"{m}_sd" in cells
    }
    if alone := sorted(deviations.keys() - values.keys()):
        raise CalibrationError(f"{where}: {alone[0]}_sd: {alone[0]} itself is needed too")
    own = {key: value for key, value in cells.items() if key in SETTINGS}
    settings = {**network.chip, **own}
    name = cells.get("name", file.name)
    return Measurement(name, network.workload, settings, values, deviations, network.assumed, where)


def _network(
    file: Path, spike_rate: str | None, read: Callable[[Path], Network], where: str
) -> Network:
    try:
        network = read(file)
    except FileError as error:
        raise CalibrationError(f"{where}: workload: {error}") from None
    except WorkloadError as error:
        named = "" if str(error).startswith(str(file)) else f" {file}"
        raise CalibrationError(f"{where}: workload{named}: {error}") from None
    if spike_rate is None:
        return network
    workload = network.workload.at_rate(_share(spike_rate, where))
    assumed = tuple(x for x in network.assumed if x.figure != "spike_rate")
    return replace(network, workload=workload, assumed=assumed)


def _share(text: str, where: str) -> float:
    number = parse_number(text)
    if number is None or not 0 <= number <= 1:
        raise CalibrationError(f"{where}: spike_rate = {text!r:.60}: a number 0..1 is needed")
    return number


def _positive(text: str, where: str) -> float:
    number = parse_number(text)
    if number is None or number <= 0:
        raise CalibrationError(f"{where} = {text!r:.60}: a number > 0 is needed")
    return number
