"""Encoding and decoding, and pools whose candidates keep the exact bounds."""

import numpy as np
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from nas_service.samplers.greybox import Bound, DomainKnowledge, Objective
from nas_service.samplers.greybox.candidate_pool import CandidatePool
from nas_service.samplers.greybox.encoding import Codes, listable
from nas_service.samplers.greybox.problem import Problem

MIXED = {
    "n": IntDistribution(2, 10, step=4),
    "k": CategoricalDistribution((1, True, "1", None)),
    "x": CategoricalDistribution((0.5, float("nan"))),
}
MANY = {f"d{i}": IntDistribution(0, 3) for i in range(20)}
PROBLEM = Problem((Objective("weight"),), (Bound("weight", at_most=12.0),))


def test_parameters_are_encoded_and_decoded():
    codes = Codes(MIXED)
    listed = codes.decode(codes.all())
    assert len(listed) == codes.size == 3 * 4 * 2
    assert listed[0] == {"n": 2, "k": 1, "x": 0.5}
    assert (codes.encode(listed) == codes.all()).all()
    assert {name: column.tolist() for name, column in codes.columns(codes.all()[5:6]).items()} == {
        "n": [0],
        "k": [2],
        "x": [1],
    }


@pytest.mark.parametrize(
    "params", [{"n": 2, "k": 1}, {"n": 3, "k": 1, "x": 0.5}, {"n": 2, "k": 1.0, "x": 0.5}]
)
def test_candidates_of_another_space_have_no_codes(params):
    codes = Codes(MIXED)
    assert codes.places(params) is None
    with pytest.raises(ValueError, match="not a candidate of n, k, x"):
        codes.encode([params])


def test_only_finite_parameters_are_listable():
    assert listable(MIXED)
    assert not listable({"x": FloatDistribution(0, 1)})
    assert not listable({})


def costs(columns):
    return {"weight": np.sum(list(columns.values()), axis=0)}


def pool(**more):
    return CandidatePool(Codes(MANY), DomainKnowledge(costs, columns=True, **more))


def test_a_pool_keeps_the_bounds_and_repeats_nothing():
    """4^20 candidates; less than 1 in 10 000 weighs 12 or less, the mean is 30."""
    rows, candidates = pool().pool(PROBLEM, np.zeros((0, 20), np.intp), np.random.default_rng(0))
    assert len(rows) == len(candidates) == len(np.unique(rows, axis=0)) > 20
    assert (rows.sum(1) <= 12).all()
    assert (candidates.costs["weight"] == rows.sum(1)).all()


def test_children_of_the_best_are_in_the_pool():
    parent = np.tile(np.arange(2), 10)[None]  # weighs 10
    rows, _ = pool().pool(PROBLEM, parent, np.random.default_rng(0))
    assert ((rows != parent).sum(1) <= 2).sum() > 20


def test_observed_candidates_are_encoded_once():
    looked = []

    def noted(columns):
        looked.append(len(columns["d0"]))
        return costs(columns)

    candidate_pool = CandidatePool(Codes(MANY), DomainKnowledge(noted, columns=True))
    codes = np.random.default_rng(0).integers(4, size=(30, 20))
    candidate_pool.proposed(codes[:10])
    both = candidate_pool.proposed(codes[::-1])
    plain = pool().candidates(codes[::-1])
    assert looked == [10, 20]
    assert (both.costs["weight"] == plain.costs["weight"]).all()
    assert (both.features.numbers == plain.features.numbers).all()
    assert len(candidate_pool.proposed(codes[:0])) == 0


def test_distributions_are_read_again_after_a_change():
    candidate_pool, params = pool(), {f"d{i}": 0 for i in range(19)}
    assert candidate_pool.places(params) is None
    params["d19"] = 3
    assert candidate_pool.places(params) == (0,) * 19 + (3,) == candidate_pool.places(params)
    assert candidate_pool.encoded([params, {}]).tolist() == [[0] * 19 + [3]]


def test_children_of_the_best_keep_the_bounds_and_are_new():
    candidate_pool, rng = pool(), np.random.default_rng(0)
    codes, _ = candidate_pool.pool(PROBLEM, np.zeros((0, 20), np.intp), rng)
    children, candidates = candidate_pool.children(PROBLEM, codes, np.arange(5), rng)
    assert len(children) == len(candidates) > 20
    assert (children.sum(1) <= 12).all()
    assert len(np.unique(np.concatenate([codes, children]), axis=0)) == len(codes) + len(children)
    nearest = np.abs(children[:, None] - codes[None, :5]).astype(bool).sum(-1).min(1)
    assert nearest.max() < 12  # of 20 parameters


def test_no_child_where_none_keeps_the_bounds():
    impossible = Problem((Objective("weight"),), (Bound("weight", at_most=-1.0),))
    candidate_pool, rng = pool(), np.random.default_rng(0)
    codes, _ = candidate_pool.pool(impossible, np.zeros((0, 20), np.intp), rng)
    assert codes[0].tolist() == [0] * 20
    children, candidates = candidate_pool.children(impossible, codes, np.arange(1), rng)
    assert (len(children), len(candidates)) == (0, 0)


def test_a_pool_covers_regions_far_from_the_best():
    """A fifth of what keeps the bound has d0 = 3 and is heavy; the parent has d0 = 0."""

    def apart(columns):
        rest = np.sum([columns[f"d{i}"] for i in range(1, 20)], axis=0)
        return {"weight": np.where(columns["d0"] == 3, np.abs(rest - 38), np.abs(rest - 20))}

    candidate_pool = CandidatePool(Codes(MANY), DomainKnowledge(apart, columns=True))
    near = Problem((Objective("weight"),), (Bound("weight", at_most=3.0),))
    parents = np.concatenate([[0, 1], np.tile([0, 2], 9)])[None]
    rows, _ = candidate_pool.pool(near, parents, np.random.default_rng(0))
    assert (rows[:, 0] == 3).mean() > 0.05
