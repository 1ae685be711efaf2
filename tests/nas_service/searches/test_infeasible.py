"""Why nothing is feasible, by hand: which budgets bind, and the smallest loosening."""

import json

import numpy as np

from nas_service.evaluation.screening import Budgets
from nas_service.searches.candidate import Candidate
from nas_service.searches.infeasible import infeasible
from nas_service.spaces.batch import batch_of_numbers
from nas_service.study.loading import parse_spec

AREA, ENERGY = {"metric": "area_mm2", "at_most": 2.0}, {"metric": "energy_uJ", "at_most": 0.1}
ACCURATE = {"metric": "accuracy", "at_least": 0.99}


def spec_of(*constraints):
    tree = {
        "name": "x",
        "space": {"channels": 4, "head_pool": 2, "hidden": 8, "time_steps": 2},
        "data": {"name": "digits"},
        "training": {"epochs": 1},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "constraints": constraints,
    }
    return parse_spec(json.dumps(tree), "x")


def candidate(spec, trial, outcome="rejected", digest="", rejected_by=(), **metrics):
    violations = spec.known_violations(metrics)
    over = rejected_by or tuple(name for name, v in violations.items() if v > 0)
    own = digest or str(trial)
    return Candidate(trial, own, outcome, outcome, metrics, violations, None, "", over)


def test_budgets_that_no_candidate_keeps_and_what_would_let_one_in():
    spec = spec_of(AREA, ENERGY, {"metric": "parameters", "at_most": 5000})
    rows = [candidate(spec, 0, area_mm2=4.0, energy_uJ=0.2, parameters=100),
            candidate(spec, 1, area_mm2=2.65096, energy_uJ=0.15, parameters=9000),
            candidate(spec, 2, area_mm2=2.65096, energy_uJ=0.18, parameters=100)]  # fmt: skip
    result = infeasible(spec, rows)
    assert result.lines == (
        "nothing feasible among 3 candidates; budgets that bind: area_mm2 <= 2 (none of 3, least "
        "2.651, exact), energy_uJ <= 0.1 (none of 3, least 0.15, at the assumed spike rate)",
        "smallest loosening: area_mm2 <= 2.651, energy_uJ <= 0.18 would let trial 2 in (is not "
        "trained: costs only)",
    )
    document = result.to_json()
    assert document["loosening"] == {"area_mm2": 2.651, "energy_uJ": 0.18}
    assert [b["metric"] for b in document["binding"]] == ["area_mm2", "energy_uJ"]
    wider = spec_of(*(c.with_limit(x).model_dump(exclude_none=True) for c, x in result.loosening))
    assert wider.is_feasible(rows[2].metrics)


def test_budgets_that_bind_only_together():
    """Each is kept by one; the nearest breaks energy by a fifth."""
    spec = spec_of(AREA, ENERGY)
    rows = [candidate(spec, 0, area_mm2=1.0, energy_uJ=0.12),
            candidate(spec, 1, area_mm2=3.0, energy_uJ=0.05)]  # fmt: skip
    (energy,) = infeasible(spec, rows).binding
    assert str(energy) == (
        "energy_uJ <= 0.1 (kept by 1 of 2, least 0.05, at the assumed spike rate)"
    )


def test_measured_candidates_count_before_costed_ones():
    """A training says what the rates are, and that the accuracy is too low."""
    spec = spec_of(AREA, ENERGY, ACCURATE)
    rows = [candidate(spec, 0, area_mm2=2.02, energy_uJ=0.01),
            candidate(spec, 1, "trained", area_mm2=1.5, energy_uJ=0.3, accuracy=0.95),
            candidate(spec, 2, "trained", area_mm2=1.5, energy_uJ=0.09, accuracy=0.9)]  # fmt: skip
    result = infeasible(spec, rows)
    assert (result.trial, result.is_measured) == (2, True)
    assert result.lines[1].startswith("smallest loosening: accuracy >= 0.9 would let trial 2 in")
    (accuracy,) = result.binding
    assert str(accuracy) == "accuracy >= 0.99 (none of 2, most 0.95, measured)"


def test_the_memory_of_a_training_is_a_budget():
    """Of two candidates that are over it, the smaller one says how much is needed."""
    spec = spec_of(AREA)
    space = spec.build_space()
    small, large = (batch_of_numbers(space, np.array([n])).architecture(space, 0) for n in (1, 999))
    rows = [candidate(spec, n, digest=a.digest, rejected_by=("training.memory_GiB",), area_mm2=1.0)
            for n, a in enumerate((large, small))]  # fmt: skip
    known = {a.digest: a for a in (small, large)}
    result = infeasible(spec, rows, lambda some: {c.digest: known[c.digest] for c in some})
    budgets = Budgets.of(spec)
    assert result.memory_GiB == min(budgets.memory_GiB(a) for a in (small, large)) > 0
    assert f"2 over training.memory_GiB (least {result.memory_GiB:.3g})" in result.lines[0]
    assert result.to_json()["memory_GiB"] == result.memory_GiB
    for section, changes in (("data", {"name": "gone"}), ("hardware", {"profile": "gone"})):
        other = spec.model_copy(update={section: getattr(spec, section).model_copy(update=changes)})
        unknown = infeasible(other, rows, lambda some: known)
        assert (unknown.over_memory, unknown.memory_GiB) == (2, None), "those of a plug-in"


def test_what_no_budget_explains_is_counted():
    spec = spec_of(AREA)
    rows = [candidate(spec, 0, rejected_by=("connected",), area_mm2=1.0),
            candidate(spec, 1, rejected_by=("training.memory_GiB",), area_mm2=1.0),
            candidate(spec, 2, "diverged", area_mm2=1.0),
            candidate(spec, 3, digest="2", area_mm2=1.0)]  # fmt: skip
    result = infeasible(spec, rows)
    assert result.lines == (
        "nothing feasible among 3 candidates (1 without a path, 1 over training.memory_GiB, "
        "1 diverged)",
    )
    assert (result.trial, result.loosening, infeasible(spec, []).lines) == (None, (), ())
