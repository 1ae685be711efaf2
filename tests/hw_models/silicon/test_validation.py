"""How far the model of a crossbar is from silicon, and how that is counted."""

from dataclasses import replace

import pytest

from hw_models.silicon.energy import product_energy
from hw_models.silicon.measured import known_chips, load_chip
from hw_models.silicon.validation import Summary, calibrations, validate
from hw_models.silicon.verdict import missed, verdicts

ALL = [validate(load_chip(name)) for name in known_chips()]


def test_eight_chips_are_counted_four_of_them_rram():
    groups = [v.chip.group for v in ALL]
    assert (groups.count("A"), groups.count("B")) == (4, 4)
    counted = [v.chip.macro for v in ALL if v.chip.group in "AB"]
    assert sum(macro.device == "rram" for macro in counted) == 4
    assert {"digital", "spiking"} < {v.chip.macro.kind for v in ALL}


def test_energy_and_area_agree_with_silicon():
    summary = Summary.of(ALL)
    assert summary.energy[0] >= 6
    assert summary.energy[1] == 8
    assert summary.area[0] >= 4
    assert summary.latency[0] >= 7
    assert summary.calibration_median <= 0.05


def test_a_whole_spiking_chip_is_reported_by_the_synaptic_operation():
    (chip,) = (v for v in ALL if v.chip.macro.kind == "spiking")
    assert chip.chip.group == "reported"
    assert [x.measured for x in chip.energies] == [1.5]
    assert chip.energy_within


@pytest.mark.parametrize("v", ALL, ids=lambda v: v.chip.name)
def test_every_figure_that_is_missed_has_a_reason_and_no_other(v):
    without = [name for name in missed(v) if name not in v.unmodelled]
    assert set(v.chip.reasons) == set(without)
    for name, sentence in verdicts(v).items():
        assert sentence.startswith(f"{name}: ")
        assert ("outside of 0.5 .. 2" in sentence) == (name in without)


def test_a_figure_that_is_not_modelled_says_why():
    chip = load_chip("wei_2025")
    v = validate(replace(chip, macro=replace(chip.macro, clock=0.0)))
    assert v.latencies == ()
    assert verdicts(v)["latency"] == (
        "latency: not modelled: clock of a time-to-digital converter is needed"
    )
    assert verdicts(v)["area"].startswith("area: not measured")
    assert v.to_json()["unmodelled"].keys() == {"latency"}


def test_a_ratio_out_of_the_band_counts_against_a_chip():
    chip = load_chip("li_2025")
    points = list(chip.points)
    points[2] = replace(points[2], energy_pJ=points[2].energy_pJ / 3)
    worse = validate(replace(chip, points=tuple(points)))
    assert [x.within for x in worse.energies] == [True, True, False, True]
    assert not worse.energy_within
    assert Summary.of([worse]).energy == (0, 1)
    reported = validate(replace(chip, group="reported", points=tuple(points)))
    assert Summary.of([reported]).energy == (0, 0)


def test_points_that_the_model_gives_but_for_two_factors_are_predicted():
    chip = load_chip("neurram")
    scaled = []
    for measured in chip.points:
        parts = product_energy(chip.macro, measured.point)
        pJ = 3 * (parts["rows"] + parts["array"]) + 0.5 * (parts["converters"] + parts["digital"])
        scaled.append(replace(measured, energy_pJ=pJ))
    (fit,) = calibrations(replace(chip, points=tuple(scaled)))
    assert (fit.fitted, fit.parameters, len(fit.errors)) == (4, 2, 4)
    assert fit.worst < 1e-9


def test_a_calibration_never_sees_the_points_that_it_predicts():
    chip = load_chip("yao_2024")
    points = list(chip.points)
    points[1] = replace(points[1], energy_pJ=2 * points[1].energy_pJ)
    (before,), (after,) = calibrations(chip), calibrations(replace(chip, points=tuple(points)))
    assert after.errors[1] == before.errors[1]
    assert (1 + after.errors[0]) == pytest.approx((1 + before.errors[0]) / 2)


def test_unlike_data_are_not_fitted_together():
    fits = {c.data: c for c in calibrations(load_chip("sinangil_2021"))}
    assert {name: c.fitted + len(c.errors) for name, c in fits.items()} == {"0.8 V": 9, "1 V": 3}
    assert all(c.parameters <= c.fitted for c in fits.values())
    assert calibrations(load_chip("jia_2020")) == ()
    assert validate(load_chip("jia_2020")).uncalibrated == {"": 2}
    assert validate(load_chip("sinangil_2021")).uncalibrated == {}
