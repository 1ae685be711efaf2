"""Every message about a value of a study file is in the words of this project."""

import copy
import json
from typing import Any, get_args

import pytest
from click.testing import CliRunner
from pydantic import BaseModel, ValidationError

from nas_service.cli.main import main
from nas_service.errors import SpecError
from nas_service.study.faults import NEEDED
from nas_service.study.loading import parse_spec, spec_from_tables
from nas_service.study.spec import StudySpec

LIBRARY = ("Input should", "input should", "valid ", "after validation", "equired", "Extra inputs",
           "Value error", "Tuple", "dictionary", "pydantic", "another value")  # fmt: skip
OWN = {"missing", "extra_forbidden", "value_error"}
MISSING: Any = object()
BAD = [
    MISSING, None, 0, 3, -1, 2**31, 10**30, 1.5, -0.5, float("nan"), float("inf"), True, "", "x",
    "4", [], [[]], [[1.5], 2], [3], ["x"], [{}], {}, {"x": [1]}, {"x": 1}, [1] * 100, ["x"] * 100,
    [{}] * 100,
]  # fmt: skip
STUDY = {
    "name": "a",
    "space": {"channels": [4], "head_pool": 2, "hidden": 8, "time_steps": 4},
    "data": {"name": "mnist"},
    "training": {"epochs": 1},
    "search": {"early_stop": {"patience": 2}},
    "objectives": [{"metric": "accuracy", "direction": "maximize"}],
    "constraints": [{"metric": "energy_uJ", "at_most": 9.0}],
}


def models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in models(part)]


def keys(model: type[BaseModel], prefix: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The path of every key of the model and of the tables in it."""
    paths = [(*prefix, "unknown")]
    for name, field in model.model_fields.items():
        paths.append(path := (*prefix, name))
        first = (*path, 0) if name in ("objectives", "constraints") else path
        paths += [key for part in models(field.annotation) for key in keys(part, first)]
    return paths


KEYS = keys(StudySpec)


def changed(path: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    study: dict[str, Any] = copy.deepcopy(STUDY)
    place: Any = study
    for part in path[:-1]:
        place = place[part] if isinstance(part, int) else place.setdefault(part, {})
    place[path[-1]] = value
    if value is MISSING:
        del place[path[-1]]
    return study


def types_of(study: dict[str, Any]) -> set[str]:
    try:
        StudySpec.model_validate_json(json.dumps(study))
    except ValidationError as error:
        return {fault["type"] for fault in error.errors()}
    except SpecError:
        pass
    return set()


def test_no_message_is_a_sentence_of_the_library():
    assert ("search", "early_stop", "patience") in KEYS
    raised = set()
    for path in KEYS:
        for value in BAD:
            study = changed(path, value)
            if types := types_of(study):
                raised |= types
                with pytest.raises(SpecError) as caught:
                    spec_from_tables(study)
                for line in str(caught.value).splitlines():
                    assert line.startswith("study: "), line
                    assert not [words for words in LIBRARY if words in line], line
    assert {"too_long", "literal_error", "finite_number", "bool_type", "dict_type"} < raised
    assert raised <= NEEDED.keys() | OWN


CASES = [
    (("objectives",), 3, "objectives: a list is needed, not 3"),
    (("objectives", 0), 3, "objectives.0: a table is needed, not 3"),
    (("space", "channels"), [], "space.channels: a list of 1 or more values is needed, not []"),
    (("space", "operations"), 3, "space.operations: text or a list is needed, not 3"),
    (("space", "shared"), 1, "space.shared: true or false is needed, not 1"),
    (("network", "tau"), "x", "network.tau: a number is needed, not 'x'"),
    (("network", "reset"), "x", "network.reset: 'zero' or 'subtract' is needed, not 'x'"),
    (("network", "warm_up"), 0, "network.warm_up: unknown key"),
    (("space", "int"), 1, "space.int: unknown key"),
    (("seed",), -1, "seed: a number of at least 0 is needed, not -1"),
    (("training", "clip"), 0, "training.clip: a number greater than 0 is needed, not 0"),
    (
        ("hardware", "overrides", "adc_bits"),
        [1],
        "hardware.overrides.adc_bits: true or false, a whole number, a number or text is needed, "
        "not [1]",
    ),
]


@pytest.mark.parametrize(("path", "value", "expected"), CASES)
def test_a_message_names_key_value_and_what_would_be_right(path, value, expected):
    with pytest.raises(SpecError) as caught:
        spec_from_tables(changed(path, value))
    (line,) = str(caught.value).splitlines()
    assert line.startswith(f"study: {expected}")


def test_a_stored_study_that_is_no_json_is_refused_in_own_words():
    with pytest.raises(SpecError) as caught:
        parse_spec("{", "store", stored=True)
    assert str(caught.value) == "store: study: a JSON document is needed, not '{'"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--size", "5000"], "--size: a number of at most 1024 is needed, not 5000"),
        (["--size", "8", "--classes", "1"], "--classes: a number of at least 2 is needed, not 1"),
        (["--archive", "../x"], "--archive: '../x': a path below the data folder is needed"),
    ],
)
def test_options_of_a_data_set_have_the_same_words(tmp_path, options, expected):
    result = CliRunner().invoke(main, ["data", "image_folder", "--data", str(tmp_path), *options])
    assert (result.exit_code, result.stderr) == (2, f"nas: {expected}\n")
