"""The process against dense algebra, and its gradients against differences."""

import numpy as np
import pytest

from nas_service.samplers.greybox import gaussian_process as process
from nas_service.samplers.greybox.gaussian_process import (
    BELIEF,
    NOISY,
    SCORED,
    Features,
    Process,
    Similarity,
    one_hot,
)


def features(count, seed):
    rng = np.random.default_rng(seed)
    return Features(
        rng.normal(size=(count, 3)),
        one_hot(rng.integers(4, size=(count, 5)), 4),
        one_hot(rng.integers(3, size=(count, 2)), 3),
        rng.normal(size=count),
        rng.normal(size=(count, 2)),
    )


def dense(a, b, belief):
    """The covariance, entry by entry."""
    covariance = np.empty((len(a), len(b)))
    for i in range(len(a)):
        for j in range(len(b)):
            squares = np.mean((a.numbers[i] - b.numbers[j]) ** 2)
            covariance[i, j] = np.exp(belief.numbers - squares / 2 * np.exp(-2 * belief.length))
            covariance[i, j] += np.exp(belief.kinds) * (a.kinds[i] @ b.kinds[j])
            covariance[i, j] += np.exp(belief.details) * (a.details[i] @ b.details[j])
            covariance[i, j] += process.SLOPE_DEVIATION**2 * a.score[i] * b.score[j]
            covariance[i, j] += process.SLOPE_DEVIATION**2 * (a.measured[i] @ b.measured[j])
    return covariance


def test_one_hot_counts_what_agrees():
    codes = np.array([[0, 1, 2, 2], [0, 1, 0, 1]])
    rows = one_hot(codes, 3)
    assert rows[0] @ rows[1] == pytest.approx(0.5)
    assert rows[0] @ rows[0] == pytest.approx(1.0)


@pytest.mark.parametrize("split", [False, True])
@pytest.mark.parametrize("noisy", [False, True])
@pytest.mark.parametrize("scored", [False, True])
def test_posterior_against_dense_algebra(split, noisy, scored):
    observed, queries = features(12, 0), features(5, 1)
    belief = (NOISY if noisy else SCORED).weights
    if not scored:
        observed, queries = observed.blind, queries.blind
        belief = belief if noisy else BELIEF.weights
    values = np.random.default_rng(2).normal(size=12)
    contexts = np.array([0] * 7 + [1] * 5) if split else np.zeros(12, dtype=int)
    shared = np.where(contexts[:, None] == contexts, 1.0, process.CORRELATION)
    correlations = np.where(contexts == 0, 1.0, process.CORRELATION)
    loudness = np.linspace(0.5, 2.0, 12)
    noise = np.exp(belief.noise) * loudness**2 + process.JITTER
    inverse = np.linalg.inv(dense(observed, observed, belief) * shared + np.diag(noise))
    cross = dense(queries, observed, belief) * correlations
    mean = process.SLOPE * queries.score + cross @ inverse @ (
        values - process.SLOPE * observed.score
    )
    variance = np.diag(dense(queries, queries, belief) - cross @ inverse @ cross.T)
    fitted = Process.believed(observed, values, contexts, loudness, noisy)
    got, deviation = fitted.posterior(queries, Similarity.of(queries, observed))
    assert got == pytest.approx(mean)
    assert deviation == pytest.approx(np.sqrt(variance))


@pytest.mark.parametrize(
    ("scored", "noisy", "variance"), [(False, False, 1.09), (True, False, 1.09), (True, True, 1.15)]
)
def test_predictions_have_about_the_variance_of_standardised_values(scored, noisy, variance):
    drawn = features(500, 10)
    observed = Features(drawn.numbers, drawn.kinds, drawn.details, drawn.score, np.zeros((500, 0)))
    observed = observed if scored else observed.blind
    fitted = Process.believed(
        observed, np.zeros(500), np.zeros(500, dtype=int), np.ones(500), noisy
    )
    own = fitted.prior_variance(observed) + (process.SLOPE * observed.score) ** 2
    assert np.mean(own) + np.exp(fitted.weights.noise) == pytest.approx(variance, abs=0.05)


@pytest.mark.parametrize("noisy", [False, True])
def test_slopes_of_the_loss_against_differences(noisy):
    observed = features(20, 3)
    values = np.random.default_rng(4).normal(size=20)
    contexts = np.array([0] * 8 + [1] * 6 + [2] * 6)
    fitted = Process.believed(observed, values, contexts, np.linspace(0.5, 2.0, 20), noisy)
    alike = Similarity.of(observed, observed)
    at = np.concatenate([fitted.weights.vector + 0.1, [0.3, -0.4]])
    _, slopes = fitted._loss(at, alike)
    for i, slope in enumerate(slopes):
        step = np.zeros(len(at))
        step[i] = 1e-5
        rise = fitted._loss(at + step, alike)[0] - fitted._loss(at - step, alike)[0]
        assert slope == pytest.approx(rise / 2e-5, rel=1e-4, abs=1e-6)


def test_learning_finds_what_matters():
    """Values that follow the kinds alone: their weight is learned and predicts others."""
    rng = np.random.default_rng(5)
    observed, queries = features(80, 6), features(200, 7)
    effects = rng.normal(size=observed.kinds.shape[1]) * 3
    values, truth = observed.kinds @ effects, queries.kinds @ effects
    none = np.zeros(80)
    plain = observed.blind
    standard = (values - values.mean()) / values.std()
    fitted = Process.fit(plain, standard, none.astype(int), np.ones(80))
    assert fitted.weights.kinds > fitted.weights.numbers
    assert fitted.weights.noise < BELIEF.weights.noise
    blind = queries.blind
    mean, _ = fitted.posterior(blind, Similarity.of(blind, plain))
    assert np.corrcoef(mean, truth)[0, 1] > 0.95


def test_few_trainings_do_not_hide_the_noise():
    """Smooth values indicate no noise: exact values lower the estimate of the noise, 25
    trainings hardly do, hundreds do."""

    def noise_ratio(count, noisy):
        observed = features(count, 12)
        values = np.tanh(observed.numbers[:, 0])
        standard = (values - values.mean()) / values.std()
        fitted = Process.fit(observed, standard, np.zeros(count, dtype=int), np.ones(count), noisy)
        return np.exp(fitted.weights.noise - fitted.belief.weights.noise)

    assert noise_ratio(25, noisy=False) < 0.5
    assert noise_ratio(25, noisy=True) > 0.8
    assert noise_ratio(600, noisy=True) < 0.5


def test_a_foreign_study_that_disagrees_is_ignored():
    observed = features(60, 8)
    own, contexts = np.tanh(observed.numbers[:, 0]) * 2, np.array([0] * 30 + [1] * 30)
    alike = Process.fit(observed, own, contexts, np.ones(60))
    other = np.where(contexts == 0, own, np.random.default_rng(9).normal(size=60))
    unlike = Process.fit(observed, other, contexts, np.ones(60))
    assert alike.correlations[1] > process.CORRELATION > unlike.correlations[1]
