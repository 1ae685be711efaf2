"""A study's cells as the grey-box sampler sees them: the space as drawn, costs as screened."""

import json
from pathlib import Path

import numpy as np
import optuna
import pytest
import torch

from nas_service.data import source_of
from nas_service.errors import SpecError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.feasible_set import share_counted
from nas_service.evaluation.screening import profile_of
from nas_service.samplers import sampler_of
from nas_service.samplers.cell_features import DEPTH, Paths, live_codes, promise
from nas_service.samplers.greybox import DomainKnowledge, Objective
from nas_service.samplers.greybox.candidate_pool import CandidatePool
from nas_service.samplers.greybox.encoding import Codes
from nas_service.samplers.greybox.problem import Problem
from nas_service.samplers.greybox_cells import AT_REST, CellProblem, score_by
from nas_service.snn.proxies.structure import depth, edges_of
from nas_service.snn.workload_cache import WorkloadCache
from nas_service.spaces.batch import sample_batch
from nas_service.spaces.cell import Cell
from nas_service.spaces.operations import PRESETS, states_of
from nas_service.study.assumed_rates import AssumedRates
from nas_service.study.loading import load_spec, parse_spec
from nas_service.study.rejection import MEMORY, PATH

STUDIES = Path(__file__).parents[3] / "benchmarks" / "studies"


def spec_of(tmp_path, **changes):
    """The benchmarks' digits study with fewer sizes; `[table]` and its new lines."""
    text = (STUDIES / "digits.toml").read_text()
    text = text.replace("[8, 12, 16, 20, 24]", "[8, 20]").replace("[32, 64, 96, 128]", "[32, 96]")
    text = text.replace("[1, 2, 4]", "[2, 4]")
    for table, lines in changes.items():
        assert f"[{table}]" in text
        text = text.replace(f"[{table}]", f"[{table}]\n{lines}")
    path = tmp_path / "study.toml"
    path.write_text(text)
    return load_spec(path)


SPACES = {
    "plain": {},
    "chip": {"hardware": "search_space = {crossbar_size = [64, 128], adc_bits = [4, 5, 7]}"},
    "tiles": {"hardware": "search_space = {crossbars_per_pe = [1, 2], pes_per_tile = [1, 4, 16]}"},
    "backward": {"space": 'mode = "backward"'},
    "shared": {"space": "shared = true"},
}


@pytest.mark.parametrize("kind", SPACES)
def test_costs_are_those_of_the_screening(tmp_path, kind):
    spec = spec_of(tmp_path, **SPACES[kind])
    cell_problem = CellProblem(spec)
    workloads = WorkloadCache(cell_problem.space, source_of(spec.data).task, spec.network.votes)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    trials = [study.ask() for _ in range(8)]
    drawn = [cell_problem.space.draw(trial) for trial in trials]
    for trial in trials:
        assert trial.distributions == cell_problem.distributions
    costs = cell_problem.costs(cell_problem.columns([t.params for t in trials]))
    for n, a in enumerate(drawn):
        workload = AssumedRates.of(spec).of_workload(workloads.workload(a))
        metrics = profile_of(spec, a.chip).estimate(workload).metrics()
        assert costs[PATH][n] == a.connected
        if a.connected:
            for name in ("parameters", "area_mm2", "latency_ms", "energy_uJ"):
                assert costs[name][n] == pytest.approx(metrics[name])
            assert costs["energy_uJ" + AT_REST][n] == pytest.approx(metrics["energy_uJ"])
        single = cell_problem.drawn(cell_problem.columns([trials[n].params]))
        assert single.architecture(cell_problem.space, 0) == a
        assert cell_problem.key(trials[n].params) == a.digest


