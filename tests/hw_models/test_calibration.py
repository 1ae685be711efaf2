"""Calibration recovers the figures of a chip from measurements of it."""

import hashlib
import math
import tomllib
from dataclasses import replace

import numpy as np
import pytest
from measured_networks import CHIP, TRUTH, measured, network

from hw_models import load_profile
from hw_models.calibration.fit import fit
from hw_models.calibration.measurements import Measurement
from hw_models.calibration.profile_writer import write_profile
from hw_models.errors import CalibrationError


def test_a_changed_chip_is_recovered():
    calibration = fit(CHIP, measured(TRUTH), list(TRUTH))
    for figure in calibration.figures:
        assert figure.identified
        assert figure.after == pytest.approx(TRUTH[figure.key], rel=1e-6)
    unseen = network(17)
    ours = calibration.profile.estimate(unseen).metrics()
    expected = CHIP.with_values(TRUTH).estimate(unseen).metrics()
    for metric in ("energy_uJ", "latency_ms", "area_mm2"):
        assert ours[metric] == pytest.approx(expected[metric], rel=1e-6)
    assert max(abs(r.before) for r in calibration.residuals) > 0.05
    assert max(abs(r.after) for r in calibration.residuals) < 1e-6
    assert max(abs(r.left_out) for r in calibration.residuals) < 1e-5


def test_one_figure_by_hand():
    """Latency goes with 1 / clock: measured three times as slow, the clock is a third."""
    slow = CHIP.estimate(network(1)).metrics()["latency_ms"] * 3
    runs = [Measurement(f"m{i}", network(1), {}, {"latency_ms": slow}, {}) for i in range(2)]
    (figure,) = fit(CHIP, runs, ["clock"]).figures
    assert figure.after == pytest.approx(250 / 3, rel=1e-4)


def test_one_figure_and_its_prior_by_hand():
    """Twice as slow, to 10 %: p = ln(500 / 125) / 3.29 = 0.421 against s = 0.1 keeps 0.947."""
    slow = CHIP.estimate(network(1)).metrics()["latency_ms"] * 2
    run = Measurement("m", network(1), {}, {"latency_ms": slow}, {"latency_ms": slow / 10})
    (figure,) = fit(CHIP, [run], ["clock"]).figures
    p = math.log(4) / 3.29
    assert figure.after == pytest.approx(250 * 0.5 ** (p**2 / (p**2 + 0.01)), rel=1e-6)
    reach = math.exp(1.645 / math.sqrt(1 / p**2 + 1 / 0.01))
    assert figure.high == pytest.approx(figure.after * reach, rel=1e-6)
    assert figure.low == pytest.approx(figure.after / reach, rel=1e-6)


@pytest.mark.training
def test_what_is_not_fitted_widens_the_intervals_of_the_others():
    """Truths drawn from the figures' own ranges, of which the data determine only some."""
    keys = ["clock", "sar_bit_energy", "sram_bit_energy", "wire_bit_energy", "mux_energy"]
    hits = identified = left = 0
    for seed in range(8):
        rng = np.random.default_rng(seed)
        widths = {k: math.log(CHIP.ranges[k][2] / CHIP.ranges[k][0]) / 3.29 for k in keys}
        truth = {k: CHIP.values[k] * math.exp(widths[k] * rng.normal()) for k in keys}
        for f in fit(CHIP, measured(truth, noise=0.02, seed=seed), keys).figures:
            identified += f.identified
            left += not f.identified
            hits += f.identified and f.low <= truth[f.key] <= f.high
    assert identified >= 16
    assert left >= 8
    assert hits >= 0.75 * identified


def test_no_factor_is_beyond_a_hundred():
    slow = CHIP.estimate(network(1)).metrics()["latency_ms"] * 1e6
    runs = [Measurement("m", network(1), {}, {"latency_ms": slow}, {"latency_ms": slow / 1000})]
    (figure,) = fit(CHIP, runs, ["clock"]).figures
    assert figure.after == pytest.approx(2.5)


def test_a_clock_that_the_converter_hides_stays():
    """A read takes as long as its converter at any fast clock: latency does not tell it."""
    fast = CHIP.estimate(network(1)).metrics()["latency_ms"] / 1e6
    runs = [Measurement("m", network(1), {}, {"latency_ms": fast}, {"latency_ms": fast / 1000})]
    (figure,) = fit(CHIP, runs, ["clock"]).figures
    assert (figure.after, figure.identified) == (250, False)


@pytest.mark.training
def test_noise_widens_the_interval_and_the_truth_lies_inside():
    hits, widths, truth = 0, [], {"clock": 310, "h_tree_area": 9e4}
    for seed in range(10):
        calibration = fit(CHIP, measured(truth, noise=0.05, seed=seed), list(truth))
        for figure in calibration.figures:
            hits += figure.low <= truth[figure.key] <= figure.high
            widths.append(figure.high / figure.low)
    assert 14 <= hits <= 20  # nine in ten of twenty: 18, standard deviation 1.3
    assert 1.02 < np.median(widths) < 1.2


