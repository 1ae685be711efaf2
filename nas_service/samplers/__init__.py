"""Who proposes candidates: Optuna samplers by name, each seeded from study seed and trial number.

A trial's draws depend on the study's seed, its number and the trials before it, and on nothing
a process remembers: a resumed study proposes what an unbroken one would have, and two workers
never draw the same stream.
"""

import warnings
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import (
    BaseSampler,
    GPSampler,
    NSGAIIISampler,
    NSGAIISampler,
    RandomSampler,
    TPESampler,
)
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas_service.errors import SpecError, pick
from nas_service.study.spec import StudySpec

PASSED_OVER = "passed_over"  # attribute of a trial: candidates that checks ruled out before it


def _experimental(make: Callable[..., BaseSampler], **settings: Any) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return make(**settings)


def _tpe(seed: int) -> BaseSampler:
    """Multivariate TPE; trials that run elsewhere repel, so that workers do not gather."""
    return _experimental(TPESampler, multivariate=True, constant_liar=True, seed=seed)


SAMPLERS: dict[str, Callable[[int], BaseSampler]] = {
    "tpe": _tpe,
    "nsga2": lambda seed: NSGAIISampler(population_size=20, seed=seed),
    "nsga3": lambda seed: _experimental(NSGAIIISampler, population_size=20, seed=seed),
    "gp": lambda seed: _experimental(GPSampler, seed=seed),  # a second for each proposal
    "random": lambda seed: RandomSampler(seed=seed),
}


def sampler_of(spec: StudySpec) -> BaseSampler:
    """The sampler that a study names."""
    if spec.search.warm_start_from and spec.search.sampler != "greybox":
        raise SpecError(
            f"search.warm_start_from: sampler {spec.search.sampler!r} learns from no other study"
        )
    if spec.search.reduction_factor and spec.search.sampler in SEEDS:
        raise SpecError(
            f"search.reduction_factor: sampler {spec.search.sampler!r} looks at one score each"
        )
    if spec.search.constraint_order is not None and spec.search.sampler != "neuronas":
        raise SpecError(
            f"search.constraint_order: sampler {spec.search.sampler!r} has no order of checks"
        )
    known = {**dict.fromkeys(SAMPLERS, _seeded), **OF_CELLS}
    return pick(known, spec.search.sampler, "sampler")(spec)


def _seeded(spec: StudySpec) -> BaseSampler:
    return SeededSampler(spec.search.sampler, spec.seed)


def _of_cells(module: str, name: str) -> Callable[[StudySpec], BaseSampler]:
    """A sampler that knows what cells cost; its module loads torch, so it is loaded late."""

    def make(spec: StudySpec) -> BaseSampler:
        found = getattr(import_module(f"nas_service.samplers.{module}"), name)
        return found(spec)  # type: ignore[no-any-return]

    return make


GENERATIONS = ("nsga2", "nsga3")  # number their trials by generations
SEEDS = ("snasnet", "spikenas", "neuronas")  # published for a score without training
OF_CELLS: dict[str, Callable[[StudySpec], BaseSampler]] = {
    "greybox": _of_cells("greybox_cells", "greybox"),
    "snasnet": _of_cells("proposer", "snasnet"),
    "spikenas": _of_cells("proposer", "spikenas"),
    "neuronas": _of_cells("proposer", "neuronas"),
}


def derived_seed(seed: int, number: int) -> int:
    """A seed of 31 bits for trial `number` of a study, unlike those of its neighbours."""
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0] >> 1)


class SeededSampler(BaseSampler):
    """A sampler by name that is made anew for every trial, from (study seed, trial number)."""

    def __init__(self, name: str, seed: int) -> None:
        self._make = pick(SAMPLERS, name, "sampler")
        self._seed = seed
        self._inner = self._make(derived_seed(seed, 0))

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        self._inner = self._make(derived_seed(self._seed, trial.number))
        self._inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        return self._inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._inner.after_trial(study, trial, state, values)
