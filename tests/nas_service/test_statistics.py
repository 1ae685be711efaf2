"""Intervals against sums by hand, scipy and repeated draws."""

from importlib import import_module

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.statistics import (
    Interval,
    difference,
    holm,
    mean,
    mean_share,
    proportion,
    ranks,
    spearman,
)


def scipy_stats():
    """Loaded when a test needs it, as it takes a second."""
    return import_module("scipy.stats")


SMALL = st.lists(st.integers(0, 5), min_size=1, max_size=12)


def test_students_interval_by_hand():
    """1, 2, 3: mean 2, error 1 / sqrt(3), t(2) = 4.302653."""
    interval = mean([1.0, 2.0, 3.0])
    assert interval.value == 2
    assert interval.high - 2 == 2 - interval.low == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert mean([1.0]) is None


def test_the_interval_of_a_mean_share_by_hand():
    """0.92 and 0.96: m = 0.94, s / sqrt(2) = 0.02, t(1) = 12.7062, logit 2.7515 -+ 4.5057."""
    interval = mean_share([0.92, 0.96])
    assert interval.value == pytest.approx(0.94)
    assert (interval.low, interval.high) == pytest.approx((0.14752, 0.99930), abs=1e-5)
    assert mean([0.92, 0.96]).high > 1.1  # Student's own interval leaves the range
    assert mean_share([0.5]) is None
    assert mean_share([0.5, 0.5]) == Interval(0.5, 0.5, 0.5)


SHARES = st.lists(st.integers(0, 360).map(lambda n: n / 360), min_size=2, max_size=6)


@settings(max_examples=100, derandomize=True, deadline=None)
@given(SHARES)
def test_the_interval_of_a_mean_share_stays_within_its_range(shares):
    interval = mean_share(shares, 1 / 360)
    assert 0 <= interval.low <= interval.value <= interval.high <= 1
    assert interval.low < interval.high
    inverse = mean_share([1 - x for x in shares], 1 / 360)
    assert (1 - inverse.high, 1 - inverse.low) == pytest.approx((interval.low, interval.high))


def test_the_interval_of_a_mean_share_holds_the_truth_as_often_as_it_says():
    """Five seeds whose accuracies scatter by two points around 95 %, on 360 images."""
    rng, held = np.random.default_rng(2), 0
    for _ in range(400):
        interval = mean_share((rng.beta(114, 6, 5) * 360).round() / 360, 1 / 360)
        held += interval.low <= 0.95 <= interval.high
    assert 0.92 < held / 400 <= 0.99


def test_differences_end_at_the_range_of_what_they_compare():
    apart = difference([0.9, 1.0], [0.1, 0.2])
    assert apart.interval().high > 1
    cut = apart.interval().within(-1.0, 1.0)
    assert (cut.value, cut.high) == (pytest.approx(0.8), 1.0)
    assert cut.excludes_zero == apart.interval().excludes_zero


def test_intervals_that_exclude_zero():
    assert mean([1.0, 1.1, 0.9]).excludes_zero
    assert mean([-1.0, -1.1, -0.9]).excludes_zero
    assert not mean([1.0, -1.1, 0.9]).excludes_zero
    assert not mean([0.0, 0.0]).excludes_zero


@settings(max_examples=30, derandomize=True, deadline=None)
@given(SMALL)
def test_ranks_of_ties(values):
    assert ranks(values).tolist() == scipy_stats().rankdata(values).tolist()


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=4, max_size=20))
def test_rank_correlation(pairs):
    a, b = zip(*pairs, strict=True)
    interval = spearman(a, b)
    if len(set(a)) == 1 or len(set(b)) == 1:
        assert interval is None
    else:
        assert interval.value == pytest.approx(scipy_stats().spearmanr(a, b).statistic)
        assert -1 <= interval.low <= interval.value <= interval.high <= 1


def test_few_pairs_in_perfect_order_prove_nothing():
    assert spearman([1, 2, 3], [1, 2, 3]) is None
    interval = spearman([1, 2, 3, 4], [1, 2, 3, 4])
    assert (interval.value, interval.high) == (1, 1)
    assert interval.low < 0
    assert spearman(range(30), range(30)).low > 0.95


