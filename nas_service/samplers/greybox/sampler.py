"""The sampler for Optuna: costs are known before a trial, results of trainings are modelled.

sampler = GreyBoxSampler(DomainKnowledge(costs), [Objective("error"), Objective("weights")])
study = optuna.create_study(directions=["minimize", "minimize"], sampler=sampler)
"""

import logging
import warnings
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
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
from .candidates import Candidates
from .encoding import Codes, Params, listable
from .expected_gain import AcquisitionModel, Learned
from .history import History, Observation
from .problem import Bound, Objective, Problem
from .scores import columns, units

Ints = NDArray[np.intp]
STARTUP = 3  # trainings, of this study or others, before a model is used
CLIMBS = 2  # rounds in which the most promising candidates of a large space have children
CLIMBERS = 20
SCORED = 16  # candidates whose slow scores are measured for one proposal
EAGER = 1.0  # growth of the logarithm of a first candidate's chance with its score

log = logging.getLogger(__name__)

Observe = Callable[[FrozenTrial], Iterable[Observation]]


def tpe(seed: int) -> BaseSampler:
    """Optuna's multivariate TPE."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ExperimentalWarning)
        return TPESampler(multivariate=True, constant_liar=True, seed=seed)


class GreyBoxSampler(BaseSampler):
    """Proposes the candidate with the largest expected gain of constrained hypervolume.

    With one objective that is its expected improvement. A proposal depends on the seed, the
    trial's number and the other trials, and on nothing that the process remembers.

    Args:
        domain: What is known of candidates without a training.
        objectives: Metrics to optimise; by default the study's values.
        bounds: Budgets on metrics.
        learned: Metrics that only a training gives; those without a cost always are. The cost of
            a learned metric is used as an estimate of it, up to a factor that is learned.
        distributions: The space, so that even the first trial is chosen; by default it is
            inferred from finished trials, and the inner sampler draws until then.
        observe: Results of a finished trial; by default objectives are its values, other metrics
            its user attributes of that name.
        warm: Results of other studies.
        measurement_variance: Of the first learned metric, from its finite validation sample.
        startup: Results before a model is used.
        inner: Makes the sampler, from a seed, that draws what this one cannot model.
        seed: Of all random draws.
    """

    def __init__(
        self,
        domain: DomainKnowledge | None = None,
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
        self._domain = domain or DomainKnowledge()
        self._objectives, self._bounds = tuple(objectives), tuple(bounds)
        self._learned, self._variance = tuple(learned), measurement_variance
        self._distributions = dict(distributions or {})
        self._observe, self._warm = observe, warm
        self._startup, self._make_inner = startup, inner
        self._seed = np.random.SeedSequence(seed).generate_state(1).tolist()[0]
        self._inner = inner(self._seed >> 1)
        self._intersection = IntersectionSearchSpace()
        self._pool: tuple[dict[str, BaseDistribution], CandidatePool] | None = None
        self._models: Learned = {}
        self._scored_models: Learned = {}
        self._warned: set[str] = set()

    def score_by(self, scores: Mapping[str, Callable[[Sequence[Params]], Any]]) -> None:
        """Use slow training-free scores from now on, see `DomainKnowledge.scores`."""
        self._domain, self._pool = replace(self._domain, scores=scores), None

    def reseed_rng(self) -> None:
        """Draw a new seed, as Optuna asks of samplers in parallel threads."""
        self._seed = np.random.SeedSequence().generate_state(1).tolist()[0]
        self._inner.reseed_rng()

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """Replace the inner sampler by that of this trial."""
        rng = np.random.default_rng((self._seed, trial.number, 1))
        self._inner = self._make_inner(int(rng.integers(2**31)))
        self._inner.before_trial(study, trial)

    def after_trial(
        self, study: Study, trial: FrozenTrial, state: TrialState, values: Sequence[float] | None
    ) -> None:
        """Asks the inner sampler."""
        self._inner.after_trial(study, trial, state, values)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """The given space, or the parameters that all finished trials share."""
        if self._distributions:
            return self._distributions
        shared = self._intersection.calculate(study)
        space = {name: d for name, d in sorted(shared.items()) if not d.single()}
        if not space or listable(space):
            return space
        self._warn(
            "parameters without a list of values cannot be modelled, the inner sampler draws"
        )
        return self._inner.infer_relative_search_space(study, trial)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """Asks the inner sampler."""
        return self._inner.sample_independent(study, trial, param_name, param_distribution)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The proposed candidate; the inner sampler's where no model can be fitted."""
        if not search_space or not listable(search_space):
            return self._inner_draw(study, trial, search_space)
        try:
            return self._propose(study, trial, self._pool_of(search_space))
        except np.linalg.LinAlgError as error:
            self._warn(f"no model can be fitted ({error}), the inner sampler draws")
            return self._inner_draw(study, trial, search_space)

    def _inner_draw(
        self, study: Study, trial: FrozenTrial, space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """All parameters; one by one where the inner sampler does not draw them together."""
        params = self._inner.sample_relative(study, trial, space)
        for name in sorted(space.keys() - params.keys()):
            params[name] = self._inner.sample_independent(study, trial, name, space[name])
        return params

    def _warn(self, text: str) -> None:
        """Log a warning once."""
        if text not in self._warned:
            self._warned.add(text)
            log.warning("GreyBoxSampler: %s", text)

    def _pool_of(self, space: dict[str, BaseDistribution]) -> CandidatePool:
        if self._pool is None or self._pool[0] != space:
            self._pool = space, CandidatePool(Codes(space), self._domain)
        return self._pool[1]

    def _problem(self, study: Study, costs: Iterable[str]) -> Problem:
        """The objectives, by default those of the study; a metric without a cost is learned."""
        plain = tuple(
            Objective(f"value{i}", "maximize" if d == StudyDirection.MAXIMIZE else "minimize")
            for i, d in enumerate(study.directions)
        )
        objectives = self._objectives or plain
        names = dict.fromkeys([*(o.name for o in objectives), *(b.name for b in self._bounds)])
        learned = [n for n in names if n in self._learned or n not in costs]
        return Problem(objectives, self._bounds, tuple(learned), self._variance)

    def _propose(self, study: Study, trial: FrozenTrial, pool: CandidatePool) -> dict[str, Any]:
        rng = np.random.default_rng((self._seed, trial.number))
        trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        problem = self._problem(study, pool.cost_names)
        history = self._history(problem, pool, trials, list(self._warm(study)))
        known = {pool.key(row) for row in history.known}
        codes, candidates = pool.pool(problem, history.leading(problem), rng, history.unknown)
        excess = problem.excess(candidates.costs, problem.exact_bounds, len(codes))
        within = np.flatnonzero(history.unknown(codes) & (excess <= 0))
        if any(pool.key(row) not in known for row in codes[within]):
            codes, candidates = codes[within], candidates.take(within)
            ranked, skipped = self._ranked(problem, pool, history, codes, candidates, rng), 0
        else:  # the nearest, without those of earlier trials whose candidate is not visible yet
            ranked = codes[np.lexsort((self._ties(codes), excess))]
            skipped = hidden(trials, trial.number)
        chosen = [ranked[0], *islice(_different(pool, ranked, known), skipped + 1)][-1]
        return pool.codes.decode(chosen[None])[0]

    def _ties(self, codes: Ints) -> NDArray[np.float64]:
        """A number for each candidate, the same at every proposal, that puts equals in an order."""
        weights = np.random.default_rng(self._seed).random(codes.shape[1])
        return np.asarray(codes @ weights % 1)

    def _ranked(
        self,
        problem: Problem,
        pool: CandidatePool,
        history: History,
        codes: Ints,
        candidates: Candidates,
        rng: np.random.Generator,
    ) -> Ints:
        """Codes of candidates to choose from [N, D], the best first."""
        if len(history.observed) < self._startup and problem.learned:
            return codes[_eager(candidates, rng)]
        running, begun = history.running(pool), history.unfinished(pool)
        model = AcquisitionModel.of(problem, history.observed, running, begun, self._models)
        if not pool.small:
            codes, candidates = _climbed(problem, pool, history, model, codes, candidates, rng)
        order = model.order(candidates, rng)
        return codes[self._by_scores(problem, pool, history, codes, candidates, order)]

    def _by_scores(
        self,
        problem: Problem,
        pool: CandidatePool,
        history: History,
        codes: Ints,
        candidates: Candidates,
        order: Ints,
    ) -> Ints:
        """The order with its first candidates ranked again, by a model that uses slow scores."""
        own = history.observed.contexts == 0
        known = units({name: values[own] for name, values in history.scores.items()})
        if not known:
            return order
        first = order[:SCORED]

        def scored(candidates: Candidates, codes: Ints) -> Candidates:
            return candidates.scored(columns(known, pool.scores(codes)))

        observed = history.observed
        with_scores = observed.candidates.scored(columns(known, history.scores))
        observed = replace(observed, candidates=with_scores)
        running = scored(history.running(pool), history.under_way)
        begun = scored(history.unfinished(pool), history.begun)
        model = AcquisitionModel.of(problem, observed, running, begun, self._scored_models)
        rescored = scored(candidates.take(first), codes[first])
        again = np.argsort(-model.exact(rescored), kind="stable")
        return np.concatenate([first[again], order[SCORED:]])

    def _history(
        self,
        problem: Problem,
        pool: CandidatePool,
        trials: Sequence[FrozenTrial],
        warm: Sequence[Observation],
    ) -> History:
        observe = self._observe or partial(default_observe, problem, _pruning_steps(trials))
        finished = [result for t in trials if t.state.is_finished() for result in observe(t)]
        running = [t.params for t in trials if t.state == TrialState.RUNNING]
        known = [t.params for t in trials]
        return History.of(problem, pool, finished, warm, running, known)


def hidden(trials: Iterable[FrozenTrial], number: int) -> int:
    """Number of trials before one whose candidates are not visible yet.

    Args:
        trials: The visible trials of the study.
        number: Of the trial; those before it have all numbers from 0.

    Returns:
        How many of them are not visible, or run without parameters.
    """
    earlier = (t for t in trials if t.number < number)
    return number - sum(t.state != TrialState.RUNNING or bool(t.params) for t in earlier)


def _different(pool: CandidatePool, rows: Ints, known: set[Hashable]) -> Iterator[Ints]:
    """The rows of candidates that are not known, each candidate once."""
    seen = set(known)
    for row in rows:
        if pool.key(row) not in seen:
            seen.add(pool.key(row))
            yield row


def _climbed(
    problem: Problem,
    pool: CandidatePool,
    history: History,
    model: AcquisitionModel,
    codes: Ints,
    candidates: Candidates,
    rng: np.random.Generator,
) -> tuple[Ints, Candidates]:
    """The candidates, and children of the most promising ones over a few generations."""
    rough = model.rough(candidates)
    for _ in range(CLIMBS):
        best = np.argsort(-rough, kind="stable")[:CLIMBERS]
        children, more = pool.children(problem, codes, best, rng)
        new = history.unknown(children)
        if new.any():
            more = more.take(new)
            codes = np.concatenate([codes, children[new]])
            candidates = Candidates.join([candidates, more])
            rough = np.append(rough, model.rough(more))
    return codes, candidates


def _eager(candidates: Candidates, rng: np.random.Generator) -> Ints:
    """A random order in which high scores mostly come first."""
    keys = EAGER * candidates.features.score + rng.gumbel(size=len(candidates))
    return np.argsort(-keys)


def _pruning_steps(trials: Sequence[FrozenTrial]) -> set[int]:
    """Last steps of trials that were pruned, or are running."""
    ended = (TrialState.PRUNED, TrialState.RUNNING)
    return {t.last_step for t in trials if t.state in ended and t.last_step is not None}


def default_observe(problem: Problem, cuts: set[int], trial: FrozenTrial) -> Iterator[Observation]:
    """Results of a finished trial as Optuna stores them.

    Args:
        problem: Objectives, in the order of the trial's values.
        cuts: Steps at which trials were pruned; a value that was reported at such a step is an
            observation in a context of its own.
        trial: A finished trial; other metrics are taken from its user attributes.

    Yields:
        One observation for each context.
    """
    names = [objective.name for objective in problem.objectives]
    if trial.state == TrialState.COMPLETE:
        values = {k: float(v) for k, v in trial.user_attrs.items() if isinstance(v, int | float)}
        yield Observation(trial.params, values | dict(zip(names, trial.values, strict=True)))
    for step in sorted(cuts & trial.intermediate_values.keys()):
        yield Observation(trial.params, {names[0]: trial.intermediate_values[step]}, f"step {step}")
