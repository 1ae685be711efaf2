"""Optuna's own samplers, each made anew for every trial from study seed and trial number."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
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
from optuna.trial import FrozenTrial

from nas_service.samplers.forwarding import ForwardingSampler

POPULATION = 20  # candidates of a generation


def derived_seed(seed: int, number: int) -> int:
    """A seed for one trial of a study, unrelated to those of its neighbours.

    Args:
        seed: The study's seed.
        number: The trial's number.

    Returns:
        A number of 31 bits.
    """
    return int(np.random.SeedSequence((seed, number)).generate_state(1)[0] >> 1)


class SeededSampler(ForwardingSampler):
    """A sampler that keeps nothing between trials, so that a resumed study proposes the same.

    Args:
        make: Builds the inner sampler from a seed.
        seed: The study's seed.
    """

    def __init__(self, make: Callable[[int], BaseSampler], seed: int) -> None:
        super().__init__(make(derived_seed(seed, 0)))
        self._make, self._seed = make, seed

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Replace the inner sampler by that of this trial."""
        self.inner = self._make(derived_seed(self._seed, trial.number))
        self.inner.before_trial(study, trial)


def tpe(seed: int) -> BaseSampler:
    """Multivariate TPE; running trials repel, so that workers do not propose alike."""
    return _experimental(TPESampler, multivariate=True, constant_liar=True, seed=seed)


def nsga2(seed: int) -> BaseSampler:
    """NSGA-II with small generations."""
    return NSGAIISampler(population_size=POPULATION, seed=seed)


def nsga3(seed: int) -> BaseSampler:
    """NSGA-III with small generations."""
    return _experimental(NSGAIIISampler, population_size=POPULATION, seed=seed)


def gp(seed: int) -> BaseSampler:
    """Optuna's Gaussian process; it takes about a second per proposal."""
    return _experimental(GPSampler, seed=seed)


def uniform(seed: int) -> BaseSampler:
    """Random search."""
    return RandomSampler(seed=seed)


def _experimental(make: Callable[..., BaseSampler], **settings: Any) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return make(**settings)
