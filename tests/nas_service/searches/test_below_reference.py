"""Feasible candidates that are worse than the reference of an objective, in every view."""

import json
import re

import pytest
from click.testing import CliRunner
from stored_studies import evaluation, finish, stored_study

from nas_service import report
from nas_service.cli.main import main
from nas_service.errors import StudyError
from nas_service.samplers.greybox.pareto import dominated_share
from nas_service.searches import results
from nas_service.searches.initial_trials import resolve
from nas_service.searches.recosting import recost
from nas_service.searches.retraining import choose_finalists
from nas_service.searches.upkeep import plan_pruning

OBJECTIVES = [
    {"metric": "accuracy", "direction": "maximize", "reference": 0.5},
    {"metric": "spike_rate", "direction": "minimize", "reference": 0.6},
]
# Accuracy and spike rate. On the front: 0 to 2, the last exactly at the reference of accuracy.
ROWS = [(0.9, 0.5), (0.8, 0.3), (0.5, 0.2), (0.39, 0.1), (0.95, 0.7), (0.3, 0.9)]


def study_of(store, rows, name="small", **sections):
    search = stored_study(store, name, [], objectives=OBJECTIVES, **sections)
    for n, (accuracy, rate, *epochs) in enumerate(rows):
        finish(search, evaluation(n + 1, accuracy, *epochs, rate=rate))
    finish(search, evaluation(len(rows) + 1, None))
    return search


def nas(store, *words):
    return CliRunner().invoke(main, [*words, "--storage", str(store.url)])


def document(store, *words):
    return json.loads(nas(store, *words, "--json").stdout)


def test_below_the_reference_is_not_on_the_front_and_in_no_hypervolume(store):
    result = results.read(study_of(store, ROWS))
    assert [c.trial for c in result.front] == [0, 1, 2]
    assert [c.trial for c in result.below_reference] == [4, 3, 5]
    missed = {c.trial: c.missed_references for c in result.below_reference}
    assert missed == {4: ("spike_rate",), 3: ("accuracy",), 5: ("accuracy", "spike_rate")}
    corner = [((1 - a) / 0.5, r / 0.6) for a, r in ROWS[:3]]
    assert result.hypervolume == pytest.approx(dominated_share(corner))
    assert result.hypervolume_history()[-1][1] == pytest.approx(result.hypervolume)
    rows = {row["trial"]: row["below_reference"] for row in result.rows()}
    assert rows == {n: n in (3, 4, 5) for n in range(7)}
    assert (result.nearest_misses, result.infeasible) == ((), None)


def test_the_best_below_the_reference_come_after_all_others(store):
    rows = [(0.9, 0.5, 1), (0.4, 0.1, 3), (0.7, 0.3, 3)]
    result = results.read(study_of(store, rows, training={"epochs": 3}))
    assert [c.trial for c in result.best(9)] == [2, 0, 1]
    assert [c.trial for c in result.unfinished()] == [0]
    assert [c.trial for c in result.unfinished(1)] == [0]


def test_below_the_reference_is_trained_further_where_nothing_else_is_there(store):
    result = results.read(study_of(store, [(0.4, 0.3), (0.3, 0.4)], training={"epochs": 3}))
    assert (result.front, result.hypervolume) == ((), 0.0)
    assert [c.trial for c in result.unfinished()] == [0]
    assert [c.trial for c in choose_finalists(result, top=9)] == [0, 1]
    with pytest.raises(StudyError, match=r"empty front, 2 feasible, below reference.*--top"):
        choose_finalists(result)


def test_every_json_lists_them_apart_with_references_and_ideals(store):
    study_of(store, ROWS)
    objectives = [
        {"metric": "accuracy", "direction": "maximize", "reference": 0.5, "ideal": 1.0},
        {"metric": "spike_rate", "direction": "minimize", "reference": 0.6, "ideal": 0.0},
    ]
    front = document(store, "front", "small")
    assert [c["trial"] for c in front["front"]] == [0, 1, 2]
    assert [c["below_reference"] for c in front["front"]] == [[], [], []]
    assert [c["trial"] for c in front["below_reference"]] == [4, 3, 5]
    assert front["below_reference"][0]["below_reference"] == ["spike_rate"]
    status = document(store, "status", "small")
    assert (status["below_reference"], status["feasible"]) == ([4, 3, 5], 6)
    shown = document(store, "show", "small", "3")
    assert (shown["feasible"], shown["below_reference"]) == (True, ["accuracy"])
    assert document(store, "show", "small", "6")["below_reference"] == []
    budget = ("--budget", "spike_rate=0.8")
    costed = document(store, "recost", "small", *budget)
    assert costed["below_reference"] == [4, 3]  # trial 5 breaks the new budget
    for each in (front, status, shown, costed):
        assert each["objectives"] == objectives


def test_defaults_of_references_count_as_given_ones_do(store):
    search = stored_study(store, "small", [0.5], objectives=OBJECTIVES[:1])
    assert search.spec.objectives_json()[0]["ideal"] == 1.0
    open_end = stored_study(
        store, "other", [0.5], objectives=[{"metric": "accuracy", "direction": "maximize"}]
    )
    assert open_end.spec.objectives_json()[0]["reference"] == 0.0


@pytest.mark.parametrize("rows", [ROWS, ROWS[3:]], ids=["some", "all"])
def test_text_and_report_list_them_apart(store, rows):
    result = results.read(study_of(store, rows))
    text = nas(store, "front", "small")
    assert text.exit_code == (0 if result.front else 3)
    assert "3 feasible, below reference (" in re.sub(r"\s+", " ", text.stdout)
    assert "nearest misses" not in text.stdout
    assert "below reference" in nas(store, "status", "small").stdout
    trial = str(result.below_reference[0].trial)
    assert "feasible, below reference: spike_rate" in nas(store, "show", "small", trial).stdout
    page = report.render(result)
    assert "No candidate is feasible" not in page
    assert "Feasible, below a reference" in page
    assert ("The front is empty:" in page) == (not result.front)
    assert 'class="below"' in page


def test_recosting_names_the_reference_as_the_reason(store):
    """0.0421 uJ on arrays of 64x64, 0.0450 uJ on 256x256."""
    energy = {"metric": "energy_uJ", "direction": "minimize", "reference": 0.044}
    chip = {"hardware": {"profile": "corrected"}, "objectives": [OBJECTIVES[0], energy]}
    result = results.read(stored_study(store, "s", [0.9], **chip))
    larger = recost(result, settings={"crossbar_size": "256"})
    assert [(c.kind, c.reason) for c in larger.changes] == [
        ("leaves", "feasible, below reference: energy_uJ")
    ]
    back = recost(larger.after, settings={"crossbar_size": "64"})
    assert [(c.kind, c.reason) for c in back.changes] == [
        ("enters", "reaches the reference of energy_uJ now")
    ]


def test_a_front_as_initial_trials_has_none_below_the_reference(store):
    search = study_of(store, ROWS[3:])
    spec = search.spec.model_copy(
        update={"search": search.spec.search.model_copy(update={"initial": ("front:small",)})}
    )
    initial = resolve(spec, spec.build_space(), store)
    assert initial.parameters == ()
    assert initial.notes == ("search.initial: front:small is empty",)


def test_pruning_keeps_what_may_still_reach_the_references(store):
    search = study_of(store, ROWS[3:])
    digests = [c.digest for c in results.read(search).candidates if c.feasible]
    for digest in digests:
        path = search.weights(digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
    assert plan_pruning(search).files == ()
    finish(search, evaluation(9, 0.9, rate=0.5))
    assert {a.digest for a in plan_pruning(search).files} == set(digests)
