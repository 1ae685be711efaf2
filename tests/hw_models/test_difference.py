"""From one chip to another in steps: they add up, and each is one setting."""

import math

import pytest

from hw_models import Layer, ProfileError, Workload, known_profiles, load_profile
from hw_models.difference import steps
from hw_models.parameters import DEFECTS

WORK = Workload(
    (
        Layer("a", "conv", 3, 64, kernel=3, in_size=8, out_size=8, pool=2, weight_bits=4),
        Layer("b", "conv", 64, 64, kernel=1, in_size=4, out_size=4, spike_rate=0.2),
        Layer("c", "linear", 1024, 10, spike_rate=0.1),
    ),
    5,
)


@pytest.mark.parametrize("a", known_profiles())
@pytest.mark.parametrize("b", known_profiles())
def test_steps_add_up_to_the_difference(a, b):
    first, second = load_profile(a), load_profile(b)
    changes = steps(first, second, WORK)
    assert bool(changes) == (a != b)
    before, after = first.estimate(WORK).metrics(), second.estimate(WORK).metrics()
    for name in before:
        total = before[name] + math.fsum(step.change[name] for step in changes)
        assert total == pytest.approx(after[name], rel=1e-9, abs=1e-12)


def test_the_clock_by_hand():
    """Twice the clock: half the latency, nothing else but what follows from it."""
    chip = load_profile("spikesim_rram")
    (step,) = steps(chip, chip.with_values({"clock": 500}), WORK)
    latency = chip.estimate(WORK).metrics()["latency_ms"]
    assert (step.key, step.before, step.after, step.defect) == ("clock", 250, 500, "")
    assert step.change["latency_ms"] == pytest.approx(-latency / 2)
    assert step.change["energy_uJ"] == 0


@pytest.mark.parametrize("key", [k for k in DEFECTS if k not in ("energy_is_area", "no_activity")])
def test_every_defect_moves_a_number(key):
    """D1 .. D18, each by itself, on a network that can show it; D9 and D16 are shown below."""
    chip = load_profile("spikesim_rram").with_values({key: True})
    changes = steps(chip, chip.with_values({key: False}), WORK)
    assert [(s.key, s.defect) for s in changes] == [(key, DEFECTS[key][0])]


def test_the_defects_of_device_and_activity():
    sram = load_profile("spikesim_sram")
    (step,) = steps(sram, sram.with_values({"energy_is_area": False}), WORK)
    assert step.defect == "D9"
    assert step.change["energy_uJ"] < 0
    chip = load_profile("corrected")
    (step,) = steps(chip.with_values({"no_activity": True}), chip, WORK)
    assert step.defect == "D16"
    assert step.change["energy_uJ"] < 0


def test_steps_over_an_impossible_chip_are_refused():
    """A converter of 12 bits is no flash converter, and the steps go one by one."""
    a = load_profile("corrected").with_values({"adc_bits": 12})
    b = load_profile("corrected").with_values({"adc": "flash"})
    with pytest.raises(ProfileError, match="no chip lies between"):
        steps(a, b, WORK)
