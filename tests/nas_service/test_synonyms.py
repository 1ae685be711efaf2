"""Suggestions for unknown words, in study files and commands."""

import pytest
from click.testing import CliRunner
from study_trees import DIGITS, MINIMAL, STUDIES, minimal

from nas_service.cli.main import VERBS, main
from nas_service.data import DATASETS
from nas_service.errors import SpecError
from nas_service.metrics import METRICS
from nas_service.samplers import SAMPLERS
from nas_service.spaces.operations import OPERATIONS
from nas_service.study.sections import (
    Constraint,
    Data,
    Hardware,
    Objective,
    Search,
    Space,
    Training,
)
from nas_service.study.spec import StudySpec
from nas_service.synonyms import SYNONYMS, nearest

SECTIONS = (Constraint, Data, Hardware, Objective, Search, Space, Training)
KEYS = {key for section in (*SECTIONS, StudySpec) for key in section.model_fields}

MEANT = [
    ("nsga-ii", SAMPLERS, "nsga2"),
    ("NSGA-III", SAMPLERS, "nsga3"),
    ("NSGAIISampler", SAMPLERS, "nsga2"),
    ("TPESampler", SAMPLERS, "tpe"),
    ("bayesian", SAMPLERS, "gp"),
    ("nsga", SAMPLERS, "nsga2"),
    ("nor_conv_3x3", OPERATIONS, "conv3x3"),
    ("avg_pool_3x3", OPERATIONS, "avgpool3x3"),
    ("none", OPERATIONS, "zeroize"),
    ("skip_connect", OPERATIONS, "skip"),
    ("acc", METRICS, "accuracy"),
    ("energy", METRICS, "energy_uJ"),
    ("Latency", METRICS, "latency_ms"),
    ("EDP", METRICS, "energy_delay_nJs"),
    ("CIFAR-10", DATASETS, "cifar10"),
    ("N-MNIST", DATASETS, "n_mnist"),
    ("trials", Search.model_fields, "trainings"),
    ("n_trials", Search.model_fields, "trainings"),
    ("timeout", Search.model_fields, "seconds"),
    ("max", Constraint.model_fields, "at_most"),
    ("min", Constraint.model_fields, "at_least"),
    ("lr", Training.model_fields, "learning_rate"),
    ("layers", Space.model_fields, "cells"),
    ("dataset", Data.model_fields, "name"),
    ("dataset", StudySpec.model_fields, "data"),
    ("budgets", StudySpec.model_fields, "constraints"),
    ("metrics", StudySpec.model_fields, "objectives"),
    ("chip", StudySpec.model_fields, "hardware"),
    ("profile", StudySpec.model_fields, "hardware"),
    ("sampler", StudySpec.model_fields, "search"),
    ("arch", StudySpec.model_fields, "space"),
    ("budget", Search.model_fields, "trainings"),
    ("train", VERBS, "run"),
    ("list", VERBS, "studies"),
]


@pytest.mark.parametrize(("word", "known", "meant"), MEANT, ids=[f"{m[0]}-{m[2]}" for m in MEANT])
def test_words_that_people_use(word, known, meant):
    assert nearest(word, known) == meant


@pytest.mark.parametrize("word", ["", "?", "xyzzy", "x" * 10_000])
def test_words_that_mean_nothing(word):
    assert nearest(word, SAMPLERS) == ""


def test_every_name_is_its_own_suggestion():
    for known in (SAMPLERS, OPERATIONS, METRICS, DATASETS, VERBS, KEYS):
        assert all(nearest(name, known) == name for name in known)


def test_suggestions_are_names_that_exist():
    names = {*SAMPLERS, *OPERATIONS, *METRICS, *VERBS, *KEYS}
    for word, meant in SYNONYMS.items():
        assert set(meant) <= names, word


def message(**tables):
    with pytest.raises(SpecError) as caught:
        minimal(**tables)
    return str(caught.value)


def test_unknown_keys_name_the_one_that_is_meant():
    assert message(search={"trials": 3}).startswith(
        "x.toml: search.trials: unknown key, did you mean 'trainings'? (possible: "
    )
    assert message(constraints=[{"metric": "energy_uJ", "max": 1.0}]).startswith(
        "x.toml: constraints.0.max: unknown key, did you mean 'at_most'? (possible: "
    )


