"""What every metric promises: its entry alone serves one candidate, a batch and a confidence."""

import json
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from hw_models import HARDWARE_METRICS, HardwareMetric, load_profile
from hw_models.profile_file import DEFAULT
from hw_models.uncertainty import Ensemble
from nas_service.evaluation.screening import Budgets
from nas_service.metrics import (
    COUNTED,
    METRICS,
    PROXY,
    Evaluation,
    at_confidence,
    hardware_metric,
    measure,
    metric_of,
    values_with_fallbacks,
)
from nas_service.samplers.greybox_cells import CellProblem
from nas_service.spaces.batch import batch_of_numbers
from nas_service.spaces.input_density import LEAST
from nas_service.study.loading import parse_spec

NEW = "parameters_per_crossbar"  # an entry that only this test makes
DRAWS = 16


@pytest.fixture
def _new_metric(monkeypatch):
    entry = HardwareMetric(lambda totals: totals["parameters"] / totals["crossbars"])
    monkeypatch.setitem(HARDWARE_METRICS, NEW, entry)
    monkeypatch.setitem(METRICS, NEW, hardware_metric(NEW, entry))


def spec_of(*constraints, proxies=(), **objective):
    tree = {
        "name": "every-metric",
        "space": {"operations": ["zeroize", "skip", "conv3x3"], "cells": 1, "channels": [4, 8],
                  "head_pool": 2, "hidden": 16, "time_steps": 2},
        "data": {"name": "digits"},
        "training": {"epochs": 1},
        "hardware": {"monte_carlo_chips": 2},
        "proxies": {"names": list(proxies)},
        "objectives": [objective or {"metric": "accuracy", "direction": "maximize"}],
        "constraints": list(constraints),
    }  # fmt: skip
    return parse_spec(json.dumps(tree), "test")


