"""Costs of many candidates before a training, and the budgets that they keep. N candidates.

Costs are those at the study's assumed spike rate and at the density of its input's bits.
"""

from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from hw_models import HardwareError, LayerIndex, Profile, load_profile
from hw_models.layer_table import over_layers
from hw_models.uncertainty import Ensemble
from nas_service.data import source_of
from nas_service.errors import SpecError
from nas_service.evaluation.training_memory import training_memories_B
from nas_service.metrics import metric_of
from nas_service.snn.workload_cache import WorkloadCache
from nas_service.spaces.architecture import Architecture, ChipSettings
from nas_service.spaces.batch import CandidateBatch, batch_of_codes
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.spaces.task import Task
from nas_service.study.assumed_rates import AssumedRates
from nas_service.study.rejection import MEMORY, PATH, total_violation
from nas_service.study.spec import StudySpec

ROUNDING = 1e-12  # relative difference of costs that are no counts from those of one alone
CHUNK = 1000  # candidates whose draws are in memory at once

Floats = NDArray[np.float64]  # [N]


def profile_of(spec: StudySpec, chip: ChipSettings = ()) -> Profile:
    """The study's chip, with the settings that were drawn for a candidate.

    Args:
        spec: The study.
        chip: Settings of the candidate's chip and their values.

    Returns:
        The chip's profile.

    Raises:
        SpecError: The profile is unknown, or a setting is out of its range.
    """
    try:
        return load_profile(spec.hardware.profile).with_values(spec.hardware.overrides | dict(chip))
    except HardwareError as error:
        raise SpecError(f"hardware: {error}") from error


def workload_cache_of(spec: StudySpec) -> WorkloadCache:
    """The workloads of a study's space; equal spaces share one cache."""
    return shared_workloads(spec.build_space(), source_of(spec.data).task, spec.network.votes)


@lru_cache(maxsize=4)
def shared_workloads(space: CellSpace, task: Task, votes: int) -> WorkloadCache:
    """The workloads of a space, which all of this process share: its blocks are traced once.

    Args:
        space: The space.
        task: Size, channels and classes of the images.
        votes: Output neurons of each class.

    Returns:
        The cache, which later calls with equal arguments share.
    """
    return WorkloadCache(space, task, votes)


@dataclass(frozen=True, eq=False)
class Costed:
    """Candidates with their costs before a training."""

    layers: LayerIndex
    metrics: dict[str, Floats]  # by metric of the hardware, and by `metric@confidence`
    memory_GiB: Floats  # that a training takes at most
    connected: NDArray[np.bool_]

    @cached_property
    def work(self) -> Floats:
        """Bit operations of an inference [N]: multiplications times bits of their weights."""
        x = self.layers.distinct
        weights = x.group_channels * x.taps * x.out_channels
        work = weights * x.pixels * x.steps * x.weight_bits
        return np.asarray(over_layers(self.layers.of_layers(work)))


@dataclass(frozen=True, eq=False)
class Budgets:
    """The budgets of a study on costs that are known before a training."""

    spec: StudySpec
    workloads: WorkloadCache
    density: InputDensity = ASSUMED  # of the study's data
    _ensembles: dict[int, Ensemble] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, spec: StudySpec, density: InputDensity = ASSUMED) -> "Budgets":
        """The budgets of a study, over its own space; the density is that of its data."""
        return cls(spec, workload_cache_of(spec), density)

    def costed(self, batch: CandidateBatch) -> Costed:
        """Costs of candidates, each on its own chip.

        Args:
            batch: N candidates of the space.

        Returns:
            Metrics and memory of training [N], and which candidates have a path [N].
        """
        rates = AssumedRates.of(self.spec, self.density)
        layers = rates.of_candidates(self.workloads.index(batch))
        memory = training_memories_B(self.workloads, batch, layers, self.spec.training.batch_size)
        connected = self.workloads.connected(batch)
        return Costed(layers, self._metrics(batch, layers), memory / 2**30, connected)

    def _metrics(self, batch: CandidateBatch, layers: LayerIndex) -> dict[str, Floats]:
        metrics: dict[str, Floats] = {}
        for number in np.unique(batch.chips).tolist():
            these = np.flatnonzero(batch.chips == number)
            for name, values in self._on_chip(number, layers.part(these)).items():
                metrics.setdefault(name, np.empty(len(batch)))[these] = values
        return metrics

    def _on_chip(self, number: int, layers: LayerIndex) -> dict[str, Floats]:
        """Metrics, and bounds where the study asks for a confidence."""
        ensemble = self._ensemble(number)
        metrics = ensemble.profile.estimate_batch(layers).metrics()
        if not (confident := [c for c in self.spec.constraints if c.confidence is not None]):
            return metrics
        parts = [layers.part(slice(i, i + CHUNK)) for i in range(0, len(layers), CHUNK)]
        samples = (ensemble.metrics_batch(part.table()) for part in parts)
        bounds = [[c.bound(each[c.metric]) for c in confident] for each in samples]
        joined = np.concatenate(bounds, axis=-1)
        return metrics | {c.measure: values for c, values in zip(confident, joined, strict=True)}

    def _ensemble(self, chip: int) -> Ensemble:
        if chip not in self._ensembles:
            profile = profile_of(self.spec, self.workloads.space.chip_at(chip))
            self._ensembles[chip] = Ensemble(profile)
        return self._ensembles[chip]

    def memory_GiB(self, architecture: Architecture) -> float:
        """The memory that a training of a candidate takes at most.

        Raises:
            SpecError: The candidate is not of the space.
        """
        space = self.workloads.space
        codes = np.array([space.codes(architecture)], dtype=np.intp)
        return float(self.costed(batch_of_codes(space, codes)).memory_GiB[0])

    def violations(self, costed: Costed) -> dict[str, Floats]:
        """Relative violation of each budget; <= 0 where it is kept.

        Returns:
            Arrays [N] for PATH, MEMORY, and every constraint that a cost before the training can
            break for good.
        """
        limit = self.spec.training.memory_GiB
        violations = {
            PATH: np.where(costed.connected, 0.0, 1.0),
            MEMORY: costed.memory_GiB / limit - 1,
        }
        for c in self.spec.constraints:
            if c.grows and c.measure in costed.metrics:
                violations[c.measure] = np.asarray(c.violation(costed.metrics[c.measure]))
        return violations

    def excess(self, costed: Costed) -> Floats:
        """Sum of the violations [N]; 0 for every candidate that `Evaluator.screen` would train."""
        violations = self.violations(costed).items()
        return np.asarray(total_violation(over + _tolerance(name) for name, over in violations))


def _tolerance(measure: str) -> float:
    """By how much a cost may differ from that of the candidate alone, as sums are rounded."""
    return 0.0 if measure in (PATH, MEMORY) or metric_of(measure).whole else ROUNDING
