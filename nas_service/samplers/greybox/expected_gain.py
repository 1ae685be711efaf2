"""Which candidate to train next: models of what is unknown, and the expected gain of each.

N candidates, n observations. A candidate's quality is that of the network its training gives:
its function's value and an effect of that one training; what is observed of it has beside that
the error of a finite validation sample.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from .acquisition import (
    expected_hypervolume_gain,
    probability_below,
)
from .gaussian_process import Features, Process, Similarity
from .pareto import nondominated
from .problem import Bound, Objective, Problem
from .transform import Scale

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
MODELLED = 500  # observations that a model is made of
FEW = 5  # values that say too little of their own scale
FEW_TO_LEARN = 100  # observations up to which covariances are learned from all at each proposal
LEARNED_AGAIN = 1.05  # growth of their number after which covariances are learned again
MARGIN = 3.0  # see Scale
SHORTLIST = 800  # candidates whose gain is computed in full
NODES = (np.array([-np.sqrt(3.0), 0.0, np.sqrt(3.0)]), np.array([1 / 6, 2 / 3, 1 / 6]))


@dataclass(frozen=True, eq=False)
class Candidates:
    """What could be trained."""

    features: Features
    costs: Mapping[str, Floats]  # each [N]: exact, or an estimate of a learned metric

    def __len__(self) -> int:
        return len(self.features)

    def scored(self, scores: Floats) -> "Candidates":
        """The same with measured scores [N, S], standardised."""
        return Candidates(replace(self.features, measured=scores), self.costs)

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

    @property
    def digest(self) -> bytes:
        """Equal for equal observations."""
        f = self.candidates.features
        known = (*self.candidates.costs.values(), *self.values.values(), self.contexts)
        found = blake2b(digest_size=16)
        for array in (f.numbers, f.kinds, f.details, f.score, f.measured, *known):
            found.update(np.ascontiguousarray(array).tobytes())
        return found.digest()


@dataclass(frozen=True, eq=False)
class Metric:
    """A learned metric: a process over its standardised values."""

    name: str
    process: Process
    known: Ints  # observations that have it
    scale: Scale
    relative: bool  # the process is of value / estimate
    blind: bool  # scores say nothing of it
    noise: float  # variance of what one training adds, standardised
    measured: float  # variance of the validation sample, standardised

    @classmethod
    def fit(
        cls, name: str, problem: Problem, seen: Observations, like: "Metric | None" = None
    ) -> "Metric":
        """The model of a metric, with the covariance of another one if there is one."""
        known = np.flatnonzero(np.isfinite(seen.values[name]))
        part = seen.take(known)
        relative, optimised = name in part.candidates.costs, problem.optimises(name)
        values, features = part.values[name], part.candidates.features
        if relative:
            values = values / part.candidates.costs[name]
        blind = relative or not optimised
        features = features.blind if blind else features
        made = partial(Scale.fit, sign=-problem.sign(name), logarithm=relative)
        if not blind:
            made = partial(made, margin=MARGIN)
        noisy = problem.samples(name) and not relative
        standard, scale = _standardised(made, features, values, part.contexts)
        loudness = scale.loudness(standard)
        # what was seen elsewhere too, as at several rungs, tells noise from function
        alone = noisy and not part.contexts.any()
        process = Process.fit(
            features, standard, part.contexts, loudness, alone, like.process if like else None
        )
        noise = float(np.exp(process.weights.noise))
        measured = 0.0
        own = values[part.contexts == 0]
        if noisy and len(own):
            measured = _sampling(problem.measurement_variance, scale, own, noise)
        return cls(name, process, known, scale, relative, blind, noise, measured)

    def predict(self, asked: Candidates, alike: Similarity) -> tuple[Floats, Floats]:
        """Mean and deviation [N], standardised, of the metric of a new training."""
        features, alike = asked.features, alike.columns(self.known)
        if self.blind:
            features = features.blind
            alike = replace(alike, scores=np.zeros_like(alike.scores))
        mean, deviation = self.process.posterior(features, alike)
        one = (self.noise - self.measured) * self.scale.loudness(mean) ** 2
        return mean, np.sqrt(deviation**2 + one)

    def outcome(self, asked: Candidates, mean: Floats, deviation: Floats) -> tuple[Floats, Floats]:
        """Middle and deviation towards the better [N] in the metric's unit."""
        middle, better = self.scale.value(mean), self.scale.value(mean + deviation)
        unit = asked.costs[self.name] if self.relative else 1.0
        return unit * middle, unit * np.abs(better - middle)

    def kept(self, bound: Bound, asked: Candidates, mean: Floats, deviation: Floats) -> Floats:
        """Probability that a bound on this metric is kept [N]."""
        level = np.full(len(mean), bound.level)
        if self.relative:
            level = level / asked.costs[self.name]
        below = probability_below(self.scale.standard(level), mean, deviation)
        falls = self.scale.sign < 0 and not self.relative
        return below if (bound.at_most is not None) != falls else 1 - below

    def quality(self, seen: Observations, part: Observations) -> Floats:
        """The metric of trained networks, without the error of the validation sample [n]."""
        values = seen.values[self.name]
        if self.measured <= 0:
            return values
        alike = Similarity.of(seen.candidates.features, part.candidates.features)
        mean, _ = self.predict(seen.candidates, alike)
        trust = 1 - self.measured / self.noise
        found = self.scale.value(mean + trust * (self.scale.standard(values) - mean))
        return np.where(np.isfinite(values), found, self.scale.value(mean))


