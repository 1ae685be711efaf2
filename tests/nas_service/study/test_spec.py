"""Study files: valid ones survive a round trip, errors name their key."""

import json

import pytest
from study_trees import DIGITS, MINIMAL, STUDIES, minimal, parsed

from nas_service.errors import NasError, SpecError
from nas_service.searches.creation import check
from nas_service.study.fields import study_name
from nas_service.study.loading import RENAMED, load_spec, parse_spec
from nas_service.study.spec import StudySpec


def changed(path, value):
    tree = json.loads(json.dumps(DIGITS))
    *inner, last = path
    place = tree
    for key in inner:
        place = place[key]
    place[last] = value
    return tree


@pytest.mark.parametrize("path", STUDIES, ids=lambda p: p.stem)
def test_shipped_studies_are_valid_and_survive_a_round_trip(path):
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
    (("data", "name"), "svhn", "fashion_mnist"),
    (("data", "train_samples"), 0, "data.train_samples"),
    (("data",), {}, "data.name"),
    (("network",), {"dropout": 1.0}, "network.dropout"),
    (("training", "epochs"), 0, "training.epochs"),
    (("training", "epochs"), True, "training.epochs"),
    (("training", "learning_rate"), -0.1, "training.learning_rate"),
    (("training", "warm_up"), 1.0, "training.warm_up"),
    (("training", "batch"), 4, "batch_size"),
    (("hardware", "profile"), "spikesim", "did you mean 'spikesim_sram'"),
    (("hardware", "overrides"), {"crossbar": 64}, "crossbar_size"),
    (("hardware", "overrides"), {"crossbar_size": 0}, "crossbar_size"),
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


@pytest.mark.parametrize(("path", "value", "message"), WRONG)
def test_wrong_studies_name_the_key(path, value, message):
    with pytest.raises(NasError) as caught:
        check(parsed(changed(path, value)))
    assert message in str(caught.value)


def test_all_errors_are_reported_at_once(tmp_path):
    tree = changed(("seed",), -1)
    tree["training"]["epochs"] = -1
    with pytest.raises(SpecError) as caught:
        parsed(tree)
    assert len(str(caught.value).splitlines()) == 2


@pytest.mark.parametrize("text", ["name = ", "\x00", "a = 2000-01-01"])
def test_files_without_a_study_are_refused(tmp_path, text):
    path = tmp_path / "broken.toml"
    path.write_text(text)
    with pytest.raises(SpecError, match=r"broken\.toml"):
        load_spec(path)


def test_violations_are_relative():
    """100 of 40 000 parameters is 99.75 % below, 1.05 of 0.7 uJ is 50 % above."""
    limits = {"parameters": 40000, "area_mm2": 5.5, "latency_ms": 0.075, "energy_uJ": 0.7}
    constraints = [{"metric": name, "at_most": limit} for name, limit in limits.items()]
    metrics = {"parameters": 100, "area_mm2": 5.5, "latency_ms": 0.0375, "energy_uJ": 1.05}
    result = parsed(DIGITS | {"constraints": constraints}).violations(metrics)
    assert list(result) == list(limits)
    assert result == pytest.approx(
        {"parameters": -0.9975, "area_mm2": 0, "latency_ms": -0.5, "energy_uJ": 0.5}
    )


def test_differences_ignore_name_and_budget():
    spec = parsed(DIGITS)
    assert spec.differences(parsed(changed(("search", "trainings"), 7))) == {}
    assert spec.differences(parsed(changed(("name",), "other"))) == {}
    changes = spec.differences(parsed(changed(("training", "epochs"), 7)))
    assert changes == {"training.epochs": (spec.training.epochs, 7)}


@pytest.mark.parametrize("name", ["a", "A-1_b.c", "x" * 64])
def test_safe_names(name):
    assert study_name(name) == name


def test_a_minimal_study_and_its_defaults():
    """A single value is a list of one, missing keys have defaults, and all values are restored."""
    spec = minimal()
    sizes = spec.space.channels, spec.space.head_pool, spec.space.weight_bits
    assert sizes == ((4,), (1, 2), (8,))
    assert (spec.seed, spec.search.sampler, spec.hardware.profile) == (0, "tpe", "rram_28nm")
    assert spec.space.build().size == 5**12 * 2 * 2
    assert parsed(json.loads(spec.model_dump_json())) == spec


@pytest.mark.parametrize(
    "tables",
    [
        {"network": {"votes": 3, "dropout": 0.25}},
        {"hardware": {"overrides": {"clock": 100, "crossbar_size": 128}}},
        {"space": MINIMAL["space"] | {"operations": ["skip", "conv5x5"], "cells": 1}},
        {"constraints": [{"metric": "accuracy", "at_least": 0.5}]},
        {"data": {"name": "digits", "train_samples": 100, "split_seed": 3}},
    ],
)
def test_every_table_survives_a_round_trip(tables):
    spec = minimal(**tables)
    again = parse_spec(spec.model_dump_json(), "again")
    assert again == spec
    assert again.differences(spec) == {}
    assert spec != minimal()