@pytest.mark.parametrize("kind", SPACES)
def test_costs_do_not_depend_on_the_batch(tmp_path, kind):
    cell_problem = CellProblem(spec_of(tmp_path, **SPACES[kind]))
    codes = Codes(cell_problem.distributions)
    drawn = codes.draws(40, np.random.default_rng(0))
    complete = cell_problem.costs(codes.columns(drawn))
    for part in (drawn[:7], drawn[7:8], drawn[::-1]):
        part_costs = cell_problem.costs(codes.columns(part))
        rows = [(drawn == row).all(1).argmax() for row in part]
        for name, values in complete.items():
            assert (values[rows] == part_costs[name]).all(), name


def test_without_a_training_energy_is_known(tmp_path):
    spec = spec_of(tmp_path)
    score = spec.objectives[0].model_copy(update={"metric": "proxy_depth", "reference": 0.0})
    free = spec.model_copy(
        update={
            "training": spec.training.model_copy(update={"epochs": 0}),
            "objectives": (score, *spec.objectives[1:]),
        }
    )
    assert CellProblem(free).learned == ("proxy_depth",)
    assert (CellProblem(free).measurement_variance, CellProblem(spec).measurement_variance) == (
        0,
        0.09 / 360,
    )


def test_only_a_training_tells_accuracy_and_energy(tmp_path):
    assert CellProblem(spec_of(tmp_path)).learned == ("accuracy", "energy_uJ")


def test_features_ignore_names_of_inner_nodes_and_dead_edges():
    states = states_of(PRESETS["snasnet5"], backward=True)
    rng = np.random.default_rng(0)
    codes = rng.integers(len(states), size=(300, 6))
    live = live_codes(codes, states)
    for row, alive in zip(codes, live, strict=True):
        cell = Cell(tuple(states[c] for c in row))
        same = Cell(tuple(states[c] for c in alive))
        assert same.canonical() == cell.canonical()
    mirrored = live[:, (1, 0, 2, 3, 5, 4)]
    free = live[:, 3] == 0
    assert (live_codes(mirrored[free], states) == live[free]).all()


def test_depth_is_the_proxy():
    states = PRESETS["bench-threshold"]
    codes = np.random.default_rng(1).integers(len(states), size=(300, 6))
    counts = Paths(live_codes(codes, states), states).counts()
    for row, row_counts in zip(codes, counts, strict=True):
        cell = Cell(tuple(states[c] for c in row))
        assert row_counts[DEPTH] == depth(edges_of(cell, 1.0))
        live = cell.live().operations
        assert row_counts[0] == sum(name.startswith("conv") for name in live)


def test_counts_by_hand():
    """Edges 01 02 03 12 13 23: a skip; it beside itself; a convolution before another, and past
    both a skip."""
    states = PRESETS["light3"]
    none, skip, conv = (states.index(s) for s in ("zeroize", "skip", "conv3x3"))
    one = [none, none, skip, none, none, none]
    twice = [skip, none, skip, none, skip, none]
    deep = [conv, none, skip, none, conv, none]
    counts = Paths(np.array([one, twice, deep]), states).counts()
    assert counts[0].tolist() == counts[1].tolist() == [0, 0, 1, 0, 0, 0, 0]
    assert counts[2].tolist() == [2, 2, 1, 0, 1, 0, 2]
    assert promise(counts) == pytest.approx([0, 0, 1.5 * 2**0.5])


def test_places_by_hand():
    """A way over convolutions a, b and one past them over b: a is first, b is first and second
    from the input, and last; a is last but one."""
    states = PRESETS["bench-threshold"]
    none, skip, a, b = (states.index(s) for s in ("zeroize", "skip", *states[2:4]))
    cell = [a, none, none, none, b, none]
    past = [a, skip, none, none, b, b]  # 01-13 and 02-23
    places = Paths(np.array([cell, past]), states).places().reshape(2, 2, 3, 3)
    assert places[0].tolist() == [
        [[1, 0, 0], [0, 1, 0], [0, 0, 0]],  # from the input
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],  # from the output
    ]
    assert places[1].tolist() == [
        [[1, 1, 0], [0, 1, 0], [0, 0, 0]],
        [[0, 1, 0], [1, 0, 0], [0, 0, 0]],
    ]


