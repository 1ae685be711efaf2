"""Intervals of totals: known distributions by hand, and the same numbers as the scalar path."""

import numpy as np
import pytest

from hw_models import Layer, ProfileError, Workload, load_profile
from hw_models.cost_model import CostModel
from hw_models.profile import Entry, Profile
from hw_models.uncertainty import Ensemble

CHIP = load_profile("corrected")
WORK = Workload(
    (
        Layer("a", "conv", 3, 8, kernel=3, in_size=8, out_size=8, input_bits=8, once=True),
        Layer("b", "linear", 512, 10, spike_rate=0.2),
    ),
    4,
)


def only(**ranges) -> Profile:
    """The chip with these ranges and no other."""
    entries = {
        key: Entry(e.value, e.source, e.node, e.licence, *ranges.get(key, (None, None)))
        for key, e in CHIP.entries.items()
    }
    return Profile(CHIP.name, CHIP.head, entries, CHIP.options, CHIP.switches)


def test_without_ranges_every_draw_is_the_estimate():
    exact = CHIP.estimate(WORK).metrics()
    for name, values in Ensemble(only(), draws=3).metrics(WORK).items():
        assert values == pytest.approx([exact[name]] * 3, rel=1e-12), name


@pytest.mark.parametrize("changes", [{}, {"leakage": 2.0}, {"tile_sharing": True, "adc": "fixed"}])
def test_every_draw_is_the_estimate_of_its_chip(changes):
    profile = CHIP.with_values(changes)
    ensemble = Ensemble(profile, draws=5, seed=3)
    drawn = ensemble.metrics(WORK)
    for i, chip in enumerate(ensemble.chips):
        single = CostModel(chip).estimate(WORK).metrics()
        assert {k: v[i] for k, v in drawn.items()} == pytest.approx(single, rel=1e-12)
    assert np.ptp(drawn["energy_uJ"]) > 0


def test_a_triangle_by_hand():
    """Latency goes with 1 / clock; the clock is between 100 and 400 MHz, 250 at the peak.

    The triangle's median is 250 MHz, its quantile 0.125 is 100 + sqrt(0.125 * 300 * 150) = 175.
    """
    value = CHIP.estimate(WORK).latency_s.total * 1e3
    ensemble = Ensemble(only(clock=(100.0, 400.0)), draws=6_000)
    assert ensemble.bound(WORK, "latency_ms", 0.5) == pytest.approx(value, rel=0.01)
    assert ensemble.bound(WORK, "latency_ms", 0.875) == pytest.approx(value * 250 / 175, rel=0.01)
    assert ensemble.probability(WORK, "latency_ms", value) == pytest.approx(0.5, abs=0.02)
    low, high = ensemble.interval(WORK, 0.75)["latency_ms"]
    assert (low, high) == pytest.approx((value * 250 / 325, value * 250 / 175), rel=0.01)


def test_workloads_are_costed_on_the_same_drawn_chips():
    """Twice the time steps is more energy in every single draw."""
    ensemble = Ensemble(CHIP, draws=50)
    twice = Workload(WORK.layers, 2 * WORK.time_steps)
    assert (ensemble.metrics(twice)["energy_uJ"] > ensemble.metrics(WORK)["energy_uJ"]).all()
    again = Ensemble(CHIP, draws=50).metrics(WORK)["energy_uJ"]
    assert (again == ensemble.metrics(WORK)["energy_uJ"]).all()
    other = Ensemble(CHIP, draws=50, seed=1).metrics(WORK)["energy_uJ"]
    assert (other != again).any()


def test_the_default_intervals_hold_the_estimate():
    exact = CHIP.estimate(WORK).metrics()
    intervals = Ensemble(CHIP).interval(WORK, 0.98)
    for name in ("energy_uJ", "area_mm2"):
        low, high = intervals[name]
        assert low < exact[name] < high
    assert intervals["crossbars"] == (exact["crossbars"],) * 2


@pytest.mark.parametrize("share", [0, 1, -0.5, 1.5, float("nan")])
def test_impossible_shares_are_refused(share):
    with pytest.raises(ProfileError, match="confidence"):
        Ensemble(CHIP, draws=2).bound(WORK, "energy_uJ", share)
    with pytest.raises(ProfileError, match="level"):
        Ensemble(CHIP, draws=2).interval(WORK, share)
