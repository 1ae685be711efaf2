"""The cheapest repair of a rejected candidate passes the screening, and nothing smaller does."""

import functools
import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.errors import SpecError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.images import StudyImages
from nas_service.evaluation.repair import Change, repair
from nas_service.evaluation.screening import Budgets
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.batch import batch_of_codes, batch_of_numbers, sample_batch
from nas_service.spaces.cell import Cell
from nas_service.store.rejected_checks import checks_named
from nas_service.study.loading import load_spec, parse_spec
from nas_service.study.rejection import MEMORY, PATH

STUDIES = Path(__file__).parents[3] / "studies"
SMALL = {
    "cells": 1,
    "operations": ["zeroize", "skip", "conv3x3"],
    "channels": [2, 4, 6],
    "head_pool": [4, 8],
    "hidden": [8, 32],
    "time_steps": [1, 2],
    "weight_bits": [4, 8],
}


def spec_of(constraints=(), space=SMALL, memory_GiB=4.0, chips=None, **hardware):
    tree = {
        "name": "x",
        "space": space,
        "data": {"name": "digits"},
        "training": {"epochs": 1, "memory_GiB": memory_GiB},
        "hardware": hardware | {"search_space": chips or {}},
        "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        "constraints": [dict(c) for c in constraints],
    }
    return parse_spec(json.dumps(tree), "x")


def changes(space, a, b):
    return sum(x != y for x, y in zip(space.codes(a), space.codes(b), strict=True))


KINDS = {
    "plain": {},
    "chip": {"chips": {"crossbar_size": [32, 64], "adc_bits": [4, 5]}},
    "sure": {"assumed_rate": 0.1},
}


def at_share(share, metrics=("parameters", "latency_ms", "energy_uJ"), **settings):
    """Budgets that this share of the candidates keeps, each of them."""
    spec = spec_of(**settings)
    budgets = Budgets.of(spec, StudyImages.open(spec, Path()).density())
    space = budgets.workloads.space
    values = budgets.costed(sample_batch(space, 2000, 0)).metrics
    return [{"metric": m, "at_most": 1.000001 * np.quantile(values[m], share)} for m in metrics]


def test_a_budget_is_kept_by_fewer_channels():
    """Stem 9 C + 2 C, hidden 4 C H, readout 10 H + 10 of H = 8: 43 C + 90 are 262 at most 200."""
    space = {**SMALL, "hidden": 8, "head_pool": 4}
    budgets = Budgets.of(spec_of([{"metric": "parameters", "at_most": 200}], space))
    skip = Cell(("zeroize", "zeroize", "skip", "zeroize", "zeroize", "zeroize"))
    repaired_by = repair(budgets, Architecture((skip,), 4, 4, 8, 2, 8))
    assert repaired_by.changes == (Change("channels", 4, 2),)
    assert str(repaired_by) == "channels 4 -> 2"
    assert repaired_by.architecture == Architecture((skip,), 2, 4, 8, 2, 8)


def test_among_equally_small_repairs_the_mildest_is_chosen():
    """A convolution of 4 channels is heavier than what one bit less takes away."""
    space = {**SMALL, "hidden": 8, "head_pool": 4, "weight_bits": [4, 5, 6, 7, 8]}
    spec = spec_of([{"metric": "memory_KiB", "at_most": 1.0}], space)
    budgets = Budgets.of(spec)
    conv = Cell(("zeroize", "zeroize", "conv3x3", "zeroize", "zeroize", "zeroize"))
    a = Architecture((conv,), 6, 4, 8, 2, 8)
    one = batch_of_codes(budgets.workloads.space, np.array([budgets.workloads.space.codes(a)]))
    kept = float(budgets.costed(one).metrics["memory_KiB"][0])
    tight = spec_of([{"metric": "memory_KiB", "at_most": 0.99 * kept}], space)
    assert str(repair(Budgets.of(tight), a)) == "weight_bits 8 -> 7"


