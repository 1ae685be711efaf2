"""A Gaussian process over candidates: sizes and counts, kinds, and where a value was observed.

n observations, N candidates. Values are standardised by the caller. The covariance is a weighted
sum of a squared exponential over numbers, Hamming similarities over kinds and over details, and
linear functions of scores; the function of another context (another study, an earlier epoch) has
a correlation with it.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property

import numpy as np
import scipy
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
SLOPE = 0.5  # of the value over a score, both standardised: about the rank correlation of proxies
SLOPE_DEVIATION = 0.5
JITTER = 1e-6
LEARNABLE = 4  # observations that suffice to learn the covariance
FITTED = 300  # observations that the covariance's parameters are learned from


@dataclass(frozen=True, eq=False)
class Features:
    """What is known of candidates before they are trained."""

    numbers: Floats  # [N, F] counts and sizes, each of about unit deviation
    kinds: Floats  # [N, G] rows whose products are similarities, as `one_hot` gives
    details: Floats  # [N, H] the same, of what should hardly matter
    score: Floats  # [N] standardised, more is better; 0 where none is known
    measured: Floats  # [N, S] scores that were measured, standardised; 0 where one is not

    def __len__(self) -> int:
        return len(self.numbers)

    def take(self, index: Ints | NDArray[np.bool_]) -> "Features":
        """Features of some of the candidates."""
        return Features(*(getattr(self, f.name)[index] for f in fields(self)))

    @property
    def blind(self) -> "Features":
        """The same features without any score."""
        return replace(self, score=0 * self.score, measured=0 * self.measured)

    @classmethod
    def join(cls, parts: Sequence["Features"]) -> "Features":
        """Features of several lists of candidates, one after the other."""
        names = [f.name for f in fields(cls)]
        return cls(*(np.concatenate([getattr(p, name) for p in parts]) for name in names))


def one_hot(codes: Ints, count: int) -> Floats:
    """Rows whose products are the shares of columns that agree.

    Args:
        codes: Codes of candidates [N, G].
        count: Codes are below this number.

    Returns:
        Rows [N, G * count].
    """
    flags = (codes[:, :, None] == np.arange(count)).reshape(len(codes), count * codes.shape[1])
    return np.asarray(flags / np.sqrt(max(1, codes.shape[1])))


@dataclass(frozen=True)
class Weights:
    """Parameters of the covariance as logarithms; the defaults are prior means."""

    numbers: float = np.log(0.5)
    kinds: float = np.log(0.5)
    details: float = np.log(0.05)
    noise: float = np.log(0.04)
    length: float = 0.0

    @classmethod
    def of(cls, values: Floats) -> "Weights":
        """From a vector in the order of the fields."""
        return cls(*values.tolist())

    @property
    def vector(self) -> Floats:
        """The parameters in the order of the fields."""
        return np.array([getattr(self, f.name) for f in fields(self)])


@dataclass(frozen=True)
class Belief:
    """Prior of the parameters of a covariance."""

    weights: Weights = Weights()
    deviation: float = 1.0  # of each logarithm; of the length at most 0.5
    worth: float = 0.0  # with this many observations the likelihood counts half

    @property
    def spread(self) -> Floats:
        """Prior deviation of each parameter."""
        return np.array([self.deviation] * 4 + [min(0.5, self.deviation)])


BELIEF = Belief()  # variances that sum to that of standardised values
SCORED = Belief(Weights(numbers=np.log(0.25), kinds=np.log(0.25)))  # a score explains half
# Of noisy trainings: a few of them cannot separate noise from function, so little is learned.
NOISY = Belief(Weights(*np.log([0.15, 0.25, 0.05, 0.2, 0.7]).tolist()), deviation=0.3, worth=100.0)
CORRELATION = 0.8  # prior, of another study or an earlier epoch with full trainings
REACH = 3.0  # largest distance of a logarithm from its prior mean
LEARNED = len(fields(Weights))  # parameters, before those of contexts


@dataclass(frozen=True, eq=False)
class Similarity:
    """Parts of the covariance of two lists of candidates, each [N, n], before they are weighted."""

    squares: Floats  # mean squared differences of numbers
    kinds: Floats
    details: Floats
    scores: Floats  # sums of products

    @classmethod
    def of(cls, a: Features, b: Features) -> "Similarity":
        """Parts of the covariance of two lists of candidates.

        Args:
            a: Features of N candidates.
            b: Features of n candidates.

        Returns:
            Parts [N, n].
        """
        squares = (
            (a.numbers**2).sum(1)[:, None] + (b.numbers**2).sum(1) - 2 * a.numbers @ b.numbers.T
        )
        return cls(
            np.maximum(squares, 0.0) / max(1, a.numbers.shape[1]),
            a.kinds @ b.kinds.T,
            a.details @ b.details.T,
            np.outer(a.score, b.score) + a.measured @ b.measured.T,
        )

    def columns(self, index: Ints) -> "Similarity":
        """Some of the columns; for all of them, in their order, nothing is copied."""
        if len(index) == self.squares.shape[1]:
            return self
        return Similarity(*(getattr(self, f.name)[:, index] for f in fields(self)))

    def rows(self, index: Ints) -> "Similarity":
        """Some of the rows."""
        return Similarity(*(getattr(self, f.name)[index] for f in fields(self)))

    def covariance(self, w: Weights) -> Floats:
        """The weighted sum of the parts [N, n]."""
        total = self.squares * (-0.5 * np.exp(-2 * w.length))
        total += w.numbers
        np.exp(total, out=total)
        for part, weight in (
            (self.kinds, np.exp(w.kinds)),
            (self.details, np.exp(w.details)),
            (self.scores, SLOPE_DEVIATION**2),
        ):
            total += weight * part
        return np.asarray(total)

    def gradients(self, w: Weights) -> list[Floats]:
        """Derivatives of the covariance by each parameter but the noise."""
        shrunk = self.squares * np.exp(-2 * w.length)
        near = np.exp(w.numbers - 0.5 * shrunk)
        kinds, details = np.exp(w.kinds) * self.kinds, np.exp(w.details) * self.details
        return [near, kinds, details, near * shrunk]


@dataclass(frozen=True, eq=False)
class Process:
    """The posterior after some observations."""

    observed: Features
    weights: Weights
    residuals: Floats  # [n] values less their prior mean
    contexts: Ints  # [n] 0: the one that is predicted
    correlations: Floats  # [contexts] with context 0, itself first
    loudness: Floats  # [n] deviation of the noise, relative to a usual one
    belief: Belief = BELIEF

    @classmethod
    def fit(
        cls,
        observed: Features,
        values: Floats,
        contexts: Ints,
        loudness: Floats,
        noisy: bool = False,
        like: "Process | None" = None,
    ) -> "Process":
        """The process with the most probable parameters.

        Args:
            observed: Features of the observations [n].
            values: Standardised values [n].
            contexts: Where each was observed [n]; 0 is the context that is predicted.
            loudness: Deviation of each one's noise, relative to a usual one [n].
            noisy: Whether the values are of trainings, which differ for equal networks.
            like: A process whose parameters are taken over instead.

        Returns:
            The process; with few observations its prior means.
        """
        process = cls.believed(observed, values, contexts, loudness, noisy)
        if like is not None:
            return replace(process, weights=like.weights, correlations=like.correlations)
        return process._learned() if len(values) >= LEARNABLE else process

    @classmethod
    def believed(
        cls,
        observed: Features,
        values: Floats,
        contexts: Ints,
        loudness: Floats,
        noisy: bool = False,
    ) -> "Process":
        """The process with the prior means of its parameters; the arguments are those of `fit`."""
        residuals = values - SLOPE * observed.score
        correlations = np.array([1.0] + [CORRELATION] * int(contexts.max(initial=0)))
        belief = NOISY if noisy else SCORED if observed.score.any() else BELIEF
        return cls(observed, belief.weights, residuals, contexts, correlations, loudness, belief)

    def _learned(self) -> "Process":
        chosen = np.unique(np.linspace(0, len(self.residuals) - 1, FITTED).astype(np.intp))
        part = replace(
            self,
            observed=self.observed.take(chosen),
            residuals=self.residuals[chosen],
            contexts=self.contexts[chosen],
            loudness=self.loudness[chosen],
        )
        alike = Similarity.of(part.observed, part.observed)
        start = np.concatenate([self.weights.vector, np.zeros(len(self.correlations) - 1)])
        ends = [(x - REACH, x + REACH) for x in start]
        done = scipy.optimize.minimize(
            part._loss, start, (alike,), "L-BFGS-B", True, bounds=ends, options={"maxiter": 25}
        )
        weights, correlations = _unpacked(done.x)
        return replace(self, weights=weights, correlations=correlations)

    def _loss(self, x: Floats, alike: Similarity) -> tuple[float, Floats]:
        """Negative log posterior of the parameters, the likelihood discounted; and its gradient."""
        w, correlations = _unpacked(x)
        shared = _shared(correlations, self.contexts, self.contexts)
        plain = alike.covariance(w)
        noise = np.exp(w.noise)
        lower = scipy.linalg.cholesky(
            plain * shared + np.diag(noise * self.loudness**2 + JITTER), lower=True
        )
        inverse = scipy.linalg.cho_solve((lower, True), np.eye(len(plain)))
        alpha = inverse @ self.residuals
        inner = inverse - np.outer(alpha, alpha)  # d loss / dK, twice
        slopes = [0.5 * float((inner * shared * g).sum()) for g in alike.gradients(w)]
        slopes.insert(3, 0.5 * noise * float(np.diag(inner) @ self.loudness**2))
        for c in range(1, len(correlations)):
            r, slope = correlations[c], self._correlation_slope(correlations, c)
            slopes.append(0.5 * float((inner * plain * slope).sum()) * r * (1 - r))
        others = len(x) - LEARNED
        middle = np.concatenate([self.belief.weights.vector, np.zeros(others)])
        spread = np.concatenate([self.belief.spread, np.ones(others)])
        off = (x - middle) / spread
        fit = 0.5 * float(self.residuals @ alpha) + float(np.log(np.diag(lower)).sum())
        trust = len(plain) / (len(plain) + self.belief.worth)
        return trust * fit + 0.5 * float(off @ off), trust * np.array(slopes) + off / spread

    def _correlation_slope(self, correlations: Floats, c: int) -> Floats:
        """Derivative of `_shared` by the correlation of one context."""
        own = self.contexts == c
        each = np.where(own[:, None] != own[None], correlations[self.contexts][:, None], 0.0)
        return np.where(own[None], each, 0.0) + np.where(own[None], each, 0.0).T

    @cached_property
    def _lower(self) -> Floats:
        shared = _shared(self.correlations, self.contexts, self.contexts)
        matrix = Similarity.of(self.observed, self.observed).covariance(self.weights) * shared
        noise = np.exp(self.weights.noise) * self.loudness**2 + JITTER
        return np.asarray(scipy.linalg.cholesky(matrix + np.diag(noise), lower=True))

    @cached_property
    def _alpha(self) -> Floats:
        return np.asarray(scipy.linalg.cho_solve((self._lower, True), self.residuals))

    def posterior(self, features: Features, alike: Similarity) -> tuple[Floats, Floats]:
        """The noiseless function at candidates.

        Args:
            features: Features of the candidates [N].
            alike: Their similarity to the observations [N, n].

        Returns:
            Mean and deviation [N].
        """
        cross = alike.covariance(self.weights) * self.correlations[self.contexts]
        mean = SLOPE * features.score + cross @ self._alpha
        half = scipy.linalg.solve_triangular(self._lower, cross.T, lower=True, check_finite=False)
        variance = self.prior_variance(features) - np.einsum("ij,ij->j", half, half)
        return mean, np.sqrt(np.maximum(variance, 1e-9))

    def prior_variance(self, features: Features) -> Floats:
        """Variance of the function at candidates without any observation [N]."""
        w = self.weights
        kinds, details = ((x**2).sum(1) for x in (features.kinds, features.details))
        same = np.exp(w.numbers) + np.exp(w.kinds) * kinds + np.exp(w.details) * details
        scores = features.score**2 + (features.measured**2).sum(1)
        return np.asarray(same + SLOPE_DEVIATION**2 * scores)


def _unpacked(x: Floats) -> tuple[Weights, Floats]:
    """Weights and correlations from the vector that is optimised."""
    odds = CORRELATION / (1 - CORRELATION) * np.exp(x[LEARNED:])
    return Weights.of(x[:LEARNED]), np.concatenate([[1.0], odds / (1 + odds)])


def _shared(correlations: Floats, a: Ints, b: Ints) -> Floats:
    """Correlation of the functions in the contexts of two lists of observations [n, m]."""
    each = np.outer(correlations[a], correlations[b])
    return np.where(a[:, None] == b[None], 1.0, each)