BUDGETS = Budgets.of(spec_of(), LEAST)
SPACE = BUDGETS.workloads.space
CANDIDATES = batch_of_numbers(SPACE, np.arange(SPACE.size // 2, SPACE.size, 97))
PROFILE = load_profile(DEFAULT)


@cache
def workloads():
    """Of all candidates."""
    return [
        BUDGETS.workloads.workload(CANDIDATES.architecture(SPACE, n)).at_rate(0.0)
        for n in range(len(CANDIDATES.cells))
    ]


def evaluation():
    """A trained candidate with everything that can be measured."""
    return Evaluation(
        CANDIDATES.architecture(SPACE, 0),
        "trained",
        PROFILE.estimate(workloads()[0]),
        chance=0.1,
        seed=0,
        fidelity=1,
        accuracy=0.5,
        spike_rate=0.2,
        on_chip=(0.4, 0.5),
        counted=dict.fromkeys(COUNTED, 0.5),
        proxies={m.proxy: 1.0 for m in METRICS.values() if m.proxy},
    )


def alike_for_one_many_and_a_draw(name):
    """The three paths of a hardware metric; returns its values [N]."""
    one = np.array([PROFILE.estimate(w).metrics()[name] for w in workloads()], dtype=np.float64)
    many = BUDGETS.costed(CANDIDATES).metrics[name]
    assert np.allclose(many, one, rtol=1e-12, atol=0)
    ensemble, table = Ensemble(PROFILE, DRAWS), BUDGETS.workloads.table(CANDIDATES)
    drawn = ensemble.metrics_batch(table)[name]
    assert drawn.shape == (len(workloads()), DRAWS)
    for row, workload in zip(drawn, workloads(), strict=True):
        assert np.allclose(row, ensemble.metrics(workload)[name], rtol=1e-12, atol=0)
    return one, drawn


@pytest.mark.parametrize("name", HARDWARE_METRICS)
def test_a_hardware_metric_is_one_number_on_every_path(name):
    one, drawn = alike_for_one_many_and_a_draw(name)
    assert np.isfinite(one).all()
    spread = bool((drawn.min(-1) < drawn.max(-1)).any())
    assert spread == METRICS[name].has_interval
    assert not METRICS[name].whole or (one == np.round(one)).all()


@pytest.mark.usefixtures("_new_metric")
def test_a_new_hardware_metric_is_one_entry():
    """Computed, bounded, screened and shown by its entry alone."""
    one, _ = alike_for_one_many_and_a_draw(NEW)
    limit = {"metric": NEW, "at_most": float(np.median(one))}
    bounded = spec_of(limit, metric=NEW, direction="minimize", reference=1e6)
    costed = Budgets.of(bounded).costed(CANDIDATES)
    violations = Budgets.of(bounded).violations(costed)[NEW]
    assert np.allclose(violations, one / limit["at_most"] - 1)
    assert NEW not in CellProblem(bounded).learned
    assert measure(evaluation())[NEW] == pytest.approx(one[0])


@pytest.mark.parametrize("name", [n for n in HARDWARE_METRICS if METRICS[n].grows_with_rate])
def test_declared_growth_with_the_spike_rate_is_real(name):
    table = BUDGETS.workloads.table(CANDIDATES)
    low, high = (PROFILE.estimate_batch(table.at_rate(r)).metrics()[name] for r in (0.1, 0.9))
    assert (low <= high).all()
    assert (low < high).any()


@pytest.mark.parametrize("name", [n for n in HARDWARE_METRICS if not METRICS[n].grows_with_rate])
def test_other_metrics_ignore_the_spike_rate(name):
    table = BUDGETS.workloads.table(CANDIDATES)
    low, high = (PROFILE.estimate_batch(table.at_rate(r)).metrics()[name] for r in (0.1, 0.9))
    assert np.array_equal(low, high)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_measured_or_has_a_finite_fallback(name):
    known = evaluation()
    assert math.isfinite(measure(known)[name])
    unknown = replace(
        known,
        outcome="rejected",
        accuracy=None,
        spike_rate=None,
        on_chip=(),
        counted={},
        proxies={},
    )
    assert math.isfinite(values_with_fallbacks(unknown)[name])
    assert (name in measure(unknown)) == METRICS[name].costed


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_can_be_an_objective_and_a_constraint(name):
    proxies = [METRICS[name].proxy] if METRICS[name].proxy else []
    objective = {"metric": name, "direction": "minimize", "reference": 1.0, "ideal": 0.0}
    spec = spec_of({"metric": name, "at_most": 0.5}, proxies=proxies, **objective)
    assert spec.violations(dict.fromkeys(METRICS, 1.0)) == {name: 1.0}
    assert spec.scaled(dict.fromkeys(METRICS, 1.0)) == (1.0,)
    learned = name in CellProblem(spec).learned
    assert learned == (not METRICS[name].costed or METRICS[name].grows_with_rate)


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if m.has_interval])
def test_a_metric_with_an_interval_is_bounded_at_a_confidence(name):
    spec = spec_of({"metric": name, "at_most": 1e9, "confidence": 0.9})
    (constraint,) = spec.constraints
    assert constraint.measure == at_confidence(name, 0.9) == f"{name}@0.9"
    assert metric_of(constraint.measure) is METRICS[name]
    costed = Budgets.of(spec).costed(CANDIDATES)
    assert (costed.metrics[f"{name}@0.9"] > 0).all()


@pytest.mark.parametrize("name", [n for n, m in METRICS.items() if not m.has_interval])
def test_a_metric_without_an_interval_is_not(name):
    proxies = [METRICS[name].proxy] if METRICS[name].proxy else []
    with pytest.raises(Exception, match="has no interval"):
        spec_of({"metric": name, "at_most": 1, "confidence": 0.9}, proxies=proxies)


def test_names_of_proxies_are_marked():
    assert all(name.startswith(PROXY) == bool(m.proxy) for name, m in METRICS.items())
