"""Expected gains against a million throws."""

import numpy as np
import pytest

from nas_service.samplers.greybox.acquisition import (
    expected_below,
    expected_hypervolume_gain,
    probability_below,
)
from nas_service.samplers.greybox.pareto import exclusive

FRONT = {
    2: [[0.2, 0.7], [0.4, 0.5], [0.7, 0.1]],
    3: [[0.2, 0.7, 0.5], [0.4, 0.5, 0.6], [0.7, 0.1, 0.9], [0.3, 0.9, 0.2]],
    4: [[0.2, 0.7, 0.5, 0.1], [0.4, 0.5, 0.6, 0.8], [0.7, 0.1, 0.9, 0.3]],
}


def test_improvement_by_hand():
    # E[max(0 - x, 0)] of a standard normal x is 1 / sqrt(2 pi)
    value = expected_below(0.0, np.array([0.0]), np.array([1.0]))
    assert value == pytest.approx(0.3989423)


def test_improvement_against_random_draws():
    rng = np.random.default_rng(1)
    throws = 0.3 + 0.2 * rng.normal(size=1_000_000)
    expected = np.maximum(0.25 - throws, 0).mean()
    gain = expected_below(0.25, np.array([0.3]), np.array([0.2]))
    assert gain == pytest.approx(expected, rel=5e-3)


def test_a_certain_value_has_its_exact_gain():
    mean, none = np.array([0.1, 0.9]), np.zeros(2)
    assert expected_below(0.5, mean, none) == pytest.approx([0.4, 0.0])


def test_probability_by_hand():
    assert probability_below(1.0, np.array([0.0]), np.array([1.0])) == pytest.approx(0.8413447)


@pytest.mark.parametrize("objectives", [2, 3, 4])
def test_hypervolume_gain_against_random_draws(objectives):
    rng = np.random.default_rng(objectives)
    front = np.array(FRONT[objectives])
    mean, deviation = np.array([0.3, 0.6, 1.2]), np.array([0.2, 0.4, 0.3])
    known = rng.random((3, objectives - 1)) * 0.6
    gain = expected_hypervolume_gain(mean, deviation, known, front)
    throws = mean[:, None] + deviation[:, None] * rng.normal(size=(3, 100_000))
    for n in range(3):
        each = np.column_stack([throws[n], np.broadcast_to(known[n], (100_000, objectives - 1))])
        assert gain[n] == pytest.approx(exclusive(each, front).mean(), rel=0.03)


def test_one_objective_is_the_expected_improvement():
    mean, deviation = np.array([0.3, 0.6]), np.array([0.2, 0.4])
    gain = expected_hypervolume_gain(mean, deviation, np.zeros((2, 0)), np.array([[0.5]]))
    assert gain == pytest.approx(expected_below(0.5, mean, deviation))
