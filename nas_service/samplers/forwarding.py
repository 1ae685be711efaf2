"""A sampler that asks another one: what samplers around samplers share."""

from collections.abc import Sequence
from typing import Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState


class ForwardingSampler(BaseSampler):
    """Asks the inner sampler everything; subclasses change what they need to.

    Args:
        inner: Is asked.
    """

    def __init__(self, inner: BaseSampler) -> None:
        self.inner = inner

    def reseed_rng(self) -> None:
        """Asks the inner sampler."""
        self.inner.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Asks the inner sampler."""
        self.inner.before_trial(study, trial)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Asks the inner sampler."""
        return self.inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Asks the inner sampler."""
        return self.inner.sample_relative(study, trial, search_space)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Asks the inner sampler."""
        return self.inner.sample_independent(study, trial, param_name, param_distribution)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Asks the inner sampler."""
        self.inner.after_trial(study, trial, state, values)