def test_what_the_data_do_not_determine_stays():
    """No area was measured, so the area of a bit is not determined; the clock is."""
    runs = measured(TRUTH, metrics=("latency_ms",))
    figures = {f.key: f for f in fit(CHIP, runs, ["clock", "sram_bit_area"]).figures}
    assert figures["clock"].identified
    assert not figures["sram_bit_area"].identified
    assert figures["sram_bit_area"].after == CHIP.values["sram_bit_area"]


def spoiled(runs, factor, *positions, metric=None):
    """The same runs, some of them with numbers in another unit."""
    runs = list(runs)
    for i in positions:
        values = {m: y * (factor if metric in (None, m) else 1) for m, y in runs[i].values.items()}
        runs[i] = replace(runs[i], values=values)
    return runs


@pytest.mark.parametrize(
    ("count", "factor", "positions", "metric"),
    [
        (7, 1000, (3,), None),
        (6, 10, (0,), "energy_uJ"),
        (5, 0.1, (2,), "latency_ms"),
        (4, 3, (1,), None),
        (6, 10, (0, 4), "energy_uJ"),
    ],
)
def test_measurements_that_contradict_the_others_are_named(count, factor, positions, metric):
    runs = measured(TRUTH, count, noise=0.02)
    keys = ["clock", "sar_bit_energy"]
    calibration = fit(CHIP, spoiled(runs, factor, *positions, metric=metric), keys)
    assert {r.name for r in calibration.contradicting} == {f"net{i}" for i in positions}
    if metric:
        assert {r.metric for r in calibration.contradicting} == {metric}
    sound = fit(CHIP, [m for i, m in enumerate(runs) if i not in positions], keys)
    assert calibration.figures == sound.figures
    assert calibration.measurements == count - len(positions)
    assert calibration.error == pytest.approx(sound.error)


@pytest.mark.parametrize("noise", [0, 0.05, 0.2])
def test_measurements_that_scatter_contradict_nothing(noise):
    for seed in range(2):
        assert not fit(CHIP, measured(TRUTH, 6, noise, seed), ["clock"]).contradicting


def test_where_half_are_far_off_none_is_accused():
    runs = spoiled(measured(TRUTH, 4, metrics=("energy_uJ",)), 10, 0, 2)
    calibration = fit(CHIP, runs, ["sar_bit_energy"])
    assert (calibration.contradicting, calibration.improved) == ([], False)


def test_a_deviation_that_is_known_is_no_contradiction():
    """A measurement that states an error of 300 % may be three times as high."""
    runs = spoiled(measured(TRUTH, 6, metrics=("latency_ms",)), 3, 1)
    runs[1] = replace(runs[1], deviations={"latency_ms": runs[1].values["latency_ms"]})
    assert not fit(CHIP, runs, ["clock"]).contradicting


def test_what_a_chip_does_not_spend_cannot_be_fitted(monkeypatch):
    run = Measurement("idle", network(1), {}, {"energy_uJ": 1.0}, {})
    nothing = {"energy_J": 0.0, "latency_s": 0.0, "area_m2": 0.0}
    monkeypatch.setattr("hw_models.calibration.measured_numbers.price", lambda *_: nothing)
    with pytest.raises(CalibrationError, match="measurement idle: the chip predicts energy_uJ = 0"):
        fit(CHIP, [run])


def test_every_figure_that_changes_a_measurement_is_fitted():
    calibration = fit(CHIP, measured({}, metrics=("latency_ms",)))
    assert [f.key for f in calibration.figures] == ["clock"]
    assert fit(CHIP, measured({}, 4)).profile.values["crossbar_size"] == 64


def written(tmp_path, calibration, name="m.csv"):
    """A fitted profile written, and the file as TOML."""
    (tmp_path / name).write_text("the measurements")
    profile = write_profile(calibration, tmp_path / name, tmp_path / "mine.toml")
    return profile, tomllib.loads((tmp_path / "mine.toml").read_text(encoding="utf-8"))


def test_a_written_profile_comes_back(tmp_path):
    calibration = fit(CHIP, measured(TRUTH, 4), ["clock", "h_tree_area"])
    profile, tree = written(tmp_path, calibration)
    assert load_profile(tmp_path / "mine.toml") == profile
    assert profile.digest == calibration.profile.digest
    digest = hashlib.sha256(b"the measurements").hexdigest()[:12]
    message = f"fitted to 4 measurements in m.csv (sha256 {digest}), was 250"
    assert profile.entries["clock"].source == message
    assert "net0: energy_uJ" in profile.head["notes"]
    assert profile.ranges["clock"][0] < profile.values["clock"] < profile.ranges["clock"][2]
    assert tree["base"] == "corrected"
    assert set(tree["values"]) == {"clock", "h_tree_area"}
    assert tree["options"] == tree["switches"] == {}


