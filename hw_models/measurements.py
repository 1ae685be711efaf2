"""Measured networks: what a chip took for them, read from a CSV file."""

import difflib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hw_models.csv_table import Row, read_table
from hw_models.errors import CalibrationError, FileError, WorkloadError
from hw_models.json_file import read_json
from hw_models.numerals import parse_number
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
    """

    name: str
    workload: Workload
    settings: Mapping[str, str]
    values: Mapping[str, float]
    deviations: Mapping[str, float]


def read_measurements(path: Path) -> list[Measurement]:
    """Measurements of a CSV file, one a line.

    Args:
        path: A file with a column `workload` (path of a layer list, from the file's folder), at
            least one of METRICS, and as wanted `name`, `spike_rate`, METRICS with `_sd`, and
            settings of the chip. It may be as a spreadsheet writes it, see `read_table`.

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
    measurements = [_measurement(row, path.parent) for row in rows]
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
        raise CalibrationError(f"{path}: unknown column {name!r:.60}{hint}")


def _measurement(row: Row, folder: Path) -> Measurement:
    cells, where = row.cells, row.place
    if "workload" not in cells:
        raise CalibrationError(f"{where}: workload: the path of a layer list is needed")
    layer_list = folder / cells["workload"]
    workload = _workload(layer_list, cells.get("spike_rate"), where)
    values = {m: _positive(cells[m], f"{where}: {m}") for m in METRICS if m in cells}
    if not values:
        raise CalibrationError(f"{where}: one of {', '.join(METRICS)} is needed")
    deviations = {
        m: _positive(cells[f"{m}_sd"], f"{where}: {m}_sd") for m in METRICS if f"{m}_sd" in cells
    }
    if alone := sorted(deviations.keys() - values.keys()):
        raise CalibrationError(f"{where}: {alone[0]}_sd: {alone[0]} itself is needed too")
    settings = {key: value for key, value in cells.items() if key in SETTINGS}
    name = cells.get("name", layer_list.name)
    return Measurement(name, workload, settings, values, deviations)


def _workload(layer_list: Path, spike_rate: str | None, where: str) -> Workload:
    try:
        workload = Workload.from_json(read_json(layer_list))
    except FileError as error:
        raise CalibrationError(f"{where}: workload: {error}") from None
    except WorkloadError as error:
        raise CalibrationError(f"{where}: workload {layer_list}: {error}") from None
    return workload if spike_rate is None else workload.at_rate(_share(spike_rate, where))


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