Made = Callable[..., Scale]
Learned = dict[bytes, dict[str, Metric]]  # by the observations that models are of


def _sampling(variance: float, scale: Scale, values: Floats, noise: float) -> float:
    """The validation sample's variance at the upper quartile, standardised."""
    at = np.quantile(scale.sign * values, 0.75) * scale.sign
    step = float(np.sqrt(variance))
    slope = float(scale.standard(np.array(at)) - scale.standard(np.array(at - scale.sign * step)))
    return min(slope * slope, 0.9 * noise)


def _standardised(
    made: Made, features: Features, values: Floats, contexts: Ints
) -> tuple[Floats, Scale]:
    """Values of each context by themselves [n], and the scale of context 0."""
    found, scale = np.empty(len(values)), Scale()
    for context in np.unique(contexts)[::-1].tolist():
        these = contexts == context
        if context == 0 and these.sum() < FEW and not these.all():
            scale = _borrowed(scale, features, found, values, contexts)
        else:
            scale = made(values[these])
        found[these] = scale.standard(values[these])
    return found, scale


def _borrowed(
    scale: Scale, features: Features, standard: Floats, values: Floats, contexts: Ints
) -> Scale:
    """The scale of another context, moved to where few values are against what it foretells."""
    ours = contexts == 0
    theirs = features.take(~ours)
    loudness = scale.loudness(standard[~ours])
    process = Process.fit(theirs, standard[~ours], contexts[~ours], loudness)
    asked = features.take(ours)
    mean, _ = process.posterior(asked, Similarity.of(asked, theirs))
    return scale.moved(values[ours], mean)