MISSING = [("name",), ("space",), ("data",), ("training",), ("objectives",)]
MISSING += [("space", k) for k in MINIMAL["space"]] + [("training", "epochs")]


@pytest.mark.parametrize("path", MISSING, ids=".".join)
def test_missing_keys_are_named(path):
    tree = json.loads(json.dumps(MINIMAL))
    place = tree
    for key in path[:-1]:
        place = place[key]
    del place[path[-1]]
    with pytest.raises(SpecError) as caught:
        parsed(tree)
    assert f"x.toml: {'.'.join(path)}: missing, this key is needed" in str(caught.value)


MISSPELT = [
    ((), "sed", "seed"),
    ((), "objective", "objectives"),
    ((), "constraint", "constraints"),
    (("space",), "time_step", "time_steps"),
    (("space",), "weightbits", "weight_bits"),
    (("data",), "split_sed", "split_seed"),
    (("network",), "vote", "votes"),
    (("training",), "learningrate", "learning_rate"),
    (("training",), "memory_gib", "memory_GiB"),
    (("hardware",), "profil", "profile"),
    (("search",), "samplers", "sampler"),
    (("objectives", 0), "directon", "direction"),
]


@pytest.mark.parametrize(("table", "key", "meant"), MISSPELT)
def test_misspelt_keys_get_a_suggestion(table, key, meant):
    tree = json.loads(json.dumps(MINIMAL)) | {"network": {}, "hardware": {}, "search": {}}
    place = tree
    for step in table:
        place = place[step]
    place[key] = 1
    with pytest.raises(SpecError) as caught:
        parsed(tree)
    where = ".".join(map(str, (*table, key)))
    assert f"{where}: unknown key, did you mean {meant!r}?" in str(caught.value)


WRONG_VALUES = [
    ("space", {"channels": [4, 2.5]}, "space.channels"),
    ("space", {"channels": True}, "space.channels"),
    ("space", {"channels": 1025}, "space.channels"),
    ("space", {"channels": None}, "space.channels"),
    ("space", {"channels": list(range(1, 66))}, "space.channels"),
    ("space", {"head_pool": 65}, "space.head_pool"),
    ("space", {"hidden": [64, 32]}, "space.hidden"),
    ("space", {"time_steps": 65}, "space.time_steps"),
    ("space", {"cells": 5}, "space.cells"),
    ("space", {"cells": "2"}, "space.cells"),
    ("space", {"operations": []}, "at least two"),
    ("space", {"operations": ["skip", "skip"]}, "at least two"),
    ("space", {"operations": 3}, "space.operations"),
    ("data", {"name": 3}, "data.name"),
    ("data", {"split_seed": -1}, "data.split_seed"),
    ("data", {"validation_samples": 0}, "data.validation_samples"),
    ("network", {"votes": 0}, "network.votes"),
    ("network", {"votes": 1.5}, "network.votes"),
    ("network", {"dropout": -0.1}, "network.dropout"),
    ("training", {"epochs": "1"}, "training.epochs"),
    ("training", {"batch_size": 1}, "training.batch_size"),
    ("training", {"learning_rate": 0}, "training.learning_rate"),
    ("training", {"learning_rate": float("nan")}, "training.learning_rate"),
    ("training", {"learning_rate": float("inf")}, "training.learning_rate"),
    ("training", {"weight_decay": -1}, "training.weight_decay"),
    ("training", {"warm_up": 0}, "training.warm_up"),
    ("training", {"memory_GiB": 0}, "training.memory_GiB"),
    ("hardware", {"profile": 3}, "hardware.profile"),
    ("hardware", {"overrides": [1]}, "hardware.overrides"),
    ("hardware", {"overrides": {"clock": [1]}}, "hardware.overrides.clock"),
    ("search", {"max_attempts": 101}, "search.max_attempts"),
    ("search", {"max_failures": 0}, "search.max_failures"),
    ("search", {"proposals_per_training": 0}, "search.proposals_per_training"),
    ("search", {"trainings": 10**9 + 1}, "search.trainings"),
]


@pytest.mark.parametrize(("table", "values", "key"), WRONG_VALUES)
def test_wrong_values_name_the_key(table, values, key):
    with pytest.raises(SpecError) as caught:
        minimal(**{table: MINIMAL.get(table, {}) | values})
    assert key in str(caught.value)


def test_a_list_of_wrong_values_is_not_called_too_short():
    with pytest.raises(SpecError) as caught:
        minimal(space=MINIMAL["space"] | {"hidden": 65537})
    (line,) = str(caught.value).splitlines()
    assert "space.hidden.0: a number of at most 65536 is needed" in line
    with pytest.raises(SpecError, match="a list of 1 or more values is needed, not"):
        minimal(space=MINIMAL["space"] | {"hidden": []})


