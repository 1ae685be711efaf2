"""docs/study-file.md has every key of a study file as the code has it, with examples that work."""

import json
import tomllib

import pytest
import study_file
from study_keys import KEYS

from nas_service.study.loading import parse_spec

PATHS = [key.path for key in study_file.all_keys()]
BASE = {
    "name": "x",
    "space": {"channels": 4, "head_pool": 1, "hidden": 8, "time_steps": 2},
    "data": {"name": "digits"},
    "training": {"epochs": 9},
    "objectives": [{"metric": "accuracy", "direction": "maximize"}],
    "constraints": [{"metric": "area_mm2", "at_most": 9.0}],
}
BESIDE = {  # what an example needs beside it
    "space.channels": {"space.cells": 2},
    "quantization.step_size": {"quantization.mode": "qat"},
    "search.reduction_factor": {"training.rungs": [2]},
    "search.early_stop.min_gain": {"search.early_stop.patience": 5},
    "constraints.at_least": {"constraints.metric": "accuracy", "constraints.at_most": None},
}


def put(tree, path, value):
    """Sets the value of a dotted key, in the first table of a list."""
    *sections, name = path.split(".")
    for section in sections:
        tree = tree.setdefault(section, {})
        tree = tree[0] if isinstance(tree, list) else tree
    if value is None:
        del tree[name]
    else:
        tree[name] = value


def test_the_page_is_as_the_code_is():
    """`python docs/study_file.py` writes it anew."""
    assert study_file.PAGE.read_text() == study_file.page()


def test_every_key_is_described_once():
    assert sorted(PATHS) == sorted(KEYS)
    assert len(set(PATHS)) == len(PATHS) > 60
    for path, about in KEYS.items():
        assert about.meaning, path
        assert about.meaning[0].islower(), path
        assert "|" not in f"{about.meaning}{about.example}", path


@pytest.mark.parametrize("path", PATHS)
def test_the_example_of_each_key_is_valid(path):
    tree = json.loads(json.dumps(BASE))
    for other, value in BESIDE.get(path, {}).items():
        put(tree, other, value)
    put(tree, path, tomllib.loads(f"x = {KEYS[path].example}")["x"])
    parse_spec(json.dumps(tree), "test")


def test_ranges_are_those_of_the_code():
    shown = {key.path: study_file.values(key) for key in study_file.all_keys()}
    assert shown["space.cells"] == "whole number 1 .. 4"
    assert shown["network.dropout"] == "number 0 .. below 1"
    assert shown["training.memory_GiB"] == "number above 0"
    assert shown["training.epochs"] == "whole number 0 .. 1,000,000"
    assert shown["space.time_steps"] == "whole number 1 .. 64, or a list of them to choose from"
    assert "`greybox`" in shown["search.sampler"]
    defaults = {key.path: study_file.default(key) for key in study_file.all_keys()}
    assert (defaults["name"], defaults["search.seconds"]) == ("needed", "none")
    assert defaults["search.trainings"] == "`40`"
