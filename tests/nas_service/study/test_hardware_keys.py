"""Keys of chips in a study file, and bounds at a confidence."""

import copy

import pytest
from study_trees import DIGITS, parsed

from nas_service.errors import SpecError
from nas_service.searches.creation import check


def hardware(**changes):
    tree = copy.deepcopy(DIGITS)
    tree["hardware"] = {**tree["hardware"], **changes}
    return tree


def test_chip_settings_are_searched_beside_the_cells():
    spec = parsed(hardware(search_space={"crossbar_size": [32, 64, 128], "mapping": ["im2col"]}))
    space = spec.build_space()
    assert space.size == 3 * spec.space.build().size
    chips = list(space.chips())
    assert chips[1] == (("crossbar_size", 64), ("mapping", "im2col"))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"search_space": {"crossbar_sise": [32, 64]}}, "did you mean 'crossbar_size'"),
        ({"search_space": {"adc_energy": [1, 2]}}, "searchable chip setting"),
        ({"search_space": {"crossbar_size": [64, 32]}}, "must ascend"),
        ({"search_space": {"crossbar_size": [64, "a"]}}, "different numbers, or different words"),
        (
            {"search_space": {"mapping": ["im2col", "im2col"]}},
            "different numbers, or different words",
        ),
        (
            {"search_space": {"adc_bits": [4]}, "overrides": {"adc_bits": 4}},
            "adc_bits: either overridden or searched",
        ),
        ({"assumed_rate": 1.5}, "hardware.assumed_rate"),
        ({"monte_carlo_chips": -1}, "hardware.monte_carlo_chips"),
        ({"record": "trace"}, "hardware.record: 'rates' or 'traces' is needed, not 'trace'"),
    ],
)
def test_wrong_hardware(changes, message):
    with pytest.raises(SpecError) as caught:
        parsed(hardware(**changes))
    assert message in str(caught.value)


def constrained(**constraint):
    tree = copy.deepcopy(DIGITS)
    tree["constraints"] = [constraint]
    tree["objectives"] = tree["objectives"][:1]
    return tree


def test_confidence_names_the_measure_that_is_compared():
    spec = parsed(constrained(metric="energy_uJ", at_most=0.5, confidence=0.9))
    assert spec.violations({"energy_uJ": 0.1, "energy_uJ@0.9": 1.0}) == {"energy_uJ": 1.0}


@pytest.mark.parametrize(
    ("constraint", "message"),
    [
        ({"metric": "accuracy", "at_least": 0.9, "confidence": 0.9}, "accuracy has no interval"),
        ({"metric": "energy_uJ", "at_most": 1, "confidence": 1}, "confidence"),
        (
            {"metric": "accuracy_on_chip", "at_least": 0.9},
            "hardware.monte_carlo_chips says how many",
        ),
    ],
)
def test_wrong_confidence(constraint, message):
    with pytest.raises(SpecError) as caught:
        parsed(constrained(**constraint))
    assert message in str(caught.value)


def test_an_objective_without_a_best_value_needs_one():
    tree = copy.deepcopy(DIGITS)
    tree["objectives"][0] = {"metric": "throughput_per_s", "direction": "maximize"}
    with pytest.raises(SpecError, match="give it `ideal`"):
        parsed(tree)
    tree["objectives"][0]["ideal"] = 1e5
    assert parsed(tree).ideal(parsed(tree).objectives[0]) == 1e5


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"adc_bits": [4, 13]}, "adc_bits = 13"),
        ({"crossbar_size": [8, 64]}, "crossbar_size = 8: a whole number in 16..1024"),
        ({"adc": ["sar", "flash"], "adc_bits": [4, 9]}, "the flash converter covers 1..8"),
    ],
)
def test_impossible_chips_are_reported_before_the_search(space, message):
    with pytest.raises(SpecError) as caught:
        check(parsed(hardware(search_space=space)))
    assert message in str(caught.value)


def test_many_chips_are_checked_quickly():
    """Eight settings of eight values: 1.7e7 chips, of which a thousand are tried."""
    values = list(range(1, 9))
    keys = ("crossbars_per_pe", "pes_per_tile", "columns_per_adc", "clocks_per_read", "adc_bits")
    space = dict.fromkeys(keys, values) | {"crossbar_size": [16 * v for v in values]}
    study = parsed(
        hardware(
            profile="corrected",
            search_space=space | {"bits_per_cell": values, "bits_per_value": values},
        )
    )
    check(study)
    built = study.build_space()
    assert built.chip_count == 8**8
    assert built.chip_at(0) == next(iter(built.chips()))
    assert dict(built.chip_at(8**8 - 1))["crossbar_size"] == 128
