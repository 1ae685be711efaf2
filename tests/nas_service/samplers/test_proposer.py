"""SNASNet's search and the cell-by-cell searches, on the digits space with a known score."""

import json

import optuna
import pytest

from hw_models import load_profile
from nas_service.errors import SpecError
from nas_service.evaluation.screening import workload_cache_of
from nas_service.samplers import PASSED_OVER, sampler_of
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.study.assumed_rates import AssumedRates
from nas_service.study.loading import parse_spec

SPACE = {
    "operations": ["zeroize", "skip", "conv1x1", "conv3x3"],
    "channels": [4, 8],
    "head_pool": 2,
    "hidden": [16, 32],
    "time_steps": 2,
    "weight_bits": 8,
}
BY_CELL = ("spikenas", "neuronas")


def spec_of(sampler, trainings=60, constraints=(), search=(), **space):
    return parse_spec(
        json.dumps(
            {
                "name": "seeds",
                "seed": 3,
                "space": SPACE | space,
                "data": {"name": "digits"},
                "training": {"epochs": 0},
                "hardware": {"profile": "corrected"},
                "proxies": {"names": ["depth"]},
                "search": {"sampler": sampler, "trainings": trainings, **dict(search)},
                "objectives": [
                    {"metric": "proxy_depth", "direction": "maximize", "reference": 0, "ideal": 9}
                ],
                "constraints": list(constraints),
            }
        ),
        "a test",
    )


def score(a: Architecture) -> float:
    """Best: three 3x3 convolutions in the first cell, one in the second, wide and shallow."""
    counts = [c.live().operations.count("conv3x3") for c in a.cells]
    return -((counts[0] - 3) ** 2) - (counts[1] - 1) ** 2 + a.channels / 8 - a.hidden / 32


def searched(spec, trials, score=score, running=1):
    """Architectures as proposed, `running` of them under way at a time."""
    study = optuna.create_study(direction="maximize", sampler=sampler_of(spec))
    space, proposed, open_trials = spec.build_space(), [], []
    for _ in range(trials):
        trial = study.ask()
        proposed.append(space.draw(trial))
        open_trials.append((trial, proposed[-1]))
        if len(open_trials) == running:
            first, a = open_trials.pop(0)
            study.tell(first, score(a))
    return proposed


@pytest.mark.parametrize("sampler", ["snasnet", *BY_CELL])
def test_proposals_are_determined_by_seed_and_trials(sampler):
    """A sampler that is created again during a study makes the same proposals."""
    spec = spec_of(sampler, trainings=30)
    study = optuna.create_study(direction="maximize", sampler=sampler_of(spec))
    space, proposed = spec.build_space(), []
    for n in range(34):
        if n % 9 == 4:
            study.sampler = sampler_of(spec)
        trial = study.ask()
        proposed.append(space.draw(trial))
        study.tell(trial, score(proposed[-1]))
    assert proposed == searched(spec, 34)
    assert len({a.digest for a in proposed}) > 20


def test_cells_of_snasnet_are_equal_and_hold_edge_03():
    for a in searched(spec_of("snasnet"), 60):
        first, second = a.cells
        assert first == second == first.live()
        assert first.operations[2] != "zeroize"
        assert first.connected
    backward = searched(spec_of("snasnet", mode="backward"), 60)
    assert all(a.cells[0].operations[2] in SPACE["operations"][1:] for a in backward)
    assert any(a.cells[0].recurrent for a in backward)


@pytest.mark.parametrize("sampler", BY_CELL)
def test_cells_are_optimised_in_order_and_then_the_sizes(sampler):
    """60 trainings: 4 values of sizes, and 28 functions of each cell; what is known is not
    proposed again."""
    proposed = searched(spec_of(sampler), 60)
    first = proposed[:28]
    straight = ("zeroize", "zeroize", "skip", "zeroize", "zeroize", "zeroize")
    assert {a.cells[1].operations for a in first} == {straight}
    assert len({a.cells[0].canonical() for a in first}) == 28
    best = max(first, key=score).cells[0]
    assert proposed[27].cells[0] != proposed[28].cells[0] == best
    narrow = [a for a in proposed[28:] if (a.channels, a.hidden) == (4, 16)]
    second = narrow[:28] if narrow[27].cells[0] == best else narrow[:27]
    assert second == proposed[28 : 28 + len(second)]
    assert {a.cells[0] for a in second} == {best}
    assert len({a.cells[1].canonical() for a in second}) == len(second)
    cells = max(first + second, key=score).cells
    sizes = proposed[28 + len(second) :][:2]  # the smallest are known
    assert {a.cells for a in sizes} == {cells}
    assert [(a.channels, a.hidden) for a in sizes] == [(8, 16), (8, 32)]


def test_another_pass_begins_where_the_last_one_ended():
    spec = spec_of("spikenas", trainings=24)
    proposed = searched(spec, 60)
    one_pass = 2 * 10 + 4 - 3
    best = max(proposed[:one_pass], key=score)
    later = proposed[one_pass + 1 : one_pass + 8]
    assert {a.cells[1] for a in later} == {best.cells[1]}
    assert {(a.channels, a.hidden) for a in later} == {(best.channels, best.hidden)}
    assert len({a.cells[0].canonical() for a in later}) == len(later)


