"""A study that tells candidates apart by genotype: dead edges and node names count."""

import json
from collections import Counter
from pathlib import Path

import pytest
from optuna.trial import FixedTrial

from nas_service.errors import SpecError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.samplers.cell_by_cell import CellByCell
from nas_service.samplers.greybox_cells import CellProblem
from nas_service.searches.creation import check, create
from nas_service.searches.initial_trials import resolve
from nas_service.searches.session import open_search
from nas_service.searches.single import single_candidate
from nas_service.spaces.architecture import Architecture
from nas_service.store.store import Store
from nas_service.study.loading import parse_spec
from nas_service.worker.worker import Worker

ALIVE, DEAD = "0003 0000 0000 0000", "0303 0000 0000 0000"  # one function: edge 01 leads nowhere


def spec(candidates, **search):
    tree = {
        "name": candidates,
        "space": {
            "operations": ["zeroize", "skip", "conv1x1", "conv3x3"], "cells": 1,
            "channels": 4, "head_pool": 2, "hidden": 16, "time_steps": 2,
            "deduplicate_by": candidates,
        },
        "data": {"name": "digits", "train_samples": 256, "validation_samples": 128},
        "training": {"epochs": 0},
        "search": {"sampler": "random"} | search,
        "proxies": {"names": ["sahd"], "samples": 16},
        "objectives": [
            {"metric": "proxy_sahd", "direction": "maximize", "reference": 0, "ideal": 1000},
        ],
    }  # fmt: skip
    return parse_spec(json.dumps(tree), "x")


def small(candidates, sampler="random"):
    tree = json.loads(spec(candidates, trainings=100).model_dump_json())
    tree["space"]["operations"] = ["zeroize", "conv1x1"]
    tree["search"]["sampler"] = sampler
    return parse_spec(json.dumps(tree), "x")


def run(folder, study_spec):
    store = Store(f"sqlite:///{folder}/nas.db", create=True)
    try:
        evaluator = Evaluator.open(study_spec, Path())
        create(store, check(study_spec), evaluator.data_digest)
        search = open_search(store, study_spec.name)
        Worker(search, evaluator, lambda text: None).run()
        return search.study.get_trials(deepcopy=False)
    finally:
        store.close()


def of(text, **more):
    cells = {"cells": [text], "channels": 4, "head_pool": 2, "hidden": 16, "time_steps": 2}
    names = ("zeroize", "skip", "conv1x1", "conv3x3")
    return Architecture.from_json({**cells, "weight_bits": 8, **more}, names)


def test_digests_cover_the_genotype():
    assert of(ALIVE).digest == of(DEAD).digest
    literal = [of(text, literal=True) for text in (ALIVE, DEAD)]
    assert len({of(ALIVE).digest, *(a.digest for a in literal)}) == 3
    for a in literal:
        assert Architecture.from_json(a.to_json()) == a
        assert Architecture.from_json(json.loads(json.dumps(a.to_json()))).digest == a.digest
    assert "literal" not in of(ALIVE).to_json()


def test_an_unknown_kind_of_candidates_is_refused():
    with pytest.raises(SpecError, match="literal = 1: true or false is needed"):
        of(ALIVE, literal=1)
    with pytest.raises(SpecError, match=r"space\.deduplicate_by: "):
        spec("both")


@pytest.mark.parametrize(("candidates", "count"), [("function", 1), ("genotype", 2)])
def test_initial_trials_hold_each_candidate_once(candidates, count):
    study_spec = spec(candidates, initial=[ALIVE, DEAD, ALIVE])
    assert len(resolve(study_spec, study_spec.build_space()).parameters) == count


def test_each_genotype_is_scored_by_itself(tmp_path):
    """Two genotypes of one function begin with other weights and have other scores."""
    first, second = run(tmp_path, spec("genotype", initial=[ALIVE, DEAD], trainings=2))
    assert [t.user_attrs["outcome"] for t in (first, second)] == ["scored", "scored"]
    assert first.values != second.values


@pytest.mark.parametrize("sampler", ["random", "greybox"])
@pytest.mark.parametrize("candidates", ["function", "genotype"])
def test_a_search_ends_when_each_candidate_is_known(tmp_path, candidates, sampler):
    study_spec = small(candidates, sampler)
    space = list(study_spec.build_space())
    assert len(space) == 64
    connected = [a for a in space if a.connected]
    functions = {a.cells[0].canonical() for a in connected}
    assert 1 < len(functions) < len(connected)
    trials = run(tmp_path, study_spec)
    outcomes = Counter(t.user_attrs["outcome"] for t in trials)
    expected = {"function": len(functions), "genotype": len(connected)}[candidates]
    assert outcomes["scored"] == expected
    scored = [t for t in trials if t.user_attrs["outcome"] == "scored"]
    drawn = [study_spec.build_space().draw(FixedTrial(t.params)).digest for t in scored]
    assert len(set(drawn)) == expected


def test_genotypes_with_other_dead_edges_differ():
    """For the sampler's model cells of one function differ in their details alone."""
    listed = [spec("genotype").build_space().parameters(of(text)) for text in (ALIVE, DEAD)]
    box = CellProblem(spec("genotype"))
    result = box.describe(box.columns(listed))
    assert result.details.shape == (2, 6)
    assert (result.details[0] != result.details[1]).sum() == 1
    assert (result.kinds[0] == result.kinds[1]).all()
    plain = CellProblem(spec("function"))
    assert plain.describe(plain.columns(listed)).details.shape == (2, 0)


@pytest.mark.parametrize("candidates", ["function", "genotype"])
def test_published_samplers_check_each_candidate(candidates):
    space = small(candidates).build_space()
    cells = [a.cells[0] for a in space if a.connected]
    texts = {cell.canonical() for cell in cells}
    result = CellByCell(small(candidates), ())._cells
    assert len(result) == {"function": len(texts), "genotype": len(cells)}[candidates]
    assert {cell.canonical() for cell in result} == texts


def test_a_single_genotype_keeps_its_digest():
    a = of(DEAD, literal=True)
    study_spec = single_candidate(spec("function"), a, "FILE")
    (only,) = {x.digest for x in study_spec.build_space() if x.cells == a.cells}
    assert only == a.digest
