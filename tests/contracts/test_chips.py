"""What every chip profile in hw_models/profiles fulfils; a new chip is one file there."""

import shutil

import numpy as np
import pytest
import torch

from hw_models import Layer, Workload, known_profiles, load_profile, profile, profile_file
from hw_models.nonideality import Cells
from hw_models.parameters import DEFECTS
from hw_models.uncertainty import Ensemble
from nas_service.snn.analog import simulated
from nas_service.snn.network import Network
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task

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
            assert 0 <= value < np.inf, name
            assert value or name in ("dense_macs", "effective_acs")
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


def test_networks_run_on_simulated_chips(chip):
    """Scores are finite, and the same again for the same random numbers."""
    torch.manual_seed(0)
    cell = Cell(("conv3x3", "skip", "conv1x1", "zeroize", "avgpool3x3", "conv3x3"))
    architecture = Architecture((cell,), 4, 2, 16, time_steps=2, weight_bits=4)
    network = Network(architecture, Task(1, 8, 10), votes=1).eval()
    images = torch.rand(3, 1, 8, 8)

    def scores():
        with torch.inference_mode(), simulated(network, chip.chip, np.random.default_rng(1)):
            return network(images)

    first = scores()
    assert first.shape == (3, 10)
    assert torch.isfinite(first).all()
    assert torch.equal(first, scores())


def test_one_file_adds_a_chip(tmp_path, monkeypatch):
    """A profile that is based on another one and changes one figure."""
    folder = tmp_path / "profiles"
    shutil.copytree(profile_file.FOLDER, folder)
    head = dict.fromkeys(profile.HEAD, "a test") | {"base": "corrected", "model": profile.MODEL}
    lines = [f'{key} = "{text}"' for key, text in head.items()]
    figure = 'clock = { value = 500, unit = "MHz", source = "a test" }'
    lines += ["[options]", "[switches]", "[values]", figure]
    (folder / "fast.toml").write_text("\n".join(lines))
    monkeypatch.setattr(profile_file, "FOLDER", folder)
    assert "fast" in known_profiles()
    slow, fast = (load_profile(name).estimate(NETWORKS[1]) for name in ("corrected", "fast"))
    assert fast.latency_s.total < slow.latency_s.total
