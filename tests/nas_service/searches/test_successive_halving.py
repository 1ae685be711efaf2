"""Which candidates successive halving promotes, calculated by hand, and limits of its keys."""

import json

import pytest

from nas_service.errors import SpecError
from nas_service.searches.creation import check
from nas_service.searches.successive_halving import SuccessiveHalving, promote_by
from nas_service.store.records import RungResult
from nas_service.study.loading import parse_spec

TREE = {
    "name": "x",
    "space": {"channels": [4, 8], "head_pool": 4, "hidden": 16, "time_steps": 2},
    "data": {"name": "digits"},
    "training": {"epochs": 18, "rungs": [2, 6]},
    "search": {"reduction_factor": 3, "sampler": "random"},
    "objectives": [
        {"metric": "accuracy", "direction": "maximize"},
        {"metric": "energy_uJ", "direction": "minimize", "reference": 1.0},
    ],
    "constraints": [{"metric": "parameters", "at_most": 100}],
}


def spec(**tables):
    return parse_spec(json.dumps(TREE | {k: TREE[k] | v for k, v in tables.items()}), "x")


def rung_result(trial, epochs=2, accuracy=0.5, energy=0.5, parameters=50):
    metrics = {"accuracy": accuracy, "energy_uJ": energy, "parameters": parameters}
    return RungResult(f"d{trial}", trial, epochs, metrics)


LADDER = SuccessiveHalving(spec(), 3)
TABLE = [  # accuracy, energy, parameters
    (0.9, 0.8, 50),
    (0.5, 0.3, 50),
    (0.7, 0.4, 50),
    (0.6, 0.5, 50),  # dominated by trial 2
    (0.95, 0.1, 150),  # half over the budget
    (0.2, 0.9, 110),  # a tenth over the budget
    (0.4, 1.2, 50),  # dominated by all feasible ones
    (0.3, 0.2, 50),
]


def test_the_order_by_hand():
    """Front 0 1 2 7 with the boxes .18 .35 .42 .24: 2 is first. Then 0 adds .04, 1 adds .05 and 7
    adds .06; then 0 adds .04 and 1 adds .02. Then the fronts 3 and 6, then 5, then 4."""
    result = LADDER.ranked([rung_result(n, 2, *row) for n, row in enumerate(TABLE)], 2)
    assert [s.trial for s in result] == [2, 7, 0, 1, 3, 6, 5, 4]


def promoted(measured, held=(), over=False):
    result = LADDER.promotion(measured, set(held), over)
    return None if result is None else (result.result.trial, result.until)


def by_accuracy(*accuracies):
    return [rung_result(n, 2, a) for n, a in enumerate(accuracies)]


def test_one_in_three_is_promoted():
    assert promoted(by_accuracy(0.5, 0.6)) is None
    assert promoted(by_accuracy(0.5, 0.6, 0.4)) == (1, 6)
    assert promoted([*by_accuracy(0.5, 0.6, 0.4), rung_result(1, 6)]) is None
    six = by_accuracy(0.5, 0.6, 0.4, 0.7, 0.1, 0.2)
    assert promoted(six) == (3, 6)
    assert promoted([*six, rung_result(3, 6)]) == (1, 6)
    assert promoted([*six, rung_result(3, 6), rung_result(1, 6)]) is None


def test_the_highest_rung_comes_first():
    nine = by_accuracy(*(n / 10 for n in range(9)))
    there = [rung_result(n, 6, n / 10) for n in (0, 1, 2)]
    assert promoted([*nine, *there]) == (2, 18)
    assert promoted([*nine, *there, rung_result(2, 18)]) == (8, 6)


def test_promoted_candidates_keep_their_result_at_a_rung():
    """Trial 0 was the best at 2 and is worse now; it keeps its rank, and 1 is not promoted."""
    measured = [*by_accuracy(0.9, 0.8, 0.7), rung_result(0, 6, 0.1), rung_result(0, 18, 0.1)]
    assert promoted(measured) is None