def test_the_interval_holds_the_truth_as_often_as_it_says():
    """Normal pairs of correlation 0.6: their rank correlation is 6 / pi asin(0.3)."""
    truth, rng, held = 6 / np.pi * np.arcsin(0.3), np.random.default_rng(0), 0
    for _ in range(500):
        x, noise = rng.normal(size=(2, 25))
        interval = spearman(x, 0.6 * x + 0.8 * noise)
        held += interval.low <= truth <= interval.high
    assert 0.92 < held / 500 < 0.98


SAMPLES = st.lists(st.integers(0, 50), min_size=2, max_size=6)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(*[st.lists(st.integers(0, 50), min_size=2, max_size=6, unique=True)] * 2)
def test_differences_of_means(a, b):
    apart, peer = difference(a, b), scipy_stats().ttest_ind(a, b, equal_var=False)
    assert apart.p == pytest.approx(peer.pvalue, abs=1e-9)
    low, high = peer.confidence_interval(0.9)
    assert (apart.interval(0.9).low, apart.interval(0.9).high) == pytest.approx((low, high))


def test_differences_of_small_samples():
    assert difference([1, 2], [1]) is None
    assert difference([1, 1], [1, 1]).p == 1
    assert difference([2, 2], [1, 1]).p == 0  # the caller says if so little spread can be


def test_equal_counts_do_not_show_that_there_is_no_spread():
    """Twice 95 of 100 and twice 96: the spread is one image or more, error 0.01, t = 1."""
    apart = difference([0.96, 0.96], [0.95, 0.95], least=0.01)
    assert (apart.value, apart.error) == pytest.approx((0.01, 0.01))
    assert apart.freedom == pytest.approx(2)
    assert apart.p == pytest.approx(1 - 1 / 3**0.5)  # of t(2) beyond 1, both sides
    assert mean([0.96, 0.96], least=0.01).low < 0.9


def test_holms_correction_by_hand():
    """.01 * 3, .02 * 2, .9: all that is smaller than 5 % in this order stands."""
    assert [p for p, _ in holm([0.02, 0.9, 0.01])] == pytest.approx([0.04, 0.9, 0.03])
    stopped = holm([0.04, 0.03, 0.01])  # .03 * 2 does not stand, so .04 is not tested
    assert [p for p, _ in stopped] == pytest.approx([0.06, 0.06, 0.03])
    assert [1 - level for _, level in stopped] == pytest.approx([0.05 / 2, 0.05 / 2, 0.05 / 3])
    assert holm([]) == []


@settings(max_examples=60, derandomize=True, deadline=None)
@given(st.lists(SAMPLES, min_size=2, max_size=5))
def test_intervals_exclude_zero_where_corrected_tests_are_significant(samples):
    pairs = [(a, b) for i, a in enumerate(samples) for b in samples[i + 1 :]]
    apart = [difference(a, b, least=1.0) for a, b in pairs]
    for d, (p, level) in zip(apart, holm([d.p for d in apart]), strict=True):
        assert d.p <= p
        assert d.interval(level).excludes_zero == (p < 0.05)


def test_among_equals_one_difference_in_twenty_families_is_called_real():
    """Ten pairs of five samples of one distribution each: without correction three times more."""
    rng, called, plain = np.random.default_rng(1), 0, 0
    for _ in range(400):
        samples = rng.normal(size=(5, 4))
        p_values = [difference(samples[i], samples[j]).p for i in range(5) for j in range(i)]
        called += min(p for p, _ in holm(p_values)) < 0.05
        plain += min(p_values) < 0.05
    assert called / 400 < 0.06
    assert plain / 400 > 0.15


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(16, 32, 0.3363, 0.6637), (0, 10, 0.0, 0.2775), (10, 10, 0.7225, 1.0), (1, 1, 0.2065, 1.0)],
)
def test_the_interval_of_a_share_stays_within_its_range(hits, trials, low, high):
    """Values by hand: z = 1.959964."""
    interval = proportion(hits, trials)
    assert (interval.value, interval.low, interval.high) == pytest.approx(
        (hits / trials, low, high), abs=5e-5
    )
