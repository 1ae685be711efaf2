"""What every chip profile in hw_models/profiles fulfils; a new chip is one file there."""

import numpy as np
import pytest

from hw_models import Layer, Workload, known_profiles, load_profile
from hw_models.nonideality import Cells
from hw_models.parameters import DEFECTS
from hw_models.uncertainty import Ensemble

CHIPS = {name: load_profile(name) for name in known_profiles()}
RATES = (0.0, 0.1, 1.0)


def network(width, spike_rate, time_steps=3):
    """An image layer, a grouped one, a branch with pooling, and a classifier."""
    conv = {"kernel": 3, "in_size": 8, "out_size": 8}
    layers = (
        Layer("stem", "conv", 3, width, **conv, input_bits=8, once=True),
        Layer("grouped", "conv", width, width, **conv, groups=2, spike_rate=spike_rate),
        Layer("joined", "conv", width, 2 * width, **conv, pool=2, spike_rate=spike_rate,
              sources=("stem", "grouped"), input_adds=64 * width),
        Layer("classifier", "linear", 32 * width, 10, spike_rate=spike_rate),
    )  # fmt: skip
    return Workload(layers, time_steps)


NETWORKS = [network(width, rate) for width in (8, 72) for rate in RATES]


@pytest.fixture(params=CHIPS)
def chip(request):
    return CHIPS[request.param]


def test_every_setting_has_a_value_and_a_digest(chip):
    assert chip.with_values(chip.settings).settings == chip.settings
    assert len(chip.digest) == 16


def test_every_estimate_is_finite_and_its_parts_sum_to_the_totals(chip):
    for workload in NETWORKS:
        report = chip.estimate(workload)
        for name, value in report.totals().items():
            assert 0 < value < np.inf, name
        table = report.energy_J
        assert sum(table.by_row()) == pytest.approx(table.total, rel=1e-12)
        assert sum(table.by_component().values()) == pytest.approx(table.total, rel=1e-12)


def test_the_batch_gives_the_numbers_of_the_single_estimates(chip):
    batch = chip.estimate_batch(NETWORKS).metrics()
    for i, workload in enumerate(NETWORKS):
        single = chip.estimate(workload).metrics()
        assert {name: values[i] for name, values in batch.items()} == pytest.approx(
            single, rel=1e-12
        )


def test_more_spikes_never_cost_less(chip):
    for first in (0, len(RATES)):
        energies = [chip.estimate(w).energy_J.total for w in NETWORKS[first : first + len(RATES)]]
        assert energies == sorted(energies)


def test_intervals_enclose_the_estimate_and_need_no_range(chip):
    ensemble = Ensemble(chip, draws=200)
    workload = NETWORKS[1]
    intervals = ensemble.interval(workload, 0.99)
    for name, value in chip.estimate(workload).metrics().items():
        low, high = intervals[name]
        assert low <= value * (1 + 1e-12), name
        assert value <= high * (1 + 1e-12), name


def test_each_defect_can_be_switched_on_its_own(chip):
    for key in DEFECTS:
        changed = chip.with_values({key: not chip.switches[key]})
        assert 0 < changed.estimate(NETWORKS[1]).energy_J.total < np.inf, key
        assert changed.digest != chip.digest


def test_simulated_cells_hold_weights(chip):
    """Ideal cells give the weights back; the profile's own cells give numbers, and repeat them."""
    weights = np.random.default_rng(1).integers(-7, 8, (4, 6, 9))
    ideal = {"conductance_spread": 0, "stuck_on": 0, "stuck_off": 0, "wire_resistance": 0}
    cells = Cells.of(weights, 4, chip.with_values({**ideal, "drift_exponent": 0}).chip)
    exact = cells.weights(cells.conductances(np.random.default_rng(0), 1))
    np.testing.assert_allclose(exact[0], weights, atol=1e-9)
    real = Cells.of(weights, 4, chip.chip)
    first, again = (real.weights(real.conductances(np.random.default_rng(5), 2)) for _ in "ab")
    assert np.isfinite(first).all()
    assert (first == again).all()