@dataclass(frozen=True, eq=False)
class AcquisitionModel:
    """Gains over what is known, and the observations that their models are of."""

    gains: "Gains"
    part: Candidates

    @classmethod
    def of(
        cls,
        problem: Problem,
        seen: Observations,
        running: Candidates,
        begun: Candidates,
        learned: Learned | None = None,
    ) -> "AcquisitionModel":
        """What runs elsewhere is taken to give what the models expect of it; so is, to be gained
        upon, what was begun and may be trained in full. `learned` remembers what would be learned
        again, and changes nothing."""
        part = seen.take(telling(problem, seen))
        like = _earlier(problem, seen, {} if learned is None else learned)
        models = {name: Metric.fit(name, problem, part, like.get(name)) for name in problem.learned}
        if len(running):
            seen, part = (_imagined(models, x, part, running) for x in (seen, part))
            models = {n: Metric.fit(n, problem, part, m) for n, m in models.items()}
        seen = _imagined(models, seen, part, begun) if len(begun) else seen
        return cls(Gains.of(problem, models, seen, part), part.candidates)

    def rough(self, asked: Candidates) -> Floats:
        """Gains of candidates [N], learned costs at their means."""
        return self.gains.rough(asked, Similarity.of(asked.features, self.part.features))

    def exact(self, asked: Candidates) -> Floats:
        """Gains of candidates [N], in full."""
        return self.gains.exact(asked, Similarity.of(asked.features, self.part.features))

    def order(self, asked: Candidates, die: np.random.Generator) -> Ints:
        """All candidates, those of the largest expected gain first; ties are broken by the die."""
        alike = Similarity.of(asked.features, self.part.features)
        rough = self.gains.rough(asked, alike)
        order = np.lexsort((die.random(len(asked)), -rough))
        short = order[:SHORTLIST]
        exact = self.gains.exact(asked.take(short), alike.rows(short))
        return np.concatenate([short[np.argsort(-exact, kind="stable")], order[SHORTLIST:]])


def _earlier(problem: Problem, seen: Observations, learned: Learned) -> Mapping[str, Metric]:
    """Models of fewer observations, from which covariances are taken; none while all are few.

    These stay the same for a while: their number grows by a share of itself at a time.
    """
    ours = np.flatnonzero(seen.contexts == 0)
    if len(ours) <= FEW_TO_LEARN:
        return {}
    grown = int(np.log(len(ours) / FEW_TO_LEARN) / np.log(LEARNED_AGAIN))
    count = int(FEW_TO_LEARN * LEARNED_AGAIN**grown)
    first = seen.take(np.sort(np.concatenate([ours[:count], np.flatnonzero(seen.contexts)])))
    digest = first.digest + repr(problem).encode()
    if digest not in learned:
        part = first.take(telling(problem, first))
        learned.clear()
        learned[digest] = {name: Metric.fit(name, problem, part) for name in problem.learned}
    return learned[digest]


def _imagined(
    models: "Mapping[str, Metric]", seen: Observations, part: Observations, running: Candidates
) -> Observations:
    """Observations with those that run, at the values that models of a part of them expect."""
    alike = Similarity.of(running.features, part.candidates.features)
    values = {}
    for name, model in models.items():
        new, _ = model.outcome(running, *model.predict(running, alike))
        values[name] = np.concatenate([seen.values[name], new])
    both = Candidates.join([seen.candidates, running])
    return Observations(
        both, values, np.concatenate([seen.contexts, np.zeros(len(running), dtype=np.intp)])
    )


def telling(problem: Problem, seen: Observations) -> Ints:
    """All observations, or of many the best and an even part of the others."""
    if len(seen) <= MODELLED:
        return np.arange(len(seen))
    best = leading(problem, seen, MODELLED // 2)
    others = np.setdiff1d(np.arange(len(seen)), best)
    even = np.linspace(0, len(others) - 1, MODELLED - len(best)).astype(np.intp)
    return np.sort(np.concatenate([best, others[even]]))


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
    def of(
        cls,
        problem: Problem,
        models: Mapping[str, Metric],
        seen: Observations,
        part: Observations,
    ) -> "Gains":
        """Gains over `seen`; models are of a part of it."""
        gambled = [o for o in problem.objectives if o.name in problem.learned]
        order = (*gambled, *(o for o in problem.objectives if o.name not in problem.learned))
        points = np.stack([o.sign * _quality(o.name, models, seen, part) for o in order], -1)
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
            chance *= self.models[bound.name].kept(bound, asked, *outcomes[bound.name])
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
        values, deviation = asked.costs.get(o.name, np.zeros(0)), np.zeros(len(asked))
        if o.name in outcomes:
            values, deviation = self.models[o.name].outcome(asked, *outcomes[o.name])
        return 1 + (o.sign * values - self.corner[i]) / self.span[i], deviation / self.span[i]


def _quality(
    name: str, models: Mapping[str, Metric], seen: Observations, part: Observations
) -> Floats:
    if name in models:
        return models[name].quality(seen, part)
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
