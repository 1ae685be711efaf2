"""The model of a metric that only a training gives. N candidates, n observations.

A trained network's quality is its function's value and an effect of that one training; what is
observed of it has in addition the error of a finite validation sample.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from .acquisition import probability_below
from .candidates import Candidates, Observations
from .gaussian_process import Features, Process, Similarity
from .problem import Bound, Problem
from .transform import Scale

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
FEW = 5  # values that do not suffice for a scale of their own
MARGIN = 3.0  # see Scale

FitScale = Callable[[Floats], Scale]


@dataclass(frozen=True, eq=False)
class Metric:
    """A learned metric: a Gaussian process over its standardised values."""

    name: str
    process: Process
    known: Ints  # observations that have a value
    scale: Scale
    relative: bool  # the process models value / estimate
    blind: bool  # scores are no evidence for it
    noise: float  # variance of the effect of one training and its measurement, standardised
    measured: float  # variance of the validation sample alone, standardised

    @classmethod
    def fit(
        cls, name: str, problem: Problem, observed: Observations, like: "Metric | None" = None
    ) -> "Metric":
        """Fit the model of a metric.

        Args:
            name: The metric.
            problem: Objectives, bounds and the variance of a measurement.
            observed: Trained candidates.
            like: A model whose covariance is taken over instead of learned.

        Returns:
            The model, which predicts the metric in its own unit.
        """
        known = np.flatnonzero(np.isfinite(observed.values[name]))
        part = observed.take(known)
        relative = name in part.candidates.costs
        values, features = part.values[name], part.candidates.features
        if relative:
            values = values / part.candidates.costs[name]
        blind = relative or not problem.optimises(name)
        features = features.blind if blind else features
        fit_scale = partial(Scale.fit, sign=-problem.sign(name), logarithm=relative)
        if not blind:
            fit_scale = partial(fit_scale, margin=MARGIN)
        noisy = problem.samples(name) and not relative
        standard, scale = _standardised(fit_scale, features, values, part.contexts)
        loudness = scale.loudness(standard)
        # other contexts, as several rungs, let noise be separated from the function
        one_context = noisy and not part.contexts.any()
        process = Process.fit(
            features, standard, part.contexts, loudness, one_context, like.process if like else None
        )
        noise, measured = float(np.exp(process.weights.noise)), 0.0
        own = values[part.contexts == 0]
        if noisy and len(own):
            measured = _sampling_variance(problem.measurement_variance, scale, own, noise)
        return cls(name, process, known, scale, relative, blind, noise, measured)

    def predict(self, candidates: Candidates, alike: Similarity) -> tuple[Floats, Floats]:
        """Predict the metric of a new training.

        Args:
            candidates: Candidates.
            alike: Their similarity to the observations [N, n].

        Returns:
            Mean and deviation [N], standardised.
        """
        features, alike = candidates.features, alike.columns(self.known)
        if self.blind:
            features = features.blind
            alike = replace(alike, scores=np.zeros_like(alike.scores))
        mean, deviation = self.process.posterior(features, alike)
        one_training = (self.noise - self.measured) * self.scale.loudness(mean) ** 2
        return mean, np.sqrt(deviation**2 + one_training)

    def outcome(
        self, candidates: Candidates, mean: Floats, deviation: Floats
    ) -> tuple[Floats, Floats]:
        """A prediction in the metric's unit.

        Args:
            candidates: The candidates.
            mean: Of the prediction, standardised [N].
            deviation: Of the prediction, standardised [N].

        Returns:
            Middle and deviation towards the better [N].
        """
        middle, better = self.scale.value(mean), self.scale.value(mean + deviation)
        unit = candidates.costs[self.name] if self.relative else 1.0
        return unit * middle, unit * np.abs(better - middle)

    def kept(self, bound: Bound, candidates: Candidates, mean: Floats, deviation: Floats) -> Floats:
        """Probability that a bound on this metric is kept.

        Args:
            bound: The bound.
            candidates: The candidates.
            mean: Of the prediction, standardised [N].
            deviation: Of the prediction, standardised [N].

        Returns:
            Probabilities [N].
        """
        level = np.full(len(mean), bound.level)
        if self.relative:
            level = level / candidates.costs[self.name]
        below = probability_below(self.scale.standard(level), mean, deviation)
        is_inverted = self.scale.sign < 0 and not self.relative
        return below if (bound.at_most is not None) != is_inverted else 1 - below

    def quality(self, observed: Observations, part: Observations) -> Floats:
        """The metric of trained networks without the error of the validation sample [n].

        Args:
            observed: Trained networks.
            part: The observations that this model was fitted to.

        Returns:
            Values in the metric's unit [n].
        """
        values = observed.values[self.name]
        if self.measured <= 0:
            return values
        alike = Similarity.of(observed.candidates.features, part.candidates.features)
        mean, _ = self.predict(observed.candidates, alike)
        trust = 1 - self.measured / self.noise
        shrunk = self.scale.value(mean + trust * (self.scale.standard(values) - mean))
        return np.where(np.isfinite(values), shrunk, self.scale.value(mean))


def _sampling_variance(variance: float, scale: Scale, values: Floats, noise: float) -> float:
    """The validation sample's variance at the upper quartile of the values, standardised."""
    at = np.quantile(scale.sign * values, 0.75) * scale.sign
    step = float(np.sqrt(variance))
    slope = float(scale.standard(np.array(at)) - scale.standard(np.array(at - scale.sign * step)))
    return min(slope * slope, 0.9 * noise)


def _standardised(
    fit_scale: FitScale, features: Features, values: Floats, contexts: Ints
) -> tuple[Floats, Scale]:
    """Values standardised in each context [n], and the scale of context 0."""
    standard, scale = np.empty(len(values)), Scale()
    for context in np.unique(contexts)[::-1].tolist():
        rows = contexts == context
        if context == 0 and rows.sum() < FEW and not rows.all():
            scale = _borrowed(scale, features, standard, values, contexts)
        else:
            scale = fit_scale(values[rows])
        standard[rows] = scale.standard(values[rows])
    return standard, scale


def _borrowed(
    scale: Scale, features: Features, standard: Floats, values: Floats, contexts: Ints
) -> Scale:
    """The scale of another context, moved to fit the few values of context 0."""
    own = contexts == 0
    others = features.take(~own)
    loudness = scale.loudness(standard[~own])
    process = Process.fit(others, standard[~own], contexts[~own], loudness)
    few = features.take(own)
    mean, _ = process.posterior(few, Similarity.of(few, others))
    return scale.moved(values[own], mean)
