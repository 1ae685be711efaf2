"""Scales and their inverses, calculated by hand."""

import numpy as np
import pytest

from nas_service.samplers.greybox.transform import CLIP, Scale

VALUES = np.array([0.5, 0.8, 0.85, 0.9, 0.92])


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize(
    "more", [{}, {"margin": 3.0}, {"logarithm": True}], ids=["plain", "ceiling", "logarithm"]
)
def test_parameters_are_encoded_and_decoded(sign, more):
    scale = Scale.fit(VALUES, sign, **more)
    standard = scale.standard(VALUES)
    assert standard.mean() == pytest.approx(0, abs=1e-12)
    assert standard.std() == pytest.approx(1)
    assert scale.value(standard) == pytest.approx(VALUES)


def test_ceiling_by_hand():
    # best 0.92, median 0.85: the ceiling is 0.92 + 3 * 0.07
    assert Scale.fit(VALUES, 1.0, margin=3.0).ceiling == pytest.approx(1.13)


def test_better_is_higher_and_failures_are_clipped():
    scale = Scale.fit(VALUES, -1.0, margin=3.0)
    assert (np.diff(scale.standard(VALUES)) < 0).all()
    assert scale.standard(np.array([1e6])) == -CLIP


@pytest.mark.parametrize("more", [{}, {"margin": 3.0}], ids=["plain", "ceiling"])
def test_failures_do_not_hide_differences_of_others(more):
    values = np.concatenate([np.linspace(0.8, 0.9, 20), np.full(8, -1e6)])
    standard = Scale.fit(values, 1.0, **more).standard(values)
    assert standard[:20].std() == pytest.approx(1)
    assert (standard[20:] == -CLIP).all()


def test_a_few_good_values_leave_the_others_unclipped():
    """A quarter of the values are within 0.2 of the best; the others are networks like any."""
    values = np.array([80.1, 80.4, 83.6, 84, 85.4, 86.3, 86.9, 87.2, 87.5, 87.6, 87.6, 87.7])
    standard = Scale.fit(values, 1.0, margin=3.0).standard(values)
    assert standard.std() == pytest.approx(1)
    assert standard[0] < standard[1] < standard[2] < standard[3]


@pytest.mark.parametrize("more", [{}, {"margin": 3.0}], ids=["plain", "ceiling"])
def test_moved_to_a_single_value(more):
    scale = Scale.fit(VALUES, 1.0, **more)
    moved = scale.moved(VALUES[3:4] - 0.3, scale.standard(VALUES[3:4]))
    assert moved.value(scale.standard(VALUES)) == pytest.approx(VALUES - 0.3)


def test_values_above_a_moved_ceiling_are_finite():
    scale = Scale.fit(VALUES, 1.0, margin=0.2)
    moved = scale.moved(np.array([0.2, 0.3, 5.0]), np.zeros(3))
    assert np.isfinite(moved.standard(np.array([0.2, 0.3, 5.0]))).all()


def test_noise_grows_with_the_distance_to_the_ceiling():
    """Four times as far below the ceiling it is twice as large in the metric's unit, so half as
    large in the standard one, whose steps are four times as long there."""
    scale = Scale(1.0, ceiling=1.0, middle=-np.log(0.4), deviation=0.7)
    near, far = scale.loudness(scale.standard(np.array([0.9, 0.6])))
    assert near == pytest.approx(2 * far)
    assert far == pytest.approx(1.0)
    assert Scale(1.0).loudness(np.array([-1.0, 2.0])).tolist() == [1, 1]