def test_seeds_and_lists_have_bounds():
    with pytest.raises(SpecError, match="seed"):
        minimal(seed=2**31)
    with pytest.raises(SpecError, match="constraints"):
        minimal(constraints=[{"metric": "parameters", "at_most": i} for i in range(1, 18)])
    with pytest.raises(SpecError, match="same bound is listed twice"):
        minimal(constraints=[{"metric": "parameters", "at_most": i} for i in (1, 2)])
    with pytest.raises(SpecError, match="exactly one of at_most and at_least"):
        minimal(constraints=[{"metric": "parameters"}])


@pytest.mark.parametrize("text", ["null", "[]", "3", '"x"', "{", ""])
def test_json_without_a_study_is_refused(text):
    with pytest.raises(SpecError, match=r"^here: "):
        parse_spec(text, "here")


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(SpecError, match=r"absent\.toml: cannot be read"):
        load_spec(tmp_path / "absent.toml")
    (tmp_path / "latin.toml").write_bytes(b'name = "\xff"')
    with pytest.raises(SpecError, match=r"latin\.toml: line 1, column 9: cannot be read: no UTF-8"):
        load_spec(tmp_path / "latin.toml")


def test_two_bounds_of_one_metric_have_two_names():
    """1000 and 200 parameters of 400 to 800: 25 % too many, half too few."""
    bounds = [{"metric": "parameters", "at_most": 800}, {"metric": "parameters", "at_least": 400}]
    spec = minimal(constraints=bounds)
    assert spec.violations({"parameters": 1000}) == {"parameters": 0.25, "parameters_min": -1.5}
    assert spec.violations({"parameters": 200}) == {"parameters": -0.75, "parameters_min": 0.5}


def test_a_single_lower_bound_keeps_the_metric_s_name():
    spec = minimal(constraints=[{"metric": "accuracy", "at_least": 0.8}])
    assert spec.violations({"accuracy": 0.6}) == pytest.approx({"accuracy": 0.25})


def test_reference_is_given_or_the_budget_or_zero():
    objectives = [
        {"metric": "accuracy", "direction": "maximize"},
        {"metric": "energy_uJ", "direction": "minimize"},
        {"metric": "area_mm2", "direction": "minimize", "reference": 9},
    ]
    budgets = [{"metric": "energy_uJ", "at_most": 0.5}, {"metric": "area_mm2", "at_most": 2}]
    spec = minimal(objectives=objectives, constraints=budgets)
    assert [spec.reference(o) for o in spec.objectives] == [0, 0.5, 9]
    with pytest.raises(SpecError, match="'energy_uJ' has no budget"):
        minimal(objectives=objectives, constraints=budgets[1:])
    floor = [{"metric": "energy_uJ", "at_least": 0.5}]
    with pytest.raises(SpecError, match="'energy_uJ' has no budget"):
        minimal(objectives=objectives, constraints=floor)


def test_differences_name_every_key():
    other = minimal(seed=3, network={"votes": 2}, hardware={"overrides": {"clock": 5}})
    keys = minimal().differences(other)
    assert {"seed", "network.votes", "hardware.overrides.clock"} <= set(keys)
    assert not minimal().same_search(other)
    freed = {"trainings": 9, "max_failures": 9, "max_attempts": 9, "proposals_per_training": 9}
    assert minimal().same_search(minimal(name="y", search=freed))
    changes = minimal().differences(minimal(search={"sampler": "random"}))
    assert changes == {"search.sampler": ("tpe", "random")}


UNSAFE = ["a b", "a/b", "a\\b", "-a", ".a", "..", "ü", "a\n", "a\x1b[0m", "x" * 65, "a:b", "a%20"]
UNSAFE += ["CON", "nul.txt", "Com1", "lpt9.x"]


@pytest.mark.parametrize("name", UNSAFE)
def test_unsafe_names(name):
    with pytest.raises(SpecError, match=r"^name "):
        study_name(name)
    with pytest.raises(SpecError, match="name "):
        minimal(name=name)


@pytest.mark.parametrize("name", ["console", "com10", "a..b", "9", "_x", "nulx"])
def test_names_that_only_look_unsafe(name):
    assert minimal(name=name).name == name


OLD_KEYS = {
    "space": {"candidates": "functions"},
    "quantization": {"per": "tensor", "scale": "mse", "when": "after"},
    "hardware": {"set": {}, "space": {}, "chips": 2},
    "search": {"warm": [], "start": [], "stall": {"trainings": 3}, "checks": [], "halving": 3},
}


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [(section, key, value) for section, keys in OLD_KEYS.items() for key, value in keys.items()],
)
def test_an_old_key_names_the_new_one(section, key, value):
    tree = MINIMAL | {section: MINIMAL.get(section, {}) | {key: value}}
    with pytest.raises(SpecError) as error:
        parse_spec(json.dumps(tree), "x.toml")
    assert f"x.toml: {section}.{key}: unknown key, it is now {RENAMED[f'{section}.{key}']}" in str(
        error.value
    )
    new = RENAMED[f"{section}.{key}"].split()[0]
    assert new in StudySpec.model_fields[section].annotation.model_fields


def test_every_old_key_is_tried():
    tried = {f"{section}.{key}" for section, keys in OLD_KEYS.items() for key in keys}
    assert tried == RENAMED.keys()
