"""A sampler that proposes whole candidates of a study's space."""

from abc import abstractmethod
from typing import Any

import numpy as np
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study
from optuna.trial import FrozenTrial

from nas_service.samplers.greybox_cells import CellProblem
from nas_service.spaces.batch import sample_batch
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.spec import StudySpec

Params = dict[str, Any]  # a candidate as an Optuna trial stores it


class Proposer(BaseSampler):
    """Base of samplers whose `propose` names every parameter of a trial.

    Args:
        spec: The study.
        density: Of the bits of its data.
    """

    def __init__(self, spec: StudySpec, density: InputDensity = ASSUMED) -> None:
        self.spec, self.problem = spec, CellProblem(spec, density)
        self.space = self.problem.space
        self._random = RandomSampler(seed=spec.seed)

    @abstractmethod
    def propose(self, study: Study, trial: FrozenTrial) -> Params:
        """Chooses the next candidate.

        Args:
            study: The Optuna study, with all earlier trials.
            trial: The trial that is to train the candidate.

        Returns:
            A value for every parameter of the space, by name.
        """

    def rng(self, number: int) -> np.random.Generator:
        """The random numbers of one trial, the same in every process."""
        return np.random.default_rng((self.spec.seed, number))

    def drawn(self, rng: np.random.Generator) -> Params:
        """A candidate drawn uniformly from the space."""
        drawn = sample_batch(self.space, 1, int(rng.integers(2**31)))
        return self.space.parameters(drawn.architecture(self.space, 0))

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters of the space."""
        return self.problem.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Params:
        """The proposed candidate."""
        return self.propose(study, trial)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A random value of a parameter that is not of the space."""
        return self._random.sample_independent(study, trial, param_name, param_distribution)
