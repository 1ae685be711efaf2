"""No candidate twice while a search is stuck, and ever nearer ones while nothing is feasible."""

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from nas_service.samplers.forwarding import ForwardingSampler
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.spec import StudySpec

if TYPE_CHECKING:
    from nas_service.samplers.nearest import NearestUnknown

REPLACED = "replaced"  # attribute of a trial: True where the proposed candidate gave way
LAST, STUCK = 20, 15  # of the LAST finished trials STUCK proposed known candidates
HOPELESS = 20  # finished trials without a feasible one after which candidates are nearer and nearer

Params = dict[str, Any]


class DistinctSampler(ForwardingSampler):
    """Another sampler, which does not repeat itself while the search is stuck.

    A search is stuck while no finished trial is feasible, and where STUCK of the LAST trials
    proposed known candidates. Then a known candidate gives way to the unknown one that is nearest
    to the budgets. After HOPELESS trials of which none is feasible every candidate does that is
    farther from them.

    Args:
        inner: Proposes.
        spec: The study.
        density: Of the bits of its data.
    """

    def __init__(
        self, inner: BaseSampler, spec: StudySpec, density: InputDensity = ASSUMED
    ) -> None:
        super().__init__(inner)
        self._spec, self._density = spec, density

    @cached_property
    def _nearest(self) -> "NearestUnknown":
        from nas_service.samplers.nearest import NearestUnknown  # costs candidates

        return NearestUnknown(self._spec, self._density)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """All parameters of the space."""
        return self._nearest.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Params:
        """The inner sampler's candidate, or one that is not known."""
        proposed = self._inner_draw(study, trial, search_space)
        others = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        if not is_stuck(others):
            return proposed
        chosen = self._nearest.instead_of(proposed, trial, others, is_hopeless(others))
        if chosen != proposed:
            study._storage.set_trial_user_attr(trial._trial_id, REPLACED, True)
        return chosen

    def _inner_draw(
        self, study: Study, trial: FrozenTrial, space: dict[str, BaseDistribution]
    ) -> Params:
        """All parameters; one by one where the inner sampler does not draw them together."""
        joint = self.inner.infer_relative_search_space(study, trial)
        params = self.inner.sample_relative(study, trial, joint)
        for name in (name for name in space if name not in params):
            params[name] = self.inner.sample_independent(study, trial, name, space[name])
        return params


def is_stuck(trials: Sequence[FrozenTrial]) -> bool:
    """True where no finished trial is feasible, or most of the last ones proposed nothing new."""
    finished = _finished(trials)
    if not _any_feasible(finished):
        return True
    last = sorted(finished, key=lambda t: t.number)[-LAST:]
    return sum(_proposed_known(t) for t in last) >= STUCK


def is_hopeless(trials: Sequence[FrozenTrial]) -> bool:
    """True where HOPELESS trials or more are finished, and none of them is feasible."""
    finished = _finished(trials)
    return len(finished) >= HOPELESS and not _any_feasible(finished)


def _finished(trials: Sequence[FrozenTrial]) -> list[FrozenTrial]:
    return [t for t in trials if t.state == TrialState.COMPLETE]


def _any_feasible(finished: Sequence[FrozenTrial]) -> bool:
    return any(all(v <= 0 for v in t.constraints.values()) for t in finished)


def _proposed_known(trial: FrozenTrial) -> bool:
    return trial.user_attrs.get("outcome") == "cached" or REPLACED in trial.user_attrs
