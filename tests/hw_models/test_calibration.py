"""A chip found again from what was measured on it."""

import csv
import json

import numpy as np
import pytest

from hw_models import HardwareError, Layer, Workload, load_profile
from hw_models.calibration import Measurement, fit, read_measurements, write_profile
from hw_models.errors import CalibrationError

CHIP = load_profile("corrected")
TRUTH = {"sar_bit_energy": 0.17, "neuron_update_energy": 3.0, "clock": 310, "h_tree_area": 9e4}


def network(i):
    """Networks that differ in what they ask: many neurons, many conversions, many tiles."""
    width, size = 8 * (1 + i % 4), 4 + 2 * (i % 3)
    layers = (
        Layer("a", "conv", 3, width, kernel=3, in_size=size, out_size=size, neurons=400 * (i % 5)),
        Layer("b", "linear", width * size**2, 10 + 7 * i, spike_rate=0.02 + 0.03 * i),
    )
    return Workload(layers, 1 + i % 4)


def measured(truth, count=12, noise=0.0, seed=0, metrics=("energy_uJ", "latency_ms", "area_mm2")):
    die = np.random.default_rng(seed)
    chip = CHIP.with_values(truth)
    found = []
    for i in range(count):
        values = chip.estimate(network(i)).metrics()
        told = {m: values[m] * float(np.exp(noise * die.normal())) for m in metrics}
        found.append(Measurement(f"net{i}", network(i), {}, told, {}))
    return found


def test_a_changed_chip_is_found_again():
    found = fit(CHIP, measured(TRUTH), list(TRUTH))
    for figure in found.figures:
        assert figure.identified
        assert figure.after == pytest.approx(TRUTH[figure.key], rel=1e-3)
    unseen = network(17)
    ours = found.profile.estimate(unseen).metrics()
    theirs = CHIP.with_values(TRUTH).estimate(unseen).metrics()
    for metric in ("energy_uJ", "latency_ms", "area_mm2"):
        assert ours[metric] == pytest.approx(theirs[metric], rel=1e-3)
    assert max(abs(r.before) for r in found.residuals) > 0.05
    assert max(abs(r.after) for r in found.residuals) < 1e-3
    assert max(abs(r.left_out) for r in found.residuals) < 1e-2


def test_one_figure_by_hand():
    """Latency goes with 1 / clock: measured three times as slow, the clock is a third."""
    slow = CHIP.estimate(network(1)).metrics()["latency_ms"] * 3
    runs = [Measurement(f"m{i}", network(1), {}, {"latency_ms": slow}, {}) for i in range(2)]
    (figure,) = fit(CHIP, runs, ["clock"]).figures
    assert figure.after == pytest.approx(250 / 3, rel=1e-4)


def test_noise_widens_the_interval_and_the_truth_lies_inside():
    hits, widths, truth = 0, [], {"clock": 310, "h_tree_area": 9e4}
    for seed in range(10):
        found = fit(CHIP, measured(truth, noise=0.05, seed=seed), list(truth))
        for figure in found.figures:
            hits += figure.low <= truth[figure.key] <= figure.high
            widths.append(figure.high / figure.low)
    assert 14 <= hits <= 20  # nine in ten of twenty: 18, standard deviation 1.3
    assert 1.02 < np.median(widths) < 1.2


def test_what_the_data_cannot_tell_stays():
    """No area was measured, so the area of a bit cannot be told; the clock can."""
    runs = measured(TRUTH, metrics=("latency_ms",))
    figures = {f.key: f for f in fit(CHIP, runs, ["clock", "sram_bit_area"]).figures}
    assert figures["clock"].identified
    assert not figures["sram_bit_area"].identified
    assert figures["sram_bit_area"].after == CHIP.values["sram_bit_area"]


def test_all_figures_that_are_felt():
    found = fit(CHIP, measured({}, metrics=("latency_ms",)))
    assert [f.key for f in found.figures] == ["clock"]
    assert fit(CHIP, measured({}, 4)).profile.values["crossbar_size"] == 64


def test_a_written_profile_comes_back(tmp_path):
    data = tmp_path / "m.csv"
    data.write_text("unused")
    found = fit(CHIP, measured(TRUTH, 4), ["clock", "h_tree_area"])
    write_profile(found, data, tmp_path / "mine.toml")
    again = load_profile(tmp_path / "mine.toml")
    assert again.entries == found.profile.entries
    assert (again.options, again.switches) == (found.profile.options, found.profile.switches)
    assert "fitted to 4 measurements, was 250" in again.entries["clock"].source
    assert "net0: energy_uJ" in again.head["notes"]
    assert again.ranges["clock"][0] < again.values["clock"] < again.ranges["clock"][2]


def table(tmp_path, rows, name="net.json"):
    (tmp_path / name).write_text(json.dumps(network(1).to_json()))
    path = tmp_path / "m.csv"
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_measurements_of_several_chips(tmp_path):
    """Sizes that were measured become the range in which the chip may be used."""
    rows = [["workload", "crossbar_size", "spike_rate", "energy_uJ", "energy_uJ_sd"]]
    for size in (32, 128):
        chip = CHIP.with_values({"crossbar_size": size, "sar_bit_energy": 0.15})
        energy = chip.estimate(network(1).at_rate(0.2)).metrics()["energy_uJ"]
        rows.append(["net.json", size, 0.2, energy, energy / 100])
    read = read_measurements(table(tmp_path, rows))
    assert read[0].deviations["energy_uJ"] == pytest.approx(read[0].values["energy_uJ"] / 100)
    found = fit(CHIP, read, ["sar_bit_energy"])
    assert found.figures[0].after == pytest.approx(0.15, rel=0.02)
    assert found.profile.entries["crossbar_size"].fitted == (32, 128)
    with pytest.raises(HardwareError, match=r"crossbar_size = 256: a whole number in 32\.\.128"):
        found.profile.with_values({"crossbar_size": 256})


HEAD = ["workload", "energy_uJ"]
WRONG = [
    ([], "no measurement"),
    ([HEAD], "no measurement"),
    ([["workload", "enrgy_uJ"], ["net.json", 1]], "did you mean 'energy_uJ'"),
    ([["workload", "clock"], ["net.json", 1]], "columns workload and one of"),
    ([HEAD, ["net.json", 0]], "line 2: energy_uJ = '0'"),
    ([HEAD, ["net.json", "nan"]], "energy_uJ = 'nan'"),
    ([HEAD, ["net.json", "x"]], "energy_uJ = 'x'"),
    ([HEAD, ["net.json", ""]], "one of energy_uJ"),
    ([HEAD, ["none.json", 1]], "none.json"),
    ([HEAD, ["", 1]], "the path of a layer list"),
    ([HEAD, ["net.json"]], "as many fields"),
    ([HEAD, ["net.json", 1, 2]], "as many fields"),
]


@pytest.mark.parametrize(("rows", "said"), WRONG, ids=[said for _, said in WRONG])
def test_wrong_measurements_name_line_and_column(tmp_path, rows, said):
    with pytest.raises(CalibrationError) as caught:
        read_measurements(table(tmp_path, rows))
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("clok", "did you mean 'clock'"),
        ("crossbar_size", "only energies, areas and the clock"),
        ("leakage", "where they are not 0"),
    ],
)
def test_figures_that_cannot_be_fitted(key, said):
    with pytest.raises(CalibrationError, match=said):
        fit(CHIP, measured({}, 2), [key])
