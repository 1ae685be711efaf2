"""What a worker prints at the end of a study in which nothing is feasible."""

import json
from pathlib import Path
from unittest.mock import MagicMock

import pytest
from command_line import run

from nas_service import api
from nas_service.cli import worker as cli_worker
from nas_service.cli.worker import _print_end
from nas_service.study.loading import parse_spec
from nas_service.worker import end_signals, proof, training_process
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


def test_the_end_without_a_feasible_candidate_is_no_failure_of_its_worker(
    worker, store, tmp_path, monkeypatch
):
    """A launcher restarts what fails; `nas front` shows that nothing is feasible."""
    monkeypatch.setattr(cli_worker, "_open", lambda *_: (worker.search, worker.evaluator))
    monkeypatch.setattr(training_process, "TrainingClient", MagicMock())
    monkeypatch.setattr(proof, "check_training", lambda *_: None)
    for name in ("interrupt", "end_on_signals"):
        monkeypatch.setattr(end_signals, name, lambda *_: None)
    monkeypatch.setenv("NAS_SPOOL", str(tmp_path))
    options = ("--study", "x", "--storage", store.url)
    done = run("worker", *options)
    assert done.exit_code == 0, done.output
    assert "budgets that bind: parameters <= 100" in done.output
    assert run("front", "x", "--storage", store.url).exit_code == 3


@pytest.mark.parametrize("name", ["nonsense", "cuda:x", "cuda0", "cpu:", "cuda:0 "])
def test_a_wrong_device_is_refused_before_the_store_is_opened(name, monkeypatch):
    monkeypatch.setattr(end_signals, "interrupt", lambda: None)
    by_option = run("worker", "--study", "x", "--storage", "sqlite:///none.db", "--device", name)
    monkeypatch.setenv("NAS_DEVICE", name)
    by_variable = run("worker", "--study", "x", "--storage", "sqlite:///none.db")
    for done, key in ((by_option, "--device"), (by_variable, "NAS_DEVICE")):
        assert done.exit_code == 2
        assert f"{key} {name!r}: a device is needed" in done.output


def test_a_worker_that_leaves_earlier_names_its_end_alone(worker, capsys):
    _print_end(worker, worker.run(max_trials=1))
    assert capsys.readouterr().out == "end: 1 trials done\n"