def test_rejected_trials_are_no_observations(tmp_path):
    cell_problem = CellProblem(spec_of(tmp_path))
    study = optuna.create_study(directions=["maximize", "minimize"])
    for outcome, values in (
        ("rejected", {"energy_uJ": 9.0}),
        ("trained", {"accuracy": 0.9, "energy_uJ": 0.5}),
        ("cached", {"energy_uJ": 9.0}),
    ):
        trial = study.ask(cell_problem.distributions)
        for key, value in {"outcome": outcome, **values}.items():
            trial.set_user_attr(key, value)
        study.tell(trial, [0.1, values["energy_uJ"]])
    observed = [s.values for t in study.trials for s in cell_problem.observe(t)]
    assert observed == [{"accuracy": 0.9, "energy_uJ": 0.5}]


def test_rungs_are_separate_contexts(tmp_path):
    """Each is a separate trial, in this study and in a study that is learned from."""
    changes = {
        "training": "rungs = [1, 3]",
        "search": 'reduction_factor = 3\nwarm_start_from = ["theirs"]',
    }
    cell_problem = CellProblem(spec_of(tmp_path, **changes))
    for name, expected in (
        ("ours", ["epoch 1", "epoch 3", ""]),
        ("theirs", ["theirs epoch 1", "theirs epoch 3", "theirs"]),
    ):
        storage = f"sqlite:///{tmp_path}/{name}.db"
        study = optuna.create_study(
            directions=["maximize", "minimize"], study_name=name, storage=storage
        )
        for epochs, outcome in ((1, "trained"), (3, "continued"), (6, "continued")):
            trial = study.ask(cell_problem.distributions)
            values = {
                "outcome": outcome,
                "accuracy": 0.9,
                "energy_uJ": 0.5,
                "epochs": float(epochs),
            }
            for key, value in values.items():
                trial.set_user_attr(key, value)
            study.tell(trial, [0.9, 0.5])
        observed = (
            cell_problem.warm(study)
            if name == "theirs"
            else (s for t in study.trials for s in cell_problem.observe(t))
        )
        assert [s.context for s in observed] == expected
    plain = CellProblem(spec_of(tmp_path, training="rungs = [1, 3]"))
    assert [s.context for t in study.trials for s in plain.observe(t)] == [""] * 3


def test_proposals_meet_every_exact_budget(tmp_path):
    """Few candidates keep these; all that are proposed do."""
    spec = spec_of(tmp_path)
    cell_problem, study = (
        CellProblem(spec),
        optuna.create_study(directions=["maximize", "minimize"], sampler=sampler_of(spec)),
    )
    for n in range(6):
        trial = study.ask()
        a = cell_problem.space.draw(trial)
        costs = {
            k: v[0] for k, v in cell_problem.costs(cell_problem.columns([trial.params])).items()
        }
        assert a.connected
        for bound in cell_problem.bounds:
            if bound.name not in cell_problem.learned:
                assert bound.violation(np.array(costs[bound.name])) <= 0, bound
        trial.set_user_attr("outcome", "trained")
        trial.set_user_attr("accuracy", 0.9 + 0.01 * n)
        trial.set_user_attr("energy_uJ", 0.5)
        study.tell(trial, [0.9 + 0.01 * n, 0.5])


def test_warm_starting_needs_greybox(tmp_path):
    spec = spec_of(tmp_path, search='warm_start_from = ["other"]')
    assert sampler_of(spec) is not None
    plain = spec.model_copy(update={"search": spec.search.model_copy(update={"sampler": "tpe"})})
    with pytest.raises(SpecError, match=r"search\.warm"):
        sampler_of(plain)


