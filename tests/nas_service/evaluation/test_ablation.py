"""Operations dropped one at a time: pairs, intervals, and the table of `nas ablate`."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from nas_service.cli.main import main
from nas_service.errors import SpecError
from nas_service.evaluation import ablation
from nas_service.evaluation.evaluator import Evaluator
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.study.loading import parse_spec
from nas_service.text import number

OPERATIONS = ("zeroize", "skip", "conv3x3", "avgpool3x3")
TREE = {
    "name": "tiny",
    "seed": 3,
    "space": {
        "operations": OPERATIONS,
        "channels": [4, 6],
        "head_pool": 4,
        "hidden": 16,
        "time_steps": 2,
    },
    "data": {"name": "digits", "train_samples": 128, "validation_samples": 64},
    "training": {"epochs": 2, "batch_size": 32},
    "objectives": [{"metric": "accuracy", "direction": "maximize"}],
    "constraints": [{"metric": "parameters", "at_most": 1500}],
}


def spec(**changes):
    return parse_spec(json.dumps(TREE | changes), "tiny")


@pytest.fixture(scope="module")
def evaluator():
    return Evaluator.open(spec(), Path())


@pytest.fixture(scope="module")
def planned(evaluator):
    return ablation.plan(evaluator, samples=3, seed=3)


def test_a_pair_differs_in_the_edges_of_its_operation_alone(planned):
    assert {p.operation for p in planned.pairs} == set(OPERATIONS) - {"zeroize"}
    for p in planned.pairs:
        a, b = p.sample.architecture, p.variant.architecture
        assert p.operation in ablation.used(a)
        assert replace(a, cells=b.cells) == b
        for one, other in zip(a.cells, b.cells, strict=True):
            assert p.operation not in other.operations
            kept = [(x, y) for x, y in zip(one.operations, other.operations, strict=True)]
            assert all(x == y for x, y in kept if x != p.operation)


def test_every_network_keeps_the_budgets_and_is_trained_once(evaluator, planned):
    networks = planned.networks
    assert all(evaluator.screen(n.architecture, 3).reason == "" for n in networks)
    assert len({n.architecture.digest for n in networks}) == len(networks) <= 2 * len(planned.pairs)
    assert {n.seed for n in networks} == {3}
    assert 0 < planned.refused < planned.drawn


def test_the_requested_number_of_pairs_is_drawn_reproducibly(evaluator, planned):
    for name in planned.operations:
        assert sum(p.operation == name for p in planned.pairs) == 3 - planned.alone[name]
    assert ablation.plan(evaluator, samples=3, seed=3) == planned
    assert ablation.plan(evaluator, samples=3, seed=4).pairs != planned.pairs


def test_backward_edges_and_shared_cells():
    space = spec(space=TREE["space"] | {"mode": "backward", "shared": True}).build_space()
    cell = Cell(("conv3x3", "back:conv3x3", "skip", "zeroize", "conv3x3", "back:skip"))
    a = Architecture((cell, cell), 4, 4, 16, 2, 8)
    assert set(ablation.used(a)) == {"conv3x3", "skip"}
    for seed in range(20):
        b = ablation.without(a, "conv3x3", space, np.random.default_rng(seed))
        assert b.cells[0] == b.cells[1]
        assert not any("conv3x3" in state for state in b.cells[0].operations)
        assert [b.cells[0].operations[e] for e in (2, 3, 5)] == ["skip", "zeroize", "back:skip"]


def test_dead_edges_hold_nothing():
    dead = Cell(("conv3x3", "zeroize", "skip", "zeroize", "zeroize", "zeroize"))
    assert ablation.used(Architecture((dead,), 4, 4, 16, 2, 8)) == ("skip",)


def measured(planned, accuracy):
    """Every network as if trained, with an accuracy by what it holds."""
    return {
        n.architecture.digest: replace(
            n, outcome="trained", accuracy=accuracy(ablation.used(n.architecture)), spike_rate=0.1
        )
        for n in planned.networks
    }


def test_verdicts_follow_the_effect_of_an_operation(planned):
    """Convolutions are worth 0.3, nothing else matters."""
    known = measured(planned, lambda ops: 0.5 + 0.3 * ("conv3x3" in ops))
    effects_by_name = {e.operation: e for e in ablation.effects(planned, known)}
    conv = effects_by_name["conv3x3"]
    assert (conv.verdict, conv.pairs) == ("helps", 3)
    assert conv.accuracy == pytest.approx(0.8)
    assert conv.difference.value == pytest.approx(-0.3)
    assert conv.costs["parameters"].value < 0
    alike = measured(planned, lambda ops: 0.5)
    assert {e.verdict for e in ablation.effects(planned, alike)} == {"none seen"}
    worse = measured(planned, lambda ops: 0.9 - 0.2 * ("conv3x3" in ops))
    assert {e.verdict for e in ablation.effects(planned, worse) if e.operation == "conv3x3"} == {
        "hurts"
    }


def test_diverged_trainings_are_excluded_and_counted(planned):
    known = measured(planned, lambda ops: 0.5)
    lost = planned.pairs[0].sample
    known[lost.architecture.digest] = replace(lost, outcome="diverged")
    for e in ablation.effects(planned, known):
        pairs = [p for p in planned.pairs if p.operation == e.operation]
        gone = [p for p in pairs if lost.architecture.digest in
                (p.sample.architecture.digest, p.variant.architecture.digest)]  # fmt: skip
        assert (e.diverged, e.pairs) == (len(gone), len(pairs) - len(gone))


def test_budgets_that_no_candidate_meets_are_reported():
    tight = spec(constraints=[{"metric": "parameters", "at_most": 1}], space=TREE["space"])
    with pytest.raises(SpecError, match=r"none of 50 architectures keeps the budgets"):
        ablation.plan(Evaluator.open(tight, Path()), samples=2, seed=0, draws=50)


def test_epochs_of_the_recipe():
    assert ablation.shortened(spec(), 1).training.last == 1
    assert ablation.shortened(spec(), None).training.last == 2
    with pytest.raises(SpecError, match=r"--epochs 3: 1\.\.2 is possible"):
        ablation.shortened(spec(), 3)


def run(tmp_path, *more):
    study = tmp_path / "study.toml"
    lines = ['name = "tiny"', "seed = 3"]
    for table in ("space", "data", "training"):
        lines += [f"[{table}]", *(f"{k} = {json.dumps(v)}" for k, v in TREE[table].items())]
    for table in ("objectives", "constraints"):
        lines += [f"[[{table}]]", *(f"{k} = {json.dumps(v)}" for k, v in TREE[table][0].items())]
    study.write_text("\n".join(lines))
    return CliRunner().invoke(main, ["ablate", str(study), "--samples", "2", *more])


def test_the_table_as_a_user_calls_it(tmp_path):
    ran = run(tmp_path, "--epochs", "1", "--json")
    assert ran.exit_code == 0, ran.output
    document = json.loads(ran.stdout)
    numbers = {k: document[k] for k in ("study", "seed", "samples", "epochs", "recipe_epochs")}
    assert numbers == {"study": "tiny", "seed": 3, "samples": 2, "epochs": 1, "recipe_epochs": 2}
    for effect in document["effects"]:
        assert effect["pairs"] + document["alone"][effect["operation"]] == 2
        assert 0 <= effect["accuracy"] <= 1
        low, value, high = (effect["difference"][k] for k in ("low", "value", "high"))
        assert low <= value <= high
    text = run(tmp_path, "--epochs", "1")
    assert text.exit_code == 0
    assert f"{document['networks']} networks, 1 epochs of the recipe's 2, seed 3" in text.output
    for effect in document["effects"]:
        row = next(x for x in text.output.splitlines() if x.startswith(effect["operation"]))
        assert number(100 * effect["accuracy"]) in row
        assert effect["verdict"] in row
    assert max(map(len, text.stdout.splitlines())) <= 80
