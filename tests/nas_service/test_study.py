"""Study files: what is right stays as it was, what is wrong is named."""

import json
import tomllib
from pathlib import Path

import pytest

from nas_service.errors import NasError, SpecError
from nas_service.study import load_spec, parse_spec, study_name
from nas_service.worker import check

STUDIES = sorted((Path(__file__).parents[2] / "studies").glob("*.toml"))
DIGITS = tomllib.loads(next(p for p in STUDIES if p.stem == "digits").read_text())


def parsed(tree):
    return parse_spec(json.dumps(tree), "x.toml")


def changed(path, value):
    tree = json.loads(json.dumps(DIGITS))
    *inner, last = path
    place = tree
    for key in inner:
        place = place[key]
    place[last] = value
    return tree


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_shipped_studies_are_sound_and_come_back(path):
    spec = load_spec(path)
    check(spec)
    assert spec.name == path.stem
    assert parse_spec(spec.model_dump_json(), "again") == spec


WRONG = [
    (("nmae",), "x", "did you mean 'name'"),
    (("name",), "../x", "name '../x'"),
    (("name",), ".hidden", "name '.hidden'"),
    (("name",), "con", "name 'con'"),
    (("name",), "", "name ''"),
    (("name",), 7, "name"),
    (("seed",), -1, "seed"),
    (("seed",), 1.5, "seed"),
    (("space", "kind"), "cell", "space.kind"),
    (("space", "operations"), "snasnet", "did you mean 'snasnet5'"),
    (("space", "operations"), ["skip"], "at least two"),
    (("space", "operations"), ["skip", "conv7x7"], "conv7x7"),
    (("space", "channels"), [], "space.channels"),
    (("space", "channels"), [8, 4], "ascend"),
    (("space", "channels"), [4, 4], "ascend"),
    (("space", "channels"), "8", "space.channels"),
    (("space", "channels"), [0], "space.channels"),
    (("space", "chanels"), [8], "did you mean 'channels'"),
    (("space", "cells"), 0, "space.cells"),
    (("space", "weight_bits"), [9], "space.weight_bits"),
    (("space", "weight_bits"), [1], "space.weight_bits"),
    (("space", "time_steps"), 0, "space.time_steps"),
    (("space", "head_pool"), [3], "head_pool = 3"),
    (("data", "name"), "mnist", "fashion_mnist"),
    (("data", "train_samples"), 0, "data.train_samples"),
    (("data",), {}, "data.name"),
    (("network",), {"dropout": 1.0}, "network.dropout"),
    (("training", "epochs"), 0, "training.epochs"),
    (("training", "epochs"), True, "training.epochs"),
    (("training", "learning_rate"), -0.1, "training.learning_rate"),
    (("training", "warm_up"), 1.0, "training.warm_up"),
    (("training", "batch"), 4, "batch_size"),
    (("hardware", "profile"), "spikesim", "did you mean 'spikesim_rram'"),
    (("hardware", "set"), {"crossbar": 64}, "crossbar_size"),
    (("hardware", "set"), {"crossbar_size": 0}, "crossbar_size"),
    (("search", "sampler"), "tpee", "did you mean 'tpe'"),
    (("search", "trainings"), 0, "search.trainings"),
    (("search", "trials"), 4, "trainings"),
    (("objectives",), [], "objectives"),
    (("objectives", 0, "metric"), "acuracy", "did you mean 'accuracy'"),
    (("objectives", 0, "direction"), "up", "objectives.0.direction"),
    (("objectives", 1, "metric"), "accuracy", "twice"),
    (("objectives", 1, "metric"), "memory_KiB", "reference"),
    (("constraints", 0, "at_most"), 0, "constraints.0.at_most"),
    (("constraints", 0, "at_least"), 1, "exactly one"),
    (("constraints", 0, "at_mots"), 1, "did you mean 'at_most'"),
    (("constraints", 0, "metric"), "area", "did you mean"),
]


@pytest.mark.parametrize(("path", "value", "said"), WRONG)
def test_wrong_studies_name_the_key(path, value, said):
    with pytest.raises(NasError) as caught:
        check(parsed(changed(path, value)))
    assert said in str(caught.value)


def test_all_faults_are_told_at_once(tmp_path):
    tree = changed(("seed",), -1)
    tree["training"]["epochs"] = 0
    with pytest.raises(SpecError) as caught:
        parsed(tree)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["name = ", "\x00", "a = 2000-01-01"])
def test_files_that_are_no_study(tmp_path, text):
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"broken\.toml"):
        load_spec(path)


def test_violations_are_relative():
    """100 of 40 000 parameters is 99.75 % below, 0.75 of 0.5 uJ is 50 % above."""
    metrics = {"parameters": 100, "area_mm2": 1.5, "latency_ms": 0.5, "energy_uJ": 0.75}
    found = parsed(DIGITS).violations(metrics)
    assert list(found) == [c["metric"] for c in DIGITS["constraints"]]
    assert found == pytest.approx(
        {"parameters": -0.9975, "area_mm2": 0, "latency_ms": -0.5, "energy_uJ": 0.5}
    )


def test_differences_ignore_name_and_budget():
    spec = parsed(DIGITS)
    assert spec.differences(parsed(changed(("search", "trainings"), 7))) == []
    assert spec.differences(parsed(changed(("name",), "other"))) == []
    assert spec.differences(parsed(changed(("training", "epochs"), 7))) == ["training.epochs"]


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "x" * 64])
def test_safe_names(name):
    assert study_name(name) == name