def test_infeasible_candidates_rank_after_feasible_ones():
    over = [rung_result(n, 2, 0.9, 0.1, 100 + n) for n in (1, 2)]
    assert promoted([*over, rung_result(3, 2, 0.1)]) == (3, 6)
    assert promoted([*over, rung_result(4, 2, 0.99, 0.01, 150)]) == (1, 6)


def test_held_candidates_keep_their_ranks():
    """They are trained now, failed or diverged: no other candidate is promoted instead."""
    assert promoted(by_accuracy(0.5, 0.6, 0.4), held=["d1"]) is None
    assert promoted(by_accuracy(0.5, 0.6, 0.4, 0.7, 0.1, 0.2), held=["d3"]) == (1, 6)


def test_at_the_end_one_candidate_is_trained_in_full():
    two = by_accuracy(0.5, 0.6)
    assert promoted(two, over=True) == (1, 6)
    assert promoted([*two, rung_result(1, 6)], over=True) == (1, 18)
    assert promoted([*two, rung_result(1, 6), rung_result(1, 18)], over=True) is None
    assert promoted([*two, rung_result(1, 6)], ["d1"], over=True) == (0, 6), "1 diverged"
    assert promoted([*two, rung_result(1, 6)], ["d0", "d1"], over=True) is None
    assert promoted([], over=True) is None


def test_at_the_end_feasible_candidates_are_tried_until_one_stays_feasible():
    two = by_accuracy(0.5, 0.6)
    tried = [*two, rung_result(1, 6, parameters=120)]
    assert promoted(tried, over=True) == (0, 6)
    tried += [rung_result(0, 6, parameters=120)]
    assert promoted(tried, over=True) == (0, 18), "none is left: the least excess, the first of two"
    assert promoted([*tried, rung_result(0, 18, parameters=120)], over=True) is None


def test_epochs_of_other_rungs_do_not_count():
    """Extended from 12 epochs to 18: candidates at 12 count at 6, and are promoted."""
    measured = [rung_result(n, e, n / 10) for n in range(3) for e in (2, 6)]
    measured += [rung_result(2, 12, 0.2)]
    assert promoted(measured) == (2, 18)


# --- what a study may ask


@pytest.mark.parametrize(
    ("tables", "message"),
    [
        (
            {"training": {"rungs": []}},
            "reduction_factor = 3: training.rungs is empty",
        ),
        (
            {"search": {"reduction_factor": 1}},
            "search.reduction_factor: .* at least 2 is needed, not 1",
        ),
        (
            {"search": {"reduction_factor": 2.5}},
            "search.reduction_factor: a whole number is needed, not 2.5",
        ),
        ({"training": {"rungs": [6, 18]}}, "rungs ends with 18, the last epoch"),
        ({"training": {"until": 6}}, "rungs ends with 6, the last epoch"),
        ({"training": {"until": 4}}, "rungs: 6 is after the last epoch, 4"),
        ({"training": {"epochs": 0, "rungs": []}}, "epochs = 0"),
    ],
)
def test_impossible_settings_are_refused(tables, message):
    with pytest.raises(SpecError, match=message):
        spec(**tables)


def test_epochs_are_neither_bounded_nor_optimised():
    bound = [*TREE["constraints"], {"metric": "epochs", "at_least": 6}]
    with pytest.raises(SpecError, match="'epochs' is no objective and no constraint"):
        parse_spec(json.dumps(TREE | {"constraints": bound}), "x")


@pytest.mark.parametrize("name", ["snasnet", "spikenas", "neuronas"])
def test_samplers_with_one_score_are_refused(name):
    with pytest.raises(SpecError, match=f"search.reduction_factor: sampler '{name}'"):
        check(spec(search={"sampler": name}))


def test_steps_end_where_trainings_do():
    assert spec().steps == (2, 6, 18)
    assert spec(training={"until": 12}).steps == (2, 6, 12)
    assert spec(search={"reduction_factor": None}).steps == (18,)
    assert promote_by(spec(search={"reduction_factor": None})) is None
    assert not spec().same_search(spec(search={"reduction_factor": 2}))
    assert spec().same_search(spec(training={"until": 12}))
