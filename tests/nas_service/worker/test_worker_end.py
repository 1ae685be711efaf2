"""What a worker prints at the end of a study in which nothing is feasible."""

import json
from pathlib import Path

import pytest
from command_line import run

from nas_service import api
from nas_service.cli.worker import _print_end
from nas_service.study.loading import parse_spec
from nas_service.worker.worker import Worker

TREE = {
    "name": "x",
    "space": {"operations": ["zeroize", "conv3x3"], "cells": 1, "channels": [4, 8],
              "head_pool": 4, "hidden": 16, "time_steps": 2},
    "data": {"name": "digits"},
    "training": {"epochs": 0},
    "proxies": {"names": ["convolutions"]},
    "search": {"sampler": "random", "trainings": 2, "proposals_per_training": 4},
    "objectives": [{"metric": "proxy_convolutions", "direction": "maximize", "ideal": 10}],
    "constraints": [{"metric": "parameters", "at_most": 100}],
}  # fmt: skip


@pytest.fixture
def worker(store):
    search, evaluator = api.prepare(parse_spec(json.dumps(TREE), "x"), lambda: store, Path())
    return Worker(search, evaluator, lambda text: None)


def test_the_budgets_that_bind_are_named_before_the_end(worker, store, capsys):
    why = worker.run()
    _print_end(worker, why)
    first, second, last = capsys.readouterr().out.splitlines()
    assert "budgets that bind: parameters <= 100 (none of " in first
    assert ", exact)" in first
    assert second.startswith("smallest loosening: parameters <= ")
    assert last == f"end: {why}" == "end: proposals at their limit: 8 proposed, 0 trained"
    shown = run("status", "x", "--storage", store.url)
    assert {first, second} <= set(shown.output.splitlines())
    document = json.loads(run("front", "x", "--storage", store.url, "--json").output)
    assert document["infeasible"]["binding"][0]["metric"] == "parameters"
    assert document["infeasible"]["loosening"].keys() == {"parameters"}


def test_a_worker_that_leaves_earlier_names_its_end_alone(worker, capsys):
    _print_end(worker, worker.run(max_trials=1))
    assert capsys.readouterr().out == "end: 1 trials done\n"
