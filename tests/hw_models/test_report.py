"""Reports: tables whose totals are their sums, stored as JSON, refused when damaged."""

import json

import json_trees
import numpy as np
import pytest

from hw_models import Breakdown, HardwareReport, Layer, ReportError, Workload, load_profile

WORK = Workload(
    (Layer("a", "conv", 3, 8, kernel=3, in_size=1, out_size=1), Layer("b", "linear", 8, 10)), 4
)
REPORT = load_profile("spikesim_rram").estimate(WORK)


def test_sums_by_hand():
    table = Breakdown(("x", "y"), np.array([[1.0, 2.0], [3.0, 4.0], [0.0, 5.0]]))
    assert table.total == 15
    assert table.by_row() == (3, 7, 5)
    assert table.by_component() == {"x": 4, "y": 11}


def test_sums_are_exact():
    """1e16 + 1 + 1 loses both ones when added from the left."""
    assert Breakdown(("x",), np.array([[1e16], [1.0], [1.0]])).total == 1e16 + 2


def test_figures_cannot_be_changed():
    with pytest.raises(ValueError, match="read-only"):
        REPORT.energy_J.values[0, 0] = 0


@pytest.mark.parametrize("values", [[[float("nan")]], [[float("inf")]], [[-1.0]], [[1.0, 2.0]]])
def test_impossible_figures(values):
    with pytest.raises(ReportError):
        Breakdown(("x",), np.array(values))


def test_json_round_trip():
    again = HardwareReport.from_json(json.loads(json.dumps(REPORT.to_json())))
    assert again == REPORT
    assert again.metrics() == REPORT.metrics()


def test_metrics_are_the_totals_in_other_units():
    metrics = REPORT.metrics()
    assert metrics["parameters"] == 3 * 9 * 8 + 80
    assert metrics["memory_KiB"] == (3 * 9 * 8 + 80) / 1024
    assert metrics["crossbars"] == 9 + 1
    assert metrics["energy_uJ"] == pytest.approx(REPORT.energy_J.total * 1e6)


def damaged(path, value):
    return json_trees.changed(REPORT.to_json(), path, value)


DAMAGED = [
    None,
    [],
    "text",
    {},
    damaged(("profile",), ...),
    damaged(("rows",), ...),
    damaged(("energy_J",), ...),
    damaged(("energy_J",), 3),
    damaged(("energy_J", "components"), ["crossbar"]),
    damaged(("energy_J", "components"), []),
    damaged(("energy_J", "values"), [[1.0]]),
    damaged(("energy_J", "values", 0, 0), -1.0),
    damaged(("energy_J", "values", 0, 0), None),
    damaged(("energy_J", "values", 0, 0), "a"),
    damaged(("area_m2", "values", 0, 0), float("inf")),
    damaged(("latency_s", "values"), []),
    damaged(("rows",), ["a"]),
    damaged(("rows",), 3),
    damaged(("warnings",), None),
    damaged(("parameters",), -1),
    damaged(("parameters",), 1.5),
    damaged(("crossbars",), True),
    damaged(("tiles",), "1"),
    damaged(("interval_s",), 0.0),
    damaged(("interval_s",), None),
    damaged(("dense_energy_J",), ...),
    damaged(("mapping",), ...),
    damaged(("mapping", "pes"), [1]),
    damaged(("mapping", "pes"), [1, 0.5]),
    damaged(("mapping", "utilisation"), [1.0, -0.5]),
    damaged(("mapping", "start_s"), [0.0, float("nan")]),
]


@pytest.mark.parametrize("data", DAMAGED, ids=range(len(DAMAGED)))
def test_damaged_reports_are_refused(data):
    with pytest.raises(ReportError):
        HardwareReport.from_json(data)
