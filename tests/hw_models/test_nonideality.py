"""Cells of real arrays: slices by hand, an ideal chip is exact, each fault by hand."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hw_models import HardwareError, load_profile
from hw_models.nonideality import Cells, merge, off_steps, slices, tile_rows

IDEAL = {"conductance_spread": 0, "off_resistance": 1e9}


def chip(**changes):
    return load_profile("corrected").with_values({**IDEAL, **changes}).chip


def held(cells, draws=1, seed=0):
    return cells.conductances(np.random.default_rng(seed), draws)


def test_slices_by_hand():
    """-5 of 4 bits in a pair of 1-bit cells: 101 on the negative side; as offset 3 = 0011."""
    weights = np.array([[[-5]]])
    pair = Cells.of(weights, 4, chip())
    assert pair.levels[0, 0, 0].tolist() == [[0, 1], [0, 0], [0, 1]]
    assert merge(4, chip()).tolist() == [[1, -1], [2, -2], [4, -4]]
    offset = Cells.of(weights, 4, chip(sign="offset"))
    assert offset.levels[0, 0, 0, :, 0].tolist() == [1, 1, 0, 0]
    wide = Cells.of(weights, 4, chip(bits_per_cell=2))
    assert wide.levels[0, 0, 0].tolist() == [[0, 1], [0, 1]]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(2, 8), st.integers(1, 8), st.sampled_from(["differential", "offset"]), st.data())
def test_an_ideal_chip_holds_the_integers(bits, per_cell, sign, data):
    largest = 2 ** (bits - 1) - 1
    values = data.draw(st.lists(st.integers(-largest, largest), min_size=1, max_size=9))
    weights = np.array(values)[:, None, None]
    c = chip(bits_per_cell=per_cell, sign=sign)
    cells = Cells.of(weights, bits, c)
    assert cells.levels.shape[3] == slices(bits, c)
    assert 0 <= cells.levels.min() <= cells.levels.max() < 2**per_cell
    assert cells.weights(held(cells))[0] == pytest.approx(weights, abs=1e-3)


def test_a_pair_cancels_what_off_cells_conduct():
    """On/off ratio 10: an off cell is a ninth of a step, on both sides of every pair."""
    c = chip(off_resistance=200)
    assert off_steps(c) == pytest.approx(1 / 9)
    cells = Cells.of(np.arange(-7, 8)[:, None, None], 4, c)
    assert held(cells).min() == pytest.approx(1 / 9)
    assert cells.weights(held(cells))[0, :, 0, 0] == pytest.approx(np.arange(-7, 8))


def test_spread_has_the_requested_mean_and_width():
    cells = Cells.of(np.full((1, 1, 1), 1), 2, chip(conductance_spread=0.2, bits_per_cell=1))
    drawn = held(cells, 40_000)[:, 0, 0, 0, 0, 0]
    assert drawn.mean() == pytest.approx(1, abs=0.005)  # 0.2 / sqrt(40 000) = 0.001
    assert drawn.std() == pytest.approx(0.2, rel=0.03)
    assert drawn.min() > 0


def test_stuck_cells_by_hand():
    """Stuck on: every cell of the pair conducts, so every weight is 0. Stuck off as well."""
    weights = np.array([[[-3]], [[3]]])
    for fault in ("stuck_on", "stuck_off"):
        cells = Cells.of(weights, 3, chip(**{fault: 1}))
        assert cells.weights(held(cells))[0] == pytest.approx(0, abs=1e-3)
    cells = Cells.of(weights, 3, chip(stuck_off=0.25))
    lost = (held(cells, 20_000)[:, 1, 0, 0, :, 0] < 0.5).mean()
    assert lost == pytest.approx(0.25, abs=0.01)


def test_drift_by_hand():
    """After 100 s with an exponent of 0.05: 100^-0.05 = 0.794 of every conductance."""
    cells = Cells.of(np.full((1, 1, 1), 1), 2, chip(drift_exponent=0.05, drift_seconds=100))
    assert cells.weights(held(cells))[0, 0, 0, 0] == pytest.approx(100**-0.05, rel=1e-3)


def test_wires_by_hand():
    """Cell (row 1, column 2) has four segments of 1 kOhm in series with its 20 kOhm."""
    c = chip(wire_resistance=1)
    cells = Cells.of(np.full((2, 2, 1), 1), 2, c)  # columns: two outputs of one pair each
    g = held(cells)[0]
    for output, row, column in [(0, 0, 0), (0, 1, 0), (1, 0, 2), (1, 1, 2)]:
        expected = 20 / (20 + row + column + 1)
        assert g[output, row, 0, 0, 0] == pytest.approx(expected, rel=1e-3)


def test_chips_differ_and_come_back():
    cells = Cells.of(np.full((3, 4, 9), 5), 4, chip(conductance_spread=0.1))
    two = held(cells, 2, seed=1)
    assert (two[0] != two[1]).any()
    assert (held(cells, 2, seed=1) == two).all()
    assert (held(cells, 2, seed=2) != two).any()


def test_rows_are_spread_evenly():
    assert [tile_rows(n, chip()) for n in (1, 64, 65, 130)] == [1, 64, 33, 44]


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.array([[[8]]]), "beyond 7"),
        (np.array([[[0.5]]]), "integers"),
        (np.array([[1]]), "integers"),
    ],
)
def test_wrong_weights(weights, message):
    with pytest.raises(HardwareError, match=message):
        Cells.of(weights, 4, chip())


def test_a_cell_that_holds_nothing():
    c = chip(off_resistance=20)
    with pytest.raises(HardwareError, match="cannot hold a level"):
        off_steps(c)
    assert math.isfinite(off_steps(replace(c, figures=chip().figures)))