def test_no_choice_is_worse_than_the_one_before():
    """The best cell so far is kept, whichever candidates a pass compares."""
    spec = spec_of("spikenas", trainings=16)
    proposed = searched(spec, 120)
    for n in range(20, 120):
        best = max(proposed[:n], key=score)
        parts = [(a.cells[0], a.cells[1], a.channels, a.hidden) for a in (proposed[n], best)]
        same = sum(x == y for x, y in zip(*parts, strict=True))
        assert same >= 2, "the parts but one, and one that a later choice of this pass changed"
    assert score(best) == max(map(score, proposed)) == 0.5


def costs_of(spec, architectures):
    workloads, profile = workload_cache_of(spec), load_profile("corrected")
    at_rest = (AssumedRates.of(spec).of_workload(workloads.workload(a)) for a in architectures)
    return [profile.estimate(workload).metrics() for workload in at_rest]


BUDGETS = (
    {"metric": "parameters", "at_most": 2200},
    {"metric": "energy_uJ", "at_most": 0.189},
)


def test_spikenas_checks_memory_and_neuronas_all_budgets():
    specs = {name: spec_of(name, constraints=BUDGETS) for name in BY_CELL}
    costs = {name: costs_of(spec, searched(spec, 40)) for name, spec in specs.items()}
    for name in BY_CELL:
        assert max(c["parameters"] for c in costs[name]) <= 2200
    assert max(c["energy_uJ"] for c in costs["neuronas"]) <= 0.189
    assert max(c["energy_uJ"] for c in costs["spikenas"]) > 0.189


def passed_over(spec, trials):
    """The notes of the last of `trials` trials."""
    study = optuna.create_study(direction="maximize", sampler=sampler_of(spec))
    for _ in range(trials):
        trial = study.ask()
        study.tell(trial, score(spec.build_space().draw(trial)))
    return study.trials[-1].user_attrs[PASSED_OVER]


def test_checks_run_in_their_order_and_count_what_they_rule_out():
    """The first cell's functions: each counts at the first check that it fails."""
    space = spec_of("neuronas").build_space()
    through = Cell(("zeroize", "zeroize", "skip", "zeroize", "zeroize", "zeroize"))
    cells = {c.canonical(): c for n in range(space.cell_count) if (c := space.cell(n)).connected}
    cells = [Architecture((c, through), 4, 2, 16, 2, 8) for c in cells.values()]
    costs = costs_of(spec_of("neuronas"), cells)
    most = {m: 1.001 * sorted(c[m] for c in costs)[len(costs) // 2] for m in costs[0]}
    bounds = [{"metric": m, "at_most": most[m]} for m in ("energy_uJ", "parameters")]
    listed = (["parameters", "energy_uJ"], ["energy_uJ", "parameters"], ["energy_uJ"])
    orders = (*({"constraint_order": names} for names in listed), {})
    specs = [spec_of("neuronas", constraints=bounds, search=o) for o in orders]
    first, second, only_energy, default = (passed_over(spec, 1) for spec in specs)
    heavy, hungry = ([c[m] > most[m] for c in costs] for m in ("parameters", "energy_uJ"))
    both = sum(a and b for a, b in zip(heavy, hungry, strict=True))
    assert both > 0
    assert first == {"parameters": sum(heavy), "energy_uJ": sum(hungry) - both}
    assert second == {"energy_uJ": sum(hungry), "parameters": sum(heavy) - both}
    assert only_energy == {"energy_uJ": sum(hungry)}
    assert default == first  # whatever the order of the study's budgets


@pytest.mark.parametrize(
    ("sampler", "checks", "message"),
    [
        ("tpe", ["parameters"], "sampler 'tpe' has no order of checks"),
        ("spikenas", ["parameters"], "sampler 'spikenas' has no order of checks"),
        ("neuronas", ["area_mm2"], "no budget on 'area_mm2'"),
        ("neuronas", ["proxy_depth"], "'proxy_depth' is not a cost that is known beforehand"),
    ],
)
def test_meaningless_checks_are_refused(sampler, checks, message):
    depth = {"metric": "proxy_depth", "at_least": 1}
    spec = spec_of(sampler, constraints=[*BUDGETS, depth], search={"constraint_order": checks})
    with pytest.raises(SpecError, match=message):
        sampler_of(spec)


def test_waiting_workers_propose_more_without_changing_a_choice():
    """Five at a time: the cell that is kept is the best of the same 28 as with one worker."""
    spec = spec_of("neuronas")
    single, together = searched(spec, 56), searched(spec, 60, running=5)
    assert single[:28] == together[:28]
    best = max(single[:28], key=score).cells[0]
    later = [a for a in together[28:] if a.cells[0] == best]
    assert len(later) >= 24
    assert len({a.digest for a in together}) >= 58


def test_an_exhausted_space_is_drawn_from_at_random():
    spec = spec_of("spikenas", trainings=200, operations=["zeroize", "skip"], hidden=16, channels=4)
    known = {a.digest for a in spec.build_space() if a.connected}
    proposed = searched(spec, 40)
    assert 1 < len({a.digest for a in proposed if a.connected}) <= len(known) < 40


@pytest.mark.parametrize("sampler", BY_CELL)
def test_a_failed_candidate_is_not_proposed_again(sampler):
    spec = spec_of(sampler, trainings=12)
    study = optuna.create_study(direction="maximize", sampler=sampler_of(spec))
    space, proposed = spec.build_space(), []
    for n in range(12):
        trial = study.ask()
        proposed.append(space.draw(trial))
        if n % 3:
            study.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            study.tell(trial, score(proposed[-1]))
    assert len(set(proposed)) == 12
