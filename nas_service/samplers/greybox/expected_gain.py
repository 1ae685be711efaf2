"""Which candidate to train next: the expected gain of each over what is known.

N candidates, n observations, K points of a front, M objectives.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .acquisition import expected_hypervolume_gain
from .candidates import Candidates, Observations
from .gaussian_process import Similarity
from .metric_model import Metric
from .pareto import nondominated
from .problem import Objective, Problem

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
MODELLED = 500  # observations that a model is fitted to
FEW_TO_LEARN = 100  # observations up to which covariances are learned from all at each proposal
LEARNED_AGAIN = 1.05  # growth of their number after which covariances are learned again
SHORTLIST = 800  # candidates whose gain is computed in full
NODES = (np.array([-np.sqrt(3.0), 0.0, np.sqrt(3.0)]), np.array([1 / 6, 2 / 3, 1 / 6]))

Learned = dict[bytes, dict[str, Metric]]  # digest of observations -> the models fitted to them


@dataclass(frozen=True, eq=False)
class AcquisitionModel:
    """Expected gains of candidates."""

    gains: "Gains"
    part: Candidates  # those that the models were fitted to

    @classmethod
    def of(
        cls,
        problem: Problem,
        observed: Observations,
        running: Candidates,
        begun: Candidates,
        learned: Learned | None = None,
    ) -> "AcquisitionModel":
        """Fit models to observations.

        Args:
            problem: Objectives and bounds.
            observed: Trained candidates.
            running: Candidates in training; they are assumed to give what the models expect.
            begun: Candidates that are not fully trained; a gain must exceed what is expected of
                them as well.
            learned: Models to be reused where they would be learned again; changes no result.

        Returns:
            The fitted models, which rank candidates.
        """
        part = observed.take(representative(problem, observed))
        like = _earlier(problem, observed, {} if learned is None else learned)
        models = {name: Metric.fit(name, problem, part, like.get(name)) for name in problem.learned}
        if len(running):
            observed, part = (_imagined(models, x, part, running) for x in (observed, part))
            models = {n: Metric.fit(n, problem, part, m) for n, m in models.items()}
        observed = _imagined(models, observed, part, begun) if len(begun) else observed
        return cls(Gains.of(problem, models, observed, part), part.candidates)

    def rough(self, candidates: Candidates) -> Floats:
        """Gains of candidates [N], with learned costs at their means."""
        return self.gains.rough(candidates, Similarity.of(candidates.features, self.part.features))

    def exact(self, candidates: Candidates) -> Floats:
        """Gains of candidates [N], in full."""
        return self.gains.exact(candidates, Similarity.of(candidates.features, self.part.features))

    def order(self, candidates: Candidates, rng: np.random.Generator) -> Ints:
        """Ranks candidates by their expected gain.

        Args:
            candidates: The candidates.
            rng: Source of the order of equal gains.

        Returns:
            Positions of all candidates [N], the largest gain first. The gains of the first
            SHORTLIST are computed in full, the others follow by their rough gains.
        """
        alike = Similarity.of(candidates.features, self.part.features)
        rough = self.gains.rough(candidates, alike)
        order = np.lexsort((rng.random(len(candidates)), -rough))
        short = order[:SHORTLIST]
        exact = self.gains.exact(candidates.take(short), alike.rows(short))
        return np.concatenate([short[np.argsort(-exact, kind="stable")], order[SHORTLIST:]])


def _earlier(problem: Problem, observed: Observations, learned: Learned) -> Mapping[str, Metric]:
    """Models of the first observations, whose covariances are taken over; none while all are few.

    They stay the same for a while: the number of first observations grows by a share at a time.
    """
    own = np.flatnonzero(observed.contexts == 0)
    if len(own) <= FEW_TO_LEARN:
        return {}
    grown = int(np.log(len(own) / FEW_TO_LEARN) / np.log(LEARNED_AGAIN))
    count = int(FEW_TO_LEARN * LEARNED_AGAIN**grown)
    first = np.concatenate([own[:count], np.flatnonzero(observed.contexts)])
    part = observed.take(np.sort(first))
    digest = part.digest + repr(problem).encode()
    if digest not in learned:
        part = part.take(representative(problem, part))
        learned.clear()
        learned[digest] = {name: Metric.fit(name, problem, part) for name in problem.learned}
    return learned[digest]


def _imagined(
    models: Mapping[str, Metric], observed: Observations, part: Observations, running: Candidates
) -> Observations:
    """Observations with running candidates at the values that models of `part` expect."""
    alike = Similarity.of(running.features, part.candidates.features)
    values = {
        name: model.outcome(running, *model.predict(running, alike))[0]
        for name, model in models.items()
    }
    return observed.joined(running, values)


def representative(problem: Problem, observed: Observations) -> Ints:
    """Chooses the observations that models are fitted to.

    Args:
        problem: Objectives and bounds.
        observed: Trained candidates.

    Returns:
        Positions of all observations; of more than MODELLED, those of the best and of an even part
        of the others.
    """
    if len(observed) <= MODELLED:
        return np.arange(len(observed))
    best = leading(problem, observed, MODELLED // 2)
    others = np.setdiff1d(np.arange(len(observed)), best)
    even = np.linspace(0, len(others) - 1, MODELLED - len(best)).astype(np.intp)
    return np.sort(np.concatenate([best, others[even]]))


def leading(problem: Problem, observed: Observations, most: int = 20) -> Ints:
    """The best observations of context 0.

    They are ordered by the excess over their bounds, then those on the front first, then by the sum
    of their ranks in each objective.

    Args:
        problem: Objectives and bounds.
        observed: Trained candidates.
        most: The largest number of positions.

    Returns:
        Positions among the observations, the best first.
    """
    own = np.flatnonzero(observed.contexts == 0)
    if not len(own):
        return own
    part = observed.take(own)
    points = np.stack([o.sign * part.metrics[o.name] for o in problem.objectives], -1)
    ranks = np.zeros(len(own))
    for column in points.T:
        ranks += np.argsort(np.argsort(column, kind="stable"))
    off_front = np.ones(len(own))
    excess = _excess(problem, part)
    within = np.flatnonzero(excess <= 0)
    off_front[within[nondominated(points[within])]] = 0.0
    return own[np.lexsort((ranks, off_front, excess))[:most]]


@dataclass(frozen=True, eq=False)
class Gains:
    """Expected gains of hypervolume over a front."""

    problem: Problem
    models: Mapping[str, Metric]
    front: Floats  # [K, M] best qualities observed, scaled; the uncertain objective first
    order: tuple[Objective, ...]  # of the columns
    corner: Floats  # [M] reference values
    span: Floats  # [M] distance from reference to best, which scales to 1

    @classmethod
    def of(
        cls,
        problem: Problem,
        models: Mapping[str, Metric],
        observed: Observations,
        part: Observations,
    ) -> "Gains":
        """Gains over the front of observations.

        Args:
            problem: Objectives and bounds.
            models: learned metric -> its model.
            observed: Trained candidates.
            part: The observations that the models were fitted to.

        Returns:
            The gains, over qualities that are scaled so that reference to best is 1.
        """
        uncertain = [o for o in problem.objectives if o.name in problem.learned]
        order = (*uncertain, *(o for o in problem.objectives if o.name not in problem.learned))
        points = np.stack([o.sign * _quality(o.name, models, observed, part) for o in order], -1)
        counted = np.isfinite(points).all(1) & (observed.contexts == 0)
        within = counted & (_excess(problem, observed) <= 0)
        corner = np.array([_reference(o, points[counted, i]) for i, o in enumerate(order)])
        best = points[counted].min(0) if counted.any() else corner - 1
        span = np.where(corner > best, corner - best, 1.0)
        front = 1 + (points[within] - corner) / span
        front = front[nondominated(front)] if len(front) else front
        return cls(problem, models, front, order, corner, span)

    def rough(self, candidates: Candidates, alike: Similarity) -> Floats:
        """As `exact`, with learned costs at their means; the arguments are those of `exact`."""
        return self._gain(candidates, alike, quick=True)

    def exact(self, candidates: Candidates, alike: Similarity) -> Floats:
        """The expected gain of hypervolume, times the probability that learned bounds are kept.

        Args:
            candidates: The candidates.
            alike: Their similarity to the observations that the models were fitted to [N, n].

        Returns:
            Gains [N], as volumes in the scaled objectives.
        """
        return self._gain(candidates, alike, quick=False)

    def _gain(self, candidates: Candidates, alike: Similarity, quick: bool) -> Floats:
        """Gauss-Hermite quadrature with three nodes over the second uncertain objectives."""
        outcomes = {name: model.predict(candidates, alike) for name, model in self.models.items()}
        chance = np.ones(len(candidates))
        for bound in self.problem.learned_bounds:
            chance *= self.models[bound.name].kept(bound, candidates, *outcomes[bound.name])
        first, *rest = self.order
        mean, deviation = self._column(first, 0, outcomes, candidates)
        uncertain = any(o.name in self.problem.learned for o in rest)
        known = [self._column(o, i, outcomes, candidates) for i, o in enumerate(rest, 1)]
        gain = np.zeros(len(candidates))
        steps, shares = NODES if uncertain and not quick else (np.zeros(1), np.ones(1))
        for step, share in zip(steps, shares, strict=True):
            columns = [m + step * d for m, d in known]
            others = np.stack(columns, -1) if columns else np.zeros((len(candidates), 0))
            gain += share * expected_hypervolume_gain(mean, deviation, others, self.front)
        return gain * chance

    def _column(
        self,
        o: Objective,
        i: int,
        outcomes: Mapping[str, tuple[Floats, Floats]],
        candidates: Candidates,
    ) -> tuple[Floats, Floats]:
        """An objective of candidates, minimised and scaled: mean and deviation [N]."""
        values, deviation = candidates.costs.get(o.name, np.zeros(0)), np.zeros(len(candidates))
        if o.name in outcomes:
            values, deviation = self.models[o.name].outcome(candidates, *outcomes[o.name])
        return 1 + (o.sign * values - self.corner[i]) / self.span[i], deviation / self.span[i]


def _quality(
    name: str, models: Mapping[str, Metric], observed: Observations, part: Observations
) -> Floats:
    if name in models:
        return models[name].quality(observed, part)
    return observed.candidates.costs[name]


def _excess(problem: Problem, observed: Observations) -> Floats:
    return problem.excess(observed.metrics, problem.bounds, len(observed))


def _reference(objective: Objective, points: Floats) -> float:
    """The given reference, or a tenth of the span worse than the worst observed."""
    if objective.reference is not None:
        return objective.sign * objective.reference
    if not len(points):
        return 1.0
    worst = float(points.max())
    return worst + 0.1 * (worst - float(points.min())) + 1e-9
