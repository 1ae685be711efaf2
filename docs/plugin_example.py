"""A plug-in with one member of each kind: an example to copy.

`nas --plugin docs/plugin_example.py data` lists its data set. In a study file its members are used
by their names, as ours are:

    space.operations = ["zeroize", "skip", "sepconv5x5"]    data.name = "stripes"
    hardware.profile = "fast_chip"                          proxies.names = ["edge_count"]
    search.sampler = "explorer"
    [[objectives]] metric = "energy_area_uJ_mm2"            [[constraints]] metric = "busiest_layer"

NAS_PLUGIN names the file for workers on other machines; from Python, `nas_service.plugin(FILE)`
loads it. The study records the file's SHA-256, and no worker without exactly this file works on it.
It is a program that runs with the rights of whoever names it: name only files that you trust.
"""

import io
from dataclasses import dataclass

import numpy as np
from optuna.samplers import TPESampler

from hw_models.metrics import HARDWARE_METRICS, HardwareMetric
from hw_models.profile_file import CHIPS
from nas_service.data import DATASETS
from nas_service.data.images import Images, Stock
from nas_service.export.formats import FORMATS, Format
from nas_service.metrics import METRICS, PROXIES, SHARE, Metric, Proxy
from nas_service.samplers import SAMPLERS, SamplerEntry
from nas_service.samplers.seeded import SeededSampler
from nas_service.spaces.operations import OPERATIONS, separable
from nas_service.spaces.task import Task

# An operation: its weight matrices or its pooling window; network and costs follow from them.
OPERATIONS["sepconv5x5"] = separable(5)

# A metric of the costs, from totals in SI units: numbers, or arrays of many candidates.
HARDWARE_METRICS["energy_area_uJ_mm2"] = HardwareMetric(
    lambda totals: totals["energy_J"] * 1e6 * totals["area_m2"] * 1e6,
    "uJ mm2",
    decimals=4,
    has_interval=True,
    grows_with_rate=True,
)

# A metric of a trained candidate, from all that is known of it; None where it is not measured.
METRICS["busiest_layer"] = Metric(
    lambda e: max((np.mean(rate) for rate in e.spike_rates.values()), default=None),
    SHARE,
    fallback=lambda e: 1.0,  # pessimistic, for candidates that are not trained
    decimals=4,
    trained=True,
)


def edge_count(edges):
    """The number of edges of a cell, which are its thresholds by (source, target).

    A proxy that is not structural is given (network, images), and returns its score and whether
    the network is dead.
    """
    return float(len(edges))


PROXIES["edge_count"] = Proxy(edge_count, "an example", structural=True)


TASK = Task(channels=1, size=8, classes=3)


@dataclass(frozen=True)
class Stripes:
    """Noisy horizontal, vertical and diagonal stripes; `Files` reads data sets from files."""

    task: Task = TASK
    validation_samples: int = 60
    home: str = "made by this file"
    licence: str = "CC0"

    def read_train(self, folder, time_steps=1):
        """Images of training and validation."""
        return self._drawn(300, seed=0)

    def read_test(self, folder, time_steps=1):
        """Images that a search never reads."""
        return self._drawn(90, seed=1)

    def class_names(self, folder):
        """The names of the classes by number."""
        return ("horizontal", "vertical", "diagonal")

    def _drawn(self, count, seed):
        rng, labels = np.random.default_rng(seed), np.arange(count) % 3
        y, x = np.mgrid[:8, :8]
        phases = np.stack([y, x, x + y])[labels] + rng.integers(0, 4, (count, 1, 1))
        pixels = np.where(phases % 4 < 2, 200, 50) + rng.integers(0, 50, (count, 8, 8))
        return Images.of(Stock.of(pixels[:, None].astype(np.uint8)), labels)


DATASETS["stripes"] = Stripes()

# A chip: the tables of a profile file.
CHIPS["fast_chip"] = {"base": "corrected", "values": {"clock": 500}}

# A sampler of Optuna, made anew for each trial from the study's seed and the trial's number.
SAMPLERS["explorer"] = SamplerEntry(
    lambda spec, density: SeededSampler(
        lambda seed: TPESampler(n_startup_trials=20, seed=seed), spec.seed
    )
)


def contents(network, name):
    """The files of the export format whose module this is: bytes by suffix."""
    file = io.BytesIO()
    np.savez(file, **{key: x.numpy() for key, x in network.network.state_dict().items()})
    return {".npz": file.getvalue()}


FORMATS["npz"] = Format(__name__, "weights as NumPy arrays", ".npz", runs=False)