@pytest.mark.parametrize(
    ("tables", "key", "unknown"),
    [
        (
            {"objectives": [{"metric": "acc", "direction": "maximize"}]},
            "objectives.0.metric",
            "metric 'acc'",
        ),
        (
            {"constraints": [{"metric": "energy", "at_most": 1.0}]},
            "constraints.0.metric",
            "metric 'energy'",
        ),
        (
            {"space": MINIMAL["space"] | {"operations": ["skip", "conv"]}},
            "space.operations",
            "operation 'conv'",
        ),
        (
            {"space": MINIMAL["space"] | {"operations": "snasnet"}},
            "space.operations",
            "operation preset 'snasnet'",
        ),
        ({"proxies": {"names": ["sahd", "sadh"]}}, "proxies.names.1", "proxy 'sadh'"),
        (
            {"search": {"constraint_order": ["area"]}},
            "search.constraint_order.0",
            "metric 'area'",
        ),
        (
            {"hardware": {"search_space": {"xbar_size": [32]}}},
            "hardware.search_space.xbar_size",
            "searchable chip setting 'xbar_size'",
        ),
    ],
)
def test_unknown_names_come_with_file_and_key_beside_other_faults(tables, key, unknown):
    lines = message(seed=-1, **tables).splitlines()
    assert lines[0].startswith("x.toml: seed: ")
    (line,) = lines[1:]
    assert line.startswith(f"x.toml: {key}: unknown {unknown} (known: ")
    assert "did you mean" in line


@pytest.mark.parametrize(
    ("section", "key", "name", "unknown"),
    [
        ("search", "sampler", "nsga-ii", "search.sampler: unknown sampler 'nsga-ii' (known: "),
        ("data", "name", "CIFAR-10", "data.name: unknown data set 'CIFAR-10' (known: "),
        ("hardware", "profile", "correct", "hardware: profile: unknown 'correct'"),
    ],
)
@pytest.mark.parametrize("command", ["check", "run", "ablate", "evaluate --no-train a.json"])
def test_commands_name_file_and_key(tmp_path, monkeypatch, command, section, key, name, unknown):
    monkeypatch.chdir(tmp_path)
    old = DIGITS[section][key]
    study = tmp_path / "s.toml"
    text = next(p for p in STUDIES if p.stem == "digits").read_text()
    study.write_text(text.replace(f'{key} = "{old}"', f'{key} = "{name}"'))
    (tmp_path / "a.json").write_text("{}")
    result = CliRunner().invoke(main, [*command.split(), "s.toml"])
    assert result.exit_code == 2
    (line,) = result.output.splitlines()
    assert line.startswith(f"nas: s.toml: {unknown}")
    assert set(tmp_path.iterdir()) == {study, tmp_path / "a.json"}


def test_unknown_commands_name_the_one_that_is_meant():
    assert "did you mean 'studies'?" in CliRunner().invoke(main, ["list"]).output


FORMS = [
    (
        {"space": MINIMAL["space"] | {"channels": [4, 10**9]}},
        ["space.channels.1: a number of at most 1024 is needed, not 1000000000"],
    ),
    (
        {"space": MINIMAL["space"] | {"channels": [[4, 8], [8, 10**9]], "cells": 2}},
        ["space.channels.1.1: a number of at most 1024 is needed, not 1000000000"],
    ),
    (
        {"space": MINIMAL["space"] | {"channels": [0, 10**9]}},
        [
            "space.channels.0: a number of at least 1 is needed, not 0",
            "space.channels.1: a number of at most 1024 is needed, not 1000000000",
        ],
    ),
    (
        {"space": MINIMAL["space"] | {"operations": ["skip", 3]}},
        ["space.operations.1: text is needed, not 3"],
    ),
    ({"search": {"initial": [3]}}, ["search.initial.0: text or a table is needed, not 3"]),
    (
        {"hardware": {"search_space": {"crossbar_size": [32, 1.5]}}},
        ["hardware.search_space.crossbar_size.1: a whole number or text is needed, not 1.5"],
    ),
]


@pytest.mark.parametrize(("tables", "expected"), FORMS)
def test_a_value_of_several_forms_has_one_message_for_each_fault(tables, expected):
    lines = message(**tables).splitlines()
    assert lines == [f"x.toml: {line}" for line in expected]