@pytest.mark.parametrize("kind", KINDS)
def test_repairs_pass_the_screening_and_nothing_smaller_does(kind):
    """Against every candidate of a space."""
    hardware = KINDS[kind]
    bounds = at_share(0.4, **hardware)
    if kind == "sure":
        bounds[2]["confidence"] = 0.9
    space = SMALL | ({"weight_bits": 8, "channels": [2, 4]} if kind == "sure" else {})
    evaluator = Evaluator.open(spec_of(bounds, space, **hardware), Path())
    budgets, space = evaluator.budgets, evaluator.workloads.space
    everything = batch_of_numbers(space, np.arange(space.size))
    kept = np.flatnonzero(budgets.excess(budgets.costed(everything)) <= 0)
    assert 0 < len(kept) < 0.5 * space.size
    codes = np.stack(np.unravel_index(kept, [len(v) for v in space.choices.values()]), -1)
    rng = np.random.default_rng(0)
    sizes = set()
    for n in rng.integers(space.size, size=25).tolist():
        a = everything.architecture(space, n)
        screened = evaluator.screen(a, 0)
        assert (screened.reason == "") == (n in set(kept.tolist()))
        if not screened.reason:
            assert screened.repair == {}
            continue
        repaired_by = repair(budgets, a)
        least = int((codes != np.array(space.codes(a))).sum(1).min())
        assert len(repaired_by.changes) == changes(space, a, repaired_by.architecture) >= least
        if least <= 2:
            assert len(repaired_by.changes) == least
            near = codes[(codes != np.array(space.codes(a))).sum(1) == least]
            work = budgets.costed(batch_of_codes(space, near)).work
            own = budgets.costed(batch_of_codes(space, np.array([space.codes(a)]))).work[0]
            repaired = batch_of_codes(space, np.array([space.codes(repaired_by.architecture)]))
            away = abs(budgets.costed(repaired).work[0] - own)
            assert away == np.abs(work - own).min()
        assert evaluator.screen(repaired_by.architecture, 0).reason == ""
        assert screened.reason.endswith(f"; fits with {repaired_by}")
        assert screened.repair == space.parameters(repaired_by.architecture)
        sizes.add(len(repaired_by.changes))
    assert len(sizes) > 1


@settings(max_examples=5, derandomize=True, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from(["digits", "cifar10", "backward"]))
def test_the_shipped_studies(seed, name):
    evaluator = _shipped()[name]
    drawn = sample_batch(evaluator.workloads.space, 5, seed)
    for n in range(5):
        a = drawn.architecture(evaluator.workloads.space, n)
        screened = evaluator.screen(a, 0)
        if screened.repair:
            fits = parameters_drawn(evaluator.workloads.space, screened.repair)
            assert evaluator.screen(fits, 0).reason == ""
        elif screened.reason:
            assert "; no repair found by up to 6 changes" in screened.reason


def parameters_drawn(space, parameters):
    from optuna.trial import FixedTrial

    return space.draw(FixedTrial(parameters))


@functools.cache
def _shipped():
    digits = load_spec(STUDIES / "digits.toml")
    tree = json.loads(digits.model_dump_json())
    tree["space"] |= {"mode": "backward", "bits_of": "part", "time_steps": [2, 3]}
    backward = parse_spec(json.dumps(tree), "backward")
    tree = json.loads(load_spec(STUDIES / "cifar10.toml").model_dump_json())
    tree["data"] = {"name": "digits"}  # whose images are embedded
    tree["space"]["head_pool"] = [1, 2, 4]
    specs = {"digits": digits, "cifar10": parse_spec(json.dumps(tree), "x"), "backward": backward}
    return {name: Evaluator.open(spec, Path()) for name, spec in specs.items()}


