"""Which candidate to train next: models of what is unknown, and the expected gain of each.

N candidates, n observations. A candidate's quality is that of the network its training gives:
its function's value and an effect of that one training; what is observed of it has beside that
the error of a finite validation sample.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nas_service.samplers.greybox.acquisition import (
    expected_hypervolume_gain,
    probability_below,
)
from nas_service.samplers.greybox.hypervolume import nondominated
from nas_service.samplers.greybox.problem import Objective, Problem
from nas_service.samplers.greybox.process import Features, Process, Similarity

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
CLIP = 2.5  # standard deviations: a network that fails says no more than that it is bad
SHORTLIST = 800  # candidates whose gain is computed in full
NODES = (np.array([-np.sqrt(3.0), 0.0, np.sqrt(3.0)]), np.array([1 / 6, 2 / 3, 1 / 6]))


@dataclass(frozen=True, eq=False)
class Candidates:
    """What could be trained."""

    features: Features
    costs: Mapping[str, Floats]  # each [N]: exact, or an estimate of a learned metric

    def __len__(self) -> int:
        return len(self.features)

    def take(self, index: Ints | NDArray[np.bool_]) -> "Candidates":
        costs = {name: values[index] for name, values in self.costs.items()}
        return Candidates(self.features.take(index), costs)

    @classmethod
    def join(cls, parts: "Sequence[Candidates]") -> "Candidates":
        costs = {name: np.concatenate([p.costs[name] for p in parts]) for name in parts[0].costs}
        return cls(Features.join([p.features for p in parts]), costs)


@dataclass(frozen=True, eq=False)
class Observations:
    """What has been trained, each with the values that it gave; nan where one is not known."""

    candidates: Candidates
    values: Mapping[str, Floats]  # of learned metrics, each [n]
    contexts: Ints  # [n] 0: this search at full fidelity

    def __len__(self) -> int:
        return len(self.candidates)

    def take(self, index: Ints | NDArray[np.bool_]) -> "Observations":
        values = {name: v[index] for name, v in self.values.items()}
        return Observations(self.candidates.take(index), values, self.contexts[index])


@dataclass(frozen=True, eq=False)
class Metric:
    """A learned metric: a process over its standardised values, or their logarithms."""

    name: str
    process: Process
    known: Ints  # observations that have it
    middle: float
    scale: float
    relative: bool  # the process is of log(value / estimate)
    sign: float  # +1: the process rises with the metric
    noise: float  # variance of what one training adds, standardised
    measured: float  # variance of the validation sample, standardised

    @classmethod
    def fit(
        cls, name: str, problem: Problem, seen: Observations, like: "Metric | None" = None
    ) -> "Metric":
        """The model of a metric, with the covariance of another one if there is one."""
        known = np.flatnonzero(np.isfinite(seen.values[name]))
        part = seen.take(known)
        relative = name in part.candidates.costs
        values = part.values[name]
        if relative:
            values = np.log(values / part.candidates.costs[name])
        sign = -1.0 if any(o.name == name and o.sign > 0 for o in problem.objectives) else 1.0
        features = part.candidates.features
        if not _scored(name, problem, relative):
            features = replace(features, score=np.zeros(len(features)))
        standard, middle, scale = _standardised(sign * values, part.contexts)
        process = Process.fit(features, standard, part.contexts, like.process if like else None)
        noise = float(np.exp(process.weights.noise))
        first = name == problem.learned[0] and not relative
        measured = min(problem.measurement_variance / scale**2, noise) if first else 0.0
        return cls(name, process, known, sign * middle, scale, relative, sign, noise, measured)

    def predict(self, asked: Candidates, alike: Similarity) -> tuple[Floats, Floats]:
        """Mean and deviation of the metric of a new training [N]; of its logarithm if relative."""
        features, alike = asked.features, alike.columns(self.known)
        if not self.process.seen.score.any():
            features = replace(features, score=np.zeros(len(features)))
            alike = replace(alike, scores=np.zeros_like(alike.scores))
        mean, deviation = self.process.posterior(features, alike)
        deviation = np.sqrt(deviation**2 + self.noise - self.measured)
        return self._unscaled(mean, asked), deviation * self.scale

    def _unscaled(self, mean: Floats, asked: Candidates) -> Floats:
        found = self.middle + self.sign * self.scale * mean
        return found + np.log(asked.costs[self.name]) if self.relative else found

    def quality(self, seen: Observations) -> Floats:
        """The metric of trained networks, without the error of the validation sample [n]."""
        values = seen.values[self.name]
        if self.measured <= 0:
            return values
        features = seen.candidates.features
        mean, _ = self.predict(seen.candidates, Similarity.of(features, features))
        trust = 1 - self.measured / self.noise
        return np.where(np.isfinite(values), mean + trust * (values - mean), mean)


def _scored(name: str, problem: Problem, relative: bool) -> bool:
    """Whether the score tells of this metric: of objectives that no cost estimates."""
    return not relative and any(o.name == name for o in problem.objectives)


def _standardised(values: Floats, contexts: Ints) -> tuple[Floats, float, float]:
    """Values of each context by themselves, and middle and scale of context 0."""
    found, middle, scale = np.empty(len(values)), 0.0, 1.0
    for context in np.unique(contexts)[::-1].tolist():
        these = contexts == context
        middle = float(values[these].mean())
        scale = float(values[these].std()) or 1.0
        found[these] = np.clip((values[these] - middle) / scale, -CLIP, CLIP)
    return found, middle, scale


def rank(
    problem: Problem,
    candidates: Candidates,
    seen: Observations,
    running: Candidates,
    die: np.random.Generator,
) -> Ints:
    """All candidates, those of the largest expected gain first; ties are broken by the die.

    What runs elsewhere is taken to give what the models expect of it.
    """
    models = {name: Metric.fit(name, problem, seen) for name in problem.learned}
    if len(running):
        seen = _imagined(models, seen, running)
        models = {n: Metric.fit(n, problem, seen, m) for n, m in models.items()}
    gains = Gains.of(problem, models, seen)
    alike = Similarity.of(candidates.features, seen.candidates.features)
    rough = gains.rough(candidates, alike)
    order = np.lexsort((die.random(len(candidates)), -rough))
    short = order[:SHORTLIST]
    exact = gains.exact(candidates.take(short), alike.rows(short))
    return np.concatenate([short[np.argsort(-exact, kind="stable")], order[SHORTLIST:]])


def _imagined(
    models: "Mapping[str, Metric]", seen: Observations, running: Candidates
) -> Observations:
    """Observations with those that run, at their expected values."""
    alike = Similarity.of(running.features, seen.candidates.features)
    values = {}
    for name, model in models.items():
        mean, _ = model.predict(running, alike)
        new = np.exp(mean) if model.relative else mean
        values[name] = np.concatenate([seen.values[name], new])
    both = Candidates.join([seen.candidates, running])
    return Observations(
        both, values, np.concatenate([seen.contexts, np.zeros(len(running), dtype=np.intp)])
    )


def leading(problem: Problem, seen: Observations, most: int = 20) -> Ints:
    """The best of what was seen here: least over their bounds, then on the front, then the others
    by the sum of their ranks."""
    ours = np.flatnonzero(seen.contexts == 0)
    if not len(ours):
        return ours
    part = seen.take(ours)
    values = {**part.candidates.costs, **part.values}
    ranks = np.zeros(len(ours))
    for o in problem.objectives:
        ranks += np.argsort(np.argsort(o.sign * values[o.name], kind="stable"))
    points = np.stack([o.sign * values[o.name] for o in problem.objectives], -1)
    behind = np.ones(len(ours))
    excess = _excess(problem, part)
    within = np.flatnonzero(excess <= 0)
    behind[within[nondominated(points[within])]] = 0.0
    return ours[np.lexsort((ranks, behind, excess))[:most]]


@dataclass(frozen=True, eq=False)
class Gains:
    """Expected gains over what is known."""

    problem: Problem
    models: Mapping[str, Metric]
    front: Floats  # [K, M] qualities of the best observed, scaled; the gambled objective first
    order: tuple[Objective, ...]  # of the columns
    corner: Floats  # [M] references
    span: Floats  # [M] what scales 1 - 0

    @classmethod
    def of(cls, problem: Problem, models: Mapping[str, Metric], seen: Observations) -> "Gains":
        gambled = [o for o in problem.objectives if o.name in problem.learned]
        order = (*gambled, *(o for o in problem.objectives if o.name not in problem.learned))
        points = np.stack([o.sign * _quality(o.name, models, seen) for o in order], -1)
        kept = np.isfinite(points).all(1) & (seen.contexts == 0)
        within = kept & (_excess(problem, seen) <= 0)
        corner = np.array([_reference(o, points[kept, i]) for i, o in enumerate(order)])
        best = points[kept].min(0) if kept.any() else corner - 1
        span = np.where(corner > best, corner - best, 1.0)
        front = 1 + (points[within] - corner) / span
        front = front[nondominated(front)] if len(front) else front
        return cls(problem, models, front, order, corner, span)

    def rough(self, asked: Candidates, alike: Similarity) -> Floats:
        """The same with learned costs at their means [N]."""
        return self._gain(asked, alike, quick=True)

    def exact(self, asked: Candidates, alike: Similarity) -> Floats:
        """The expected gain, times the probability that learned bounds are kept [N]."""
        return self._gain(asked, alike, quick=False)

    def _gain(self, asked: Candidates, alike: Similarity, quick: bool) -> Floats:
        outcomes = {name: model.predict(asked, alike) for name, model in self.models.items()}
        chance = np.ones(len(asked))
        for bound in self.problem.learned_bounds:
            chance *= _kept(bound, self.models[bound.name], *outcomes[bound.name])
        first, *rest = self.order
        mean, deviation = self._column(first, 0, outcomes, asked)
        uncertain = [i for i, o in enumerate(rest, 1) if o.name in self.problem.learned]
        known = [self._column(o, i, outcomes, asked) for i, o in enumerate(rest, 1)]
        gain = np.zeros(len(asked))
        steps, shares = NODES if uncertain and not quick else (np.zeros(1), np.ones(1))
        for step, share in zip(steps, shares, strict=True):
            columns = [m + step * d for m, d in known]
            others = np.stack(columns, -1) if columns else np.zeros((len(asked), 0))
            gain += share * expected_hypervolume_gain(mean, deviation, others, self.front)
        return gain * chance

    def _column(
        self, o: Objective, i: int, outcomes: Mapping[str, tuple[Floats, Floats]], asked: Candidates
    ) -> tuple[Floats, Floats]:
        """An objective of candidates, minimised and scaled: mean and deviation [N]."""
        if o.name not in outcomes:
            values, deviation = asked.costs[o.name], np.zeros(len(asked))
        else:
            values, deviation = outcomes[o.name]
            if self.models[o.name].relative:  # of the logarithm
                values = np.exp(values)
                deviation = values * deviation
        return 1 + (o.sign * values - self.corner[i]) / self.span[i], deviation / self.span[i]


def _kept(bound: "object", model: Metric, mean: Floats, deviation: Floats) -> Floats:
    at_most, at_least = bound.at_most, bound.at_least  # type: ignore[attr-defined]
    level = at_most if at_most is not None else at_least
    if model.relative:
        level = np.log(level)
    below = probability_below(float(level), mean, deviation)
    return below if at_most is not None else 1 - below


def _quality(name: str, models: Mapping[str, Metric], seen: Observations) -> Floats:
    if name in models:
        return models[name].quality(seen)
    return seen.candidates.costs[name]


def _excess(problem: Problem, seen: Observations) -> Floats:
    values = {**seen.candidates.costs, **seen.values}
    return problem.excess(values, problem.bounds, len(seen))


def _reference(o: Objective, points: Floats) -> float:
    """Given, or for one that has none a tenth of the span behind the worst that was seen."""
    if o.reference is not None:
        return o.sign * o.reference
    if not len(points):
        return 1.0
    worst = float(points.max())
    return worst + 0.1 * (worst - float(points.min())) + 1e-9
