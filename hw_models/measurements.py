"""Measured networks: what a chip took for them, read from a CSV file."""

import csv
import difflib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hw_models.errors import CalibrationError
from hw_models.parameters import CHOICES, DEFECTS, SCHEMA
from hw_models.workload import Workload

METRICS = {"energy_uJ": 1e6, "latency_ms": 1e3, "area_mm2": 1e6}  # and their factor from SI
SETTINGS = {*SCHEMA, *CHOICES, *DEFECTS}  # columns that set the chip of one measurement


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
            settings of the chip.

    Returns:
        One measurement per line.

    Raises:
        CalibrationError: Naming file, line and column.
    """
    rows, columns = _rows(path)
    if not rows:
        raise CalibrationError(f"{path}: no measurement")
    if None in rows[0]:
        raise CalibrationError(f"{path}, line 2: as many fields as the first line has are needed")
    if twice := sorted({c for c in columns if columns.count(c) > 1}):
        raise CalibrationError(f"{path}: columns {', '.join(twice)} are given twice")
    for column in rows[0]:
        _check_column(str(column), path)
    if "workload" not in rows[0] or not set(METRICS) & set(rows[0]):
        raise CalibrationError(f"{path}: columns workload and one of {', '.join(METRICS)}")
    return [_measurement(row, f"{path}, line {i + 2}", path.parent) for i, row in enumerate(rows)]


def _rows(path: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """Lines of a CSV file by column, and the columns of its first line."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            return list(reader), list(reader.fieldnames or ())
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CalibrationError(f"{path}: cannot be read ({error})") from error


def _check_column(name: str, path: Path) -> None:
    known = {"name", "workload", "spike_rate", *METRICS, *(f"{m}_sd" for m in METRICS), *SETTINGS}
    if name not in known:
        near = difflib.get_close_matches(name, sorted(known), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        raise CalibrationError(f"{path}: unknown column {name!r:.60}{hint}")


def _measurement(row: Mapping[str, Any], where: str, folder: Path) -> Measurement:
    if None in row or None in row.values():
        raise CalibrationError(f"{where}: as many fields as the first line has are needed")
    filled = {key: value.strip() for key, value in row.items() if value.strip()}
    if "workload" not in filled:
        raise CalibrationError(f"{where}: workload: the path of a layer list is needed")
    layer_list = folder / filled["workload"]
    workload = _workload(layer_list, filled.get("spike_rate"), where)
    values = {m: _positive(filled[m], f"{where}: {m}") for m in METRICS if m in filled}
    if not values:
        raise CalibrationError(f"{where}: one of {', '.join(METRICS)} is needed")
    deviations = {
        m: _positive(filled[f"{m}_sd"], f"{where}: {m}_sd") for m in METRICS if f"{m}_sd" in filled
    }
    settings = {key: value for key, value in filled.items() if key in SETTINGS}
    name = filled.get("name", layer_list.name)
    return Measurement(name, workload, settings, values, deviations)


def _workload(layer_list: Path, spike_rate: str | None, where: str) -> Workload:
    try:
        workload = Workload.from_json(json.loads(layer_list.read_text(encoding="utf-8")))
        if spike_rate is None:
            return workload
        return workload.at_rate(_positive(spike_rate, f"{where}: spike_rate"))
    except (OSError, ValueError, RecursionError) as error:
        raise CalibrationError(f"{where}: workload {layer_list}: {error}") from error


def _positive(text: str, where: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        raise CalibrationError(f"{where} = {text!r:.60}: a number > 0 is needed")
    return number