def test_settings_that_were_changed_come_back_too(tmp_path):
    changes = {"adc": "flash", "one_kernel": True, "pes_per_tile": 4}
    _, tree = written(tmp_path, fit(CHIP.with_values(changes), measured({}, 3), ["clock"]))
    again = load_profile(tmp_path / "mine.toml")
    assert {key: again.settings[key] for key in changes} == changes
    assert (tree["options"], tree["switches"]) == ({"adc": "flash"}, {"one_kernel": True})


def test_a_user_profile_is_written_completely(tmp_path):
    """A calibrated chip calibrated again needs no file but itself."""
    written(tmp_path, fit(CHIP, measured(TRUTH, 4), ["clock"]))
    profile_read = load_profile(tmp_path / "mine.toml")
    profile, tree = written(tmp_path, fit(profile_read, measured(TRUTH, 4), ["h_tree_area"]))
    assert "base" not in tree
    assert set(tree["values"]) == set(profile_read.entries)
    assert load_profile(tmp_path / "mine.toml") == profile
    assert profile.head["title"] == CHIP.head["title"] + ", calibrated"


def test_the_notes_name_what_contradicts(tmp_path):
    runs = spoiled(measured(TRUTH, 6, metrics=("latency_ms",)), 10, 2)
    profile, _ = written(tmp_path, fit(CHIP, runs, ["clock"]))
    (line,) = [x for x in profile.head["notes"].splitlines() if "contradicts the others" in x]
    assert line.startswith("net2: latency_ms")
    assert "fitted to 5 measurements" in profile.entries["clock"].source


def test_the_notes_name_what_the_data_do_not_determine(tmp_path):
    runs = measured(TRUTH, metrics=("latency_ms",))
    profile, tree = written(tmp_path, fit(CHIP, runs, ["clock", "sram_bit_area"]))
    assert "Not determined by the data, left unchanged: sram_bit_area." in profile.head["notes"]
    assert set(tree["values"]) == {"clock"}


@pytest.mark.parametrize("name", ['a "b".csv', "\u00e9\U0001f600.csv", "a\x7fb.csv", "a\\b.csv"])
def test_any_file_name_makes_sound_toml(tmp_path, name):
    profile, _ = written(tmp_path, fit(CHIP, measured(TRUTH, 3), ["clock"]), name)
    again = load_profile(tmp_path / "mine.toml")
    assert again == profile
    assert name in again.entries["clock"].source


def test_a_profile_is_a_toml_file(tmp_path):
    (tmp_path / "m.csv").write_text("")
    calibration = fit(CHIP, measured({}, 3), ["clock"])
    with pytest.raises(CalibrationError, match=r"mine\.txt: a name that ends in \.toml"):
        write_profile(calibration, tmp_path / "m.csv", tmp_path / "mine.txt")
    with pytest.raises(CalibrationError, match="cannot be written"):
        write_profile(calibration, tmp_path / "none.csv", tmp_path / "mine.toml")
    assert not (tmp_path / "mine.toml").exists()


def test_a_setting_moves_into_the_range_that_was_measured(tmp_path):
    runs = [
        Measurement("m", network(1), {"crossbar_size": n}, {"area_mm2": 1}, {}) for n in (16, 32)
    ]
    entry = fit(CHIP, runs, ["h_tree_area"]).profile.entries["crossbar_size"]
    assert (entry.value, entry.fitted) == (32, (16, 32))
    assert "was 64, where nothing was measured" in entry.source


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("clok", "did you mean 'clock'"),
        ("crossbar_size", "only energies, areas and the clock"),
        ("leakage", "where they are not 0"),
    ],
)
def test_figures_that_cannot_be_fitted(key, message):
    with pytest.raises(CalibrationError, match=message):
        fit(CHIP, measured({}, 2), [key])


def test_a_setting_that_no_chip_has_names_its_measurement():
    runs = [Measurement("net7", network(1), {"adc_bits": "99"}, {"energy_uJ": 1}, {})]
    with pytest.raises(CalibrationError, match=r"measurement net7: .*adc_bits = '99'"):
        fit(CHIP, runs)


def test_fewer_measurements_than_figures():
    runs = measured({}, 1, metrics=("energy_uJ",))
    with pytest.raises(CalibrationError, match="2 figures to fit and 1 measured numbers"):
        fit(CHIP, runs, ["sar_bit_energy", "sram_bit_energy"])
    with pytest.raises(CalibrationError, match="at least one is needed"):
        fit(CHIP, [])


def test_a_figure_that_the_measurements_set():
    runs = [Measurement("m", network(1), {"clock": "100"}, {"latency_ms": 1}, {})]
    with pytest.raises(CalibrationError, match="--fit clock: the measurements have a column"):
        fit(CHIP, runs, ["clock"])