def test_batches_are_screened_as_one_by_one():
    """With bounds at a confidence, memory and every way to break a budget."""
    operations = ["zeroize", "skip", "conv3x3", "sepconv3x3", "avgpool3x3", "maxpool3x3"]
    space = SMALL | {"mode": "backward", "time_steps": [2, 3], "operations": operations}
    chips, space["head_pool"] = {"crossbar_size": [32, 64]}, [2, 8]
    metrics = ["energy_uJ", "area_mm2", "throughput_per_s"]
    bounds = at_share(0.5, metrics, space=space, chips=chips)
    bounds[0]["confidence"], bounds[1]["confidence"] = 0.9, 0.8
    bounds[2]["at_least"] = bounds[2].pop("at_most") / 1.1
    bounds += [{"metric": "energy_delay_nJs", "at_least": 1e-9}]
    evaluator = Evaluator.open(spec_of(bounds, space, memory_GiB=0.02, chips=chips), Path())
    drawn = sample_batch(evaluator.workloads.space, 16, seed=1)
    costed = evaluator.budgets.costed(drawn)
    violations, over = evaluator.budgets.violations(costed), evaluator.budgets.excess(costed)
    assert list(violations) == ["connected", MEMORY, "energy_uJ@0.9", "area_mm2@0.8",
                           "throughput_per_s"]  # fmt: skip
    for n in range(16):
        a = drawn.architecture(evaluator.workloads.space, n)
        screened = evaluator.screen(a, 0)
        assert (over[n] > 0) == bool(screened.reason)
        for name, value in screened.bounds.items():
            assert costed.metrics[name][n] == pytest.approx(value, rel=1e-9)
        reason = screened.reason.partition(";")[0]
        first = [PATH] if violations[PATH][n] > 0 else [MEMORY] if violations[MEMORY][n] > 0 else []
        over_now = [name for name, v in violations.items() if v[n] > 0]
        assert list(screened.rejected_by) == (first or over_now)
        assert checks_named(screened.reason) == screened.rejected_by
        if violations["connected"][n] > 0:
            assert reason == "no path from input to output"
        elif violations[MEMORY][n] > 0:
            assert reason == f"training needs about {costed.memory_GiB[n]:.3g} GiB of 0.02"
        else:
            named = {part.split()[0] for part in reason.split(", ") if part}
            assert named == {name for name, v in violations.items() if v[n] > 0}
    assert {n: 0 < (v > 0).mean() < 1 for n, v in violations.items()} == dict.fromkeys(
        violations, True
    )


def test_an_impossible_repair_is_reported():
    evaluator = Evaluator.open(spec_of([{"metric": "parameters", "at_most": 1}]), Path())
    a = next(iter(evaluator.workloads.space))
    reason = evaluator.screen(a, 0).reason
    assert reason == "no path from input to output; no repair found by up to 6 changes"


def test_a_path_is_a_repair():
    evaluator = Evaluator.open(spec_of([]), Path())
    a = next(iter(evaluator.workloads.space))
    screened = evaluator.screen(a, 0)
    assert screened.reason == "no path from input to output; fits with cell0 edge03 zeroize -> skip"


def test_larger_repairs_are_searched_with_a_beam():
    """Three sizes and more have to shrink at once."""
    space = {**SMALL, "operations": ["zeroize", "skip"], "channels": [2, 8], "hidden": [8, 64],
             "weight_bits": [2, 8]}  # fmt: skip
    full = Budgets.of(spec_of([], space))
    skip = Cell(("zeroize", "zeroize", "skip", "zeroize", "zeroize", "zeroize"))
    large, small = (Architecture((skip,), c, 4, h, 1, b) for c, h, b in ((8, 64, 8), (2, 8, 2)))
    drawn = batch_of_codes(full.workloads.space, np.array([full.workloads.space.codes(small)]))
    least = float(full.costed(drawn).metrics["memory_KiB"][0])
    shut = {**space, "head_pool": 4, "time_steps": 1}
    spec = spec_of([{"metric": "memory_KiB", "at_most": 1.01 * least}], shut)
    repaired = repair(Budgets.of(spec), large)
    assert [c.parameter for c in repaired.changes] == ["channels", "hidden", "weight_bits"]
    assert repaired.architecture == small


def test_a_candidate_of_another_space_has_no_repair():
    evaluator = Evaluator.open(spec_of([{"metric": "parameters", "at_most": 1}]), Path())
    skip = Cell(("skip",) * 6)
    other = Architecture((skip,), 5, 4, 8, 2, 8)
    with pytest.raises(SpecError, match="channels = 5"):
        repair(evaluator.budgets, other)
    reason = evaluator.screen(other, 0).reason
    assert reason.startswith("parameters ")
    assert ";" not in reason


def test_codes_are_the_order_of_the_space():
    space = spec_of(space=SMALL | {"operations": ["skip", "conv3x3"]}).build_space()
    counts = [range(len(v)) for v in space.choices.values()]
    rows = list(itertools.islice(itertools.product(*counts), 0, None, 7))
    drawn = batch_of_codes(space, np.array(rows))
    for n, row in enumerate(rows):
        a = drawn.architecture(space, n)
        assert space.codes(a) == row
    assert len(rows) == -(-space.size // 7)