def test_feasible_candidates_are_drawn_where_random_draws_rarely_fit(tmp_path):
    tree = json.loads(spec_of(tmp_path).model_dump_json())
    assert CellProblem(spec_of(tmp_path)).draws(5, np.random.default_rng(0)) is None
    tree["constraints"][0]["at_most"] = 6000
    tree["hardware"]["search_space"] = {"crossbar_size": [64, 128], "adc_bits": [4, 5, 7]}
    cell_problem = CellProblem(parse_spec(json.dumps(tree), "x"))
    assert share_counted(cell_problem.budgets) < 0.05
    draws = cell_problem.draws(200, np.random.default_rng(0))
    assert cell_problem.draws(200, np.random.default_rng(0)) == draws
    costs = cell_problem.costs(cell_problem.columns(draws))
    assert costs["parameters"].max() <= 6000
    assert costs["area_mm2"].max() <= 5.5
    assert costs[PATH].all()
    assert all(params.keys() == cell_problem.distributions.keys() for params in draws)
    knowledge = DomainKnowledge(
        cell_problem.costs,
        cell_problem.describe,
        cell_problem.key,
        columns=True,
        draws=cell_problem.draws,
    )
    pool = CandidatePool(Codes(cell_problem.distributions), knowledge)
    problem = Problem(
        (Objective("accuracy", "maximize"),), cell_problem.bounds, cell_problem.learned
    )
    none = np.zeros((0, len(cell_problem.distributions)), dtype=np.intp)
    codes, candidates = pool.pool(problem, none, np.random.default_rng(0))
    assert len(codes) > 300
    assert problem.excess(candidates.costs, problem.exact_bounds, len(codes)).max() == 0


def test_nothing_is_proposed_that_the_screening_would_reject(tmp_path):
    """For memory and a bound at a confidence as for any other budget."""
    spec = spec_of(tmp_path, training="memory_GiB = 0.045")
    tree = json.loads(spec.model_dump_json())
    tree["constraints"][1] = {"metric": "area_mm2", "at_most": 5.5, "confidence": 0.9}
    evaluator = Evaluator.open(parse_spec(json.dumps(tree), "x"), Path())
    spec = evaluator.spec
    drawn = sample_batch(evaluator.workloads.space, 300, 0)
    over = evaluator.budgets.violations(evaluator.budgets.costed(drawn))
    assert 0.1 < (over[MEMORY] > 0).mean() < 0.9
    assert 0.1 < (over["area_mm2@0.9"] > 0).mean() < 0.9
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler_of(spec))
    for n in range(3):
        trial = study.ask()
        a = evaluator.workloads.space.draw(trial)
        assert evaluator.screen(a, 0).reason == ""
        trial.set_user_attr("outcome", "trained")
        study.tell(trial, [0.9 + n / 100, 0.5])


def test_proxies_of_the_study_are_used(tmp_path):
    spec = spec_of(tmp_path)
    tree = json.loads(spec.model_dump_json()) | {"proxies": {"names": ["sahd", "depth"]}}
    tree["constraints"].append({"metric": "proxy_depth", "at_least": 1.0})
    evaluator = Evaluator.open(parse_spec(json.dumps(tree), "x"), Path())
    sampler = sampler_of(evaluator.spec)
    score_by(sampler, evaluator)
    scores = sampler.inner._domain.scores
    assert list(scores) == ["proxy_sahd"]  # the other is asked itself
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    drawn = []
    for n in range(6):
        trial = study.ask()
        drawn.append(evaluator.workloads.space.draw(trial))
        proxies = evaluator.proxies(drawn[-1])
        assert scores["proxy_sahd"]([trial.params]) == [proxies["sahd"]]
        values = {"outcome": "trained", "accuracy": 0.9 + n / 100, "energy_uJ": 0.5 - n / 50}
        for key, value in (values | {f"proxy_{k}": v for k, v in proxies.items()}).items():
            trial.set_user_attr(key, value)
        study.tell(trial, [values["accuracy"], values["energy_uJ"]])
    assert len({a.digest for a in drawn}) == 6
    measured = sampler.inner._pool[1]._scores
    assert len(measured) > 6
    assert all(np.isfinite(v) for v in measured.values())
    state = torch.get_rng_state()
    evaluator.proxies(drawn[0])
    assert torch.equal(state, torch.get_rng_state())
