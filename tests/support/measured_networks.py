"""Networks with measurements as a chip with other figures would give them."""

import numpy as np

from hw_models import Layer, Workload, load_profile
from hw_models.calibration.measurements import Measurement

CHIP = load_profile("corrected")
TRUTH = {"sar_bit_energy": 0.17, "neuron_update_energy": 3.0, "clock": 310, "h_tree_area": 9e4}


def network(i):
    """Networks with different demands: many neurons, many conversions, many tiles."""
    width, size = 8 * (1 + i % 4), 4 + 2 * (i % 3)
    layers = (
        Layer("a", "conv", 3, width, kernel=3, in_size=size, out_size=size, neurons=400 * (i % 5)),
        Layer("b", "linear", width * size**2, 10 + 7 * i, spike_rate=0.02 + 0.03 * i),
    )
    return Workload(layers, 1 + i % 4)


def measured(truth, count=12, noise=0.0, seed=0, metrics=("energy_uJ", "latency_ms", "area_mm2")):
    rng = np.random.default_rng(seed)
    chip = CHIP.with_values(truth)
    runs = []
    for i in range(count):
        values = chip.estimate(network(i)).metrics()
        noisy = {m: values[m] * float(np.exp(noise * rng.normal())) for m in metrics}
        runs.append(Measurement(f"net{i}", network(i), {}, noisy, {}))
    return runs
