"""Values that are given for a metric lie in its range; a message names its unit."""

import json
import math

import pytest
from click.testing import CliRunner
from study_trees import MINIMAL, minimal

from nas_service.cli.main import main
from nas_service.errors import SpecError
from nas_service.metrics import METRICS, check_range
from nas_service.study.loading import parse_spec, with_until

ACCURACY = {"metric": "accuracy", "direction": "maximize"}
ENERGY = {"metric": "energy_uJ", "direction": "minimize", "reference": 1.0}


def refused(**tables):
    with pytest.raises(SpecError) as caught:
        minimal(**tables)
    (line,) = str(caught.value).splitlines()
    return line.removeprefix("x.toml: ")


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (ACCURACY | {"reference": 80}, "reference = 80: accuracy is a share, 0..1: 0.8?"),
        (ACCURACY | {"ideal": 95.5}, "ideal = 95.5: accuracy is a share, 0..1: 0.955?"),
        (ACCURACY | {"reference": -0.5}, "reference = -0.5: accuracy is a share, 0..1"),
        (ACCURACY | {"ideal": 400}, "ideal = 400: accuracy is a share, 0..1"),
        (
            {"metric": "utilisation", "direction": "maximize", "reference": 50},
            "reference = 50: utilisation is a share, 0..1: 0.5?",
        ),
        (ENERGY | {"reference": -1}, "reference = -1: energy_uJ is in uJ, 0 or more"),
        (ENERGY | {"ideal": -0.1}, "ideal = -0.1: energy_uJ is in uJ, 0 or more"),
        (
            {"metric": "parameters", "direction": "minimize", "reference": -1},
            "reference = -1: parameters is a number, 0 or more",
        ),
    ],
)
def test_objectives_out_of_range(objective, message):
    assert refused(objectives=[objective]) == f"objectives.0: {message}"


@pytest.mark.parametrize(
    ("metric", "value", "message"),
    [
        ("accuracy", 80, "at_least = 80: accuracy is a share, 0..1: 0.8?"),
        ("spike_rate", 12.5, "at_least = 12.5: spike_rate is a share, 0..1: 0.125?"),
    ],
)
def test_budgets_out_of_range(metric, value, message):
    assert refused(constraints=[{"metric": metric, "at_least": value}]) == (
        f"constraints.0: {message}"
    )


@pytest.mark.parametrize(
    ("objective", "message"),
    [
        (
            ACCURACY | {"reference": 0.9, "ideal": 0.8},
            "objective 'accuracy', maximize: reference = 0.9 is the worst value that counts, and "
            "not worse than the best, ideal = 0.8",
        ),
        (
            ENERGY | {"ideal": 1.0},
            "objective 'energy_uJ', minimize: reference = 1 is the worst value that counts, and "
            "not worse than the best, ideal = 1",
        ),
    ],
)
def test_the_reference_is_worse_than_the_ideal(objective, message):
    assert refused(objectives=[objective]) == f"study: {message}"


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"constraints": [{"metric": "energy_uJ", "at_most": 1.0, "confidence": 95}]},
            "constraints.0.confidence: a number less than 1 is needed, not 95: 0.95?",
        ),
        (
            {"network": {"dropout": 20.0}},
            "network.dropout: a number less than 1 is needed, not 20.0: 0.2?",
        ),
        (
            {"network": {"norm_momentum": 30.0}},
            "network.norm_momentum: a number of at most 1 is needed, not 30.0: 0.3?",
        ),
    ],
)
def test_other_shares_that_are_given_as_per_cent(tables, message):
    assert refused(**tables) == message


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_has_a_range_that_holds_its_ideal(name):
    low, high = METRICS[name].range
    assert low < high
    check_range(name, {"ideal": METRICS[name].ideal, "reference": 0.0})
    for value in (low - 1, high + 1):
        if math.isfinite(value):
            with pytest.raises(ValueError, match=f"key = .*: {name} is "):
                check_range(name, {"key": value})


def test_studies_that_earlier_versions_stored_can_be_read():
    tree = MINIMAL | {
        "objectives": [ACCURACY | {"reference": 80}],
        "constraints": [{"metric": "accuracy", "at_least": 80}],
    }
    spec = parse_spec(json.dumps(tree), "study 'x'", stored=True)
    assert spec.reference(spec.objectives[0]) == 80
    assert with_until(spec, 1).constraints == spec.constraints


def test_budgets_of_the_cost_command(tmp_path):
    layer = {"name": "a", "kind": "conv", "in_channels": 2, "out_channels": 4, "kernel": 3,
             "stride": 1, "in_size": 8, "out_size": 8}  # fmt: skip
    file = tmp_path / "net.json"
    file.write_text(json.dumps({"time_steps": 2, "layers": [layer]}))
    for budget, message in (
        ("utilisation=80", "--budget = 80: utilisation is a share, 0..1: 0.8?"),
        ("energy_uJ=-1", "--budget = -1: energy_uJ is in uJ, 0 or more"),
    ):
        result = CliRunner().invoke(main, ["cost", str(file), "--budget", budget])
        assert (result.exit_code, result.output) == (2, f"nas: {message}\n")
