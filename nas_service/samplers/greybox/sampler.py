"""The sampler for Optuna: costs are known before a trial, what a training gives is modelled.

sampler = GreyBoxSampler(Knowledge(costs), [Objective("error"), Objective("weights")], seed=1)
study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
"""

import logging
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.exceptions import ExperimentalWarning
from optuna.samplers import BaseSampler, TPESampler
from optuna.search_space import IntersectionSearchSpace
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from .candidate_pool import CandidatePool, DomainKnowledge
from .encoding import Codes, Params, listable
from .expected_gain import AcquisitionModel, Candidates, Learned
from .history import History, Observation
from .problem import Bound, Objective, Problem
from .scores import columns, units

Ints = NDArray[np.intp]
STARTUP = 3  # trainings, here or elsewhere, before a model is asked
CLIMBS = 2  # rounds in which what promises most in a large space has children
CLIMBERS = 20
SCORED = 16  # candidates whose slow scores are measured for one proposal
EAGER = 1.0  # growth of the logarithm of a candidate's chance among these with its score

log = logging.getLogger(__name__)

Observe = Callable[[FrozenTrial], Iterable[Observation]]


def tpe(seed: int) -> BaseSampler:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(multivariate=True, constant_liar=True, seed=seed)


class GreyBoxSampler(BaseSampler):
    """Proposes the candidate whose training promises the largest gain of the hypervolume of what
    keeps the bounds, or of the one objective.

    `learned` names the metrics that only a training tells; those without a cost always are. The
    cost of a learned metric is taken for an estimate of it, up to a factor that is learned.
    `observe` tells what a finished trial gave; without it, objectives are its values, and other
    metrics its user attributes of that name. `warm` gives what other studies saw. `distributions`
    is the space, so that even the first trial is chosen; without it the sampler begins when it
    knows the space from finished trials.

    What is proposed depends on the seed, the trial's number and the other trials, and on nothing
    that the process remembers. `inner` makes the sampler that draws where this one cannot.
    """

    def __init__(
        self,
        knowledge: DomainKnowledge | None = None,
        objectives: Sequence[Objective] = (),
        bounds: Sequence[Bound] = (),
        learned: Sequence[str] = (),
        *,
        distributions: Mapping[str, BaseDistribution] | None = None,
        observe: Observe | None = None,
        warm: Callable[[Study], Iterable[Observation]] = lambda study: (),
        measurement_variance: float = 0.0,
        startup: int = STARTUP,
        inner: Callable[[int], BaseSampler] = tpe,
        seed: int | None = None,
    ) -> None:
        self._knowledge = knowledge or DomainKnowledge()
        self._objectives, self._bounds = tuple(objectives), tuple(bounds)
        self._learned, self._variance = tuple(learned), measurement_variance
        self._distributions = dict(distributions or {})
        self._observe, self._warm = observe, warm
        self._startup, self._make_inner = startup, inner
        self._seed = np.random.SeedSequence(seed).generate_state(1).tolist()[0]
        self._inner = inner(self._seed >> 1)
        self._intersection = IntersectionSearchSpace()
        self._world: tuple[dict[str, BaseDistribution], CandidatePool] | None = None
        self._models: Learned = {}
        self._scored_models: Learned = {}
        self._said: set[str] = set()

    def score_by(self, scores: Mapping[str, Callable[[Sequence[Params]], Any]]) -> None:
        """Slow training-free scores from now on, as of `Knowledge`."""
        self._knowledge, self._world = replace(self._knowledge, scores=scores), None

    def reseed_rng(self) -> None:
        self._seed = np.random.SeedSequence().generate_state(1).tolist()[0]
        self._inner.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        die = np.random.default_rng((self._seed, trial.number, 1))
        self._inner = self._make_inner(int(die.integers(2**31)))
        self._inner.before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        self._inner.after_trial(study, trial, state, values)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        if self._distributions:
            return self._distributions
        found = self._intersection.calculate(study)
        space = {name: d for name, d in sorted(found.items()) if not d.single()}
        if not space or listable(space):
            return space
        self._say("parameters without a list of values cannot be modelled, the inner sampler draws")
        return self._inner.infer_relative_search_space(study, trial)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        if not search_space or not listable(search_space):
            return self._inner_draw(study, trial, search_space)
        try:
            return self._propose(study, trial, self._world_of(search_space))
        except np.linalg.LinAlgError as error:
            self._say(f"no model can be fitted ({error}), the inner sampler draws")
            return self._inner_draw(study, trial, search_space)

    def _inner_draw(
        self, study: Study, trial: FrozenTrial, space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """All parameters; those that the inner sampler does not draw together one by one."""
        found = self._inner.sample_relative(study, trial, space)
        for name in sorted(space.keys() - found.keys()):
            found[name] = self._inner.sample_independent(study, trial, name, space[name])
        return found

    def _say(self, text: str) -> None:
        """Once."""
        if text not in self._said:
            self._said.add(text)
            log.warning("GreyBoxSampler: %s", text)

    def _world_of(self, space: dict[str, BaseDistribution]) -> CandidatePool:
        if self._world is None or self._world[0] != space:
            self._world = space, CandidatePool(Codes(space), self._knowledge)
        return self._world[1]

    def _problem(self, study: Study, costs: Iterable[str]) -> Problem:
        """Objectives of the study, unless they are given; what has no cost is learned."""
        plain = tuple(
            Objective(f"value{i}", "maximize" if d == StudyDirection.MAXIMIZE else "minimize")
            for i, d in enumerate(study.directions)
        )
        objectives = self._objectives or plain
        names = dict.fromkeys([*(o.name for o in objectives), *(b.name for b in self._bounds)])
        learned = [n for n in names if n in self._learned or n not in costs]
        return Problem(objectives, self._bounds, tuple(learned), self._variance)

    def _propose(self, study: Study, trial: FrozenTrial, world: CandidatePool) -> dict[str, Any]:
        die = np.random.default_rng((self._seed, trial.number))
        trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        problem = self._problem(study, world.cost_names)
        history = self._history(problem, world, trials, list(self._warm(study)))
        codes, candidates = world.pool(problem, history.leading(problem), die)
        fresh = history.fresh(problem, codes, candidates)
        codes, pool = codes[fresh], candidates.take(fresh)
        if len(history.seen) < self._startup and problem.learned:
            order = _eager(pool, die)
        else:
            running, begun = history.running(world), history.unfinished(world)
            outlook = AcquisitionModel.of(problem, history.seen, running, begun, self._models)
            if not world.small:
                codes, pool = _climbed(problem, world, history, outlook, codes, pool, die)
            order = outlook.order(pool, die)
            order = self._by_scores(problem, world, history, codes, pool, order)
        known = {world.key(row) for row in history.known}
        ranked = codes[order]
        unknown = (row for row in ranked if world.key(row) not in known)
        chosen = next(unknown, ranked[0])
        return world.codes.decode(chosen[None])[0]

    def _by_scores(
        self,
        problem: Problem,
        world: CandidatePool,
        history: History,
        codes: Ints,
        pool: Candidates,
        order: Ints,
    ) -> Ints:
        """The order in which the first are ranked anew, by a model that sees slow scores too."""
        here = history.seen.contexts == 0
        known = units({name: values[here] for name, values in history.scores.items()})
        if not known:
            return order
        first = order[:SCORED]

        def scored(candidates: Candidates, own: Ints) -> Candidates:
            return candidates.scored(columns(known, world.scores(own)))

        seen = history.seen
        seen = replace(seen, candidates=seen.candidates.scored(columns(known, history.scores)))
        running = scored(history.running(world), history.under_way)
        begun = scored(history.unfinished(world), history.begun)
        outlook = AcquisitionModel.of(problem, seen, running, begun, self._scored_models)
        asked = scored(pool.take(first), codes[first])
        again = np.argsort(-outlook.exact(asked), kind="stable")
        return np.concatenate([first[again], order[SCORED:]])

    def _history(
        self,
        problem: Problem,
        world: CandidatePool,
        trials: Sequence[FrozenTrial],
        warm: Sequence[Observation],
    ) -> History:
        observe = self._observe or partial(default_observe, problem, _cuts(trials))
        finished = [s for t in trials if t.state.is_finished() for s in observe(t)]
        running = [t.params for t in trials if t.state == TrialState.RUNNING]
        known = [t.params for t in trials]
        return History.of(problem, world, finished, warm, running, known)


def _climbed(
    problem: Problem,
    world: CandidatePool,
    history: History,
    outlook: AcquisitionModel,
    codes: Ints,
    pool: Candidates,
    die: np.random.Generator,
) -> tuple[Ints, Candidates]:
    """A pool with the children of what promises most in it, a few times over."""
    rough = outlook.rough(pool)
    for _ in range(CLIMBS):
        best = np.argsort(-rough, kind="stable")[:CLIMBERS]
        children, more = world.children(problem, codes, best, die)
        new = history.unknown(children)
        if new.any():
            more = more.take(new)
            codes = np.concatenate([codes, children[new]])
            pool, rough = Candidates.join([pool, more]), np.append(rough, outlook.rough(more))
    return codes, pool


def _eager(pool: Candidates, die: np.random.Generator) -> Ints:
    """An order by chance, in which high scores mostly come first."""
    keys = EAGER * pool.features.score + die.gumbel(size=len(pool))
    return np.argsort(-keys)


def _cuts(trials: Sequence[FrozenTrial]) -> set[int]:
    """Steps at which trials were ended, or are now."""
    ended = (TrialState.PRUNED, TrialState.RUNNING)
    return {t.last_step for t in trials if t.state in ended and t.last_step is not None}


def default_observe(problem: Problem, cuts: set[int], trial: FrozenTrial) -> Iterator[Observation]:
    """Values of objectives by their order, other metrics from user attributes; and what was
    reported at steps at which some trial ended, each step a context."""
    if trial.state == TrialState.COMPLETE:
        found = {k: float(v) for k, v in trial.user_attrs.items() if isinstance(v, int | float)}
        names = [o.name for o in problem.objectives]
        yield Observation(trial.params, found | dict(zip(names, trial.values, strict=True)))
    first = problem.objectives[0].name
    for step in sorted(cuts & trial.intermediate_values.keys()):
        yield Observation(trial.params, {first: trial.intermediate_values[step]}, f"step {step}")
