"""Fronts and rank correlations, calculated by hand."""

import json

import pytest
from click.testing import CliRunner

from hw_models import Layer, Workload, load_profile
from nas_service import report
from nas_service.cli.main import main
from nas_service.metrics import Evaluation
from nas_service.searches import results
from nas_service.searches.creation import check, create
from nas_service.searches.optuna_trial import report_by_number
from nas_service.searches.results import count
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.store import joining_storage
from nas_service.store.records import Limits
from nas_service.store.store import Store
from nas_service.store.tables import archive
from nas_service.store.trial_queue import TrialQueue
from nas_service.study.loading import parse_spec


def test_counts_add_up():
    words = ["trained", "trained", "diverged", "rejected", "cached", "failed", "training"]
    counts = count(dict(enumerate(words)))
    assert counts["trained"] == 3
    assert counts["complete"] == counts["trained"] + counts["rejected"] + counts["cached"] == 5
    assert (counts["failed"], counts["running"]) == (1, 1)


REPORT = load_profile("corrected").estimate(Workload((Layer("a", "linear", 4, 4),), 2))
CELL = Cell(("skip",) * 6)


@pytest.fixture
def study(sqlite_url):
    """Makes a study with two proxies and candidates of given accuracies and scores."""
    store = Store(sqlite_url, write=True)

    def made(rows, names=("hamming", "depth"), epochs=1):
        tree = {
            "name": "ranked",
            "space": {"channels": 4, "head_pool": 1, "hidden": 8, "time_steps": 2},
            "data": {"name": "digits"},
            "training": {"epochs": epochs},
            "proxies": {"names": names},
            "objectives": [{"metric": "accuracy", "direction": "maximize"}],
        }
        search = create(store, check(parse_spec(json.dumps(tree), "test")), "0")
        for number, (outcome, accuracy, scores, *fidelity) in enumerate(rows):
            a = Architecture((CELL, CELL), number + 1, 1, 8, 2, 8)
            e = Evaluation(
                a, outcome, REPORT, 0.1, 1, *fidelity, accuracy=accuracy, spike_rate=accuracy,
                proxies=scores,
            )  # fmt: skip
            queue = TrialQueue(store, search.id, "me/b/1/1")
            lease = queue.claim(Limits(100, 10, 3), lambda _: search.study.ask().number).lease
            assert queue.archive_result(lease, e)
            report_by_number(search.study, search.spec, lease.trial, e, e.outcome)
            queue.result_reported(lease.id, e.outcome)
        return sqlite_url, results.read(search)

    yield made
    store.close()


def scored(hamming, depth=1.0):
    return {"hamming": hamming, "depth": depth}


ROWS = [
    ("trained", 0.5, scored(1.0)),
    ("trained", 0.6, scored(3.0)),
    ("trained", 0.7, scored(2.0)),
    ("trained", 0.8, scored(4.0)),
    ("trained", 0.9, scored(5.0)),
]


def test_rank_correlation_of_a_proxy_by_hand(study):
    """One swap of neighbours among five: 1 - 6 * 2 / (5 * 24) = 0.9."""
    _, result = study(ROWS)
    actual = result.proxy_correlation["hamming"]
    assert (actual.candidates, actual.spearman.value) == (5, pytest.approx(0.9))
    assert actual.spearman.low < 0.5 < actual.spearman.high < 1
    alike = result.proxy_correlation["depth"]
    assert (alike.candidates, alike.spearman) == (5, None)


def test_only_trained_candidates_count(study):
    rows = [*ROWS, ("rejected", None, {}), ("diverged", None, scored(-9.0))]
    _, result = study(rows)
    assert len(result.candidates) == 7
    assert result.proxy_correlation["hamming"].candidates == 5


def test_accuracies_after_other_epochs_are_not_correlated(study):
    """Two were continued to a later epoch; among the other five the correlation is still 0.9."""
    rows = [*ROWS, ("trained", 0.99, scored(0.0), 3), ("trained", 0.98, scored(0.5), 3)]
    result = study(rows)[1].proxy_correlation["hamming"]
    assert (result.candidates, result.spearman.value) == (5, pytest.approx(0.9))


def test_the_best_are_ordered_front_by_front(study):
    """One objective: by accuracy, equal ones together; the unfinished ones can be continued.

    The front is of those that were trained the farthest, and says so.
    """
    rows = [("trained", a, scored(1.0), n) for a, n in ((0.5, 1), (0.9, 3), (0.7, 1), (0.9, 1))]
    _, result = study([*rows, ("rejected", None, {})], epochs=3)
    assert [c.trial for c in result.best(9)] == [1, 3, 2, 0]
    assert [c.trial for c in result.best(1)] == [1]
    assert [c.trial for c in result.front] == [1]
    assert (result.front_epochs, result.front_is_final) == (3, True)
    assert result.note == "of the 1 of 4 feasible candidates that are trained to epoch 3"
    assert result.hypervolume == pytest.approx(0.9)
    assert [trial for trial, _ in result.hypervolume_history()] == [1]
    assert [c.trial for c in result.unfinished()] == [3]
    assert [c.trial for c in result.unfinished(3)] == [3, 2]
    assert [c.trial for c in result.unfinished(9)] == [3, 2, 0]
    assert result.unfinished(1) == ()


def test_a_result_needs_no_parameters_and_no_values_of_trials(study, monkeypatch):
    _, result = study([*ROWS, ("rejected", None, {})])
    monkeypatch.setattr(joining_storage, "read_trials", pytest.fail)
    assert results.read(result.search).candidates == result.candidates


@pytest.mark.parametrize("verb", [["front"], ["status"], ["show", "0"]])
def test_a_metric_that_is_not_finite_is_one_line(study, verb):
    url, result = study(ROWS)
    with result.search.store.transactions.begin() as db:
        db.execute(archive.update().values(metrics='{"accuracy": NaN}'))
    verb.insert(1, "ranked")
    done = CliRunner().invoke(main, [*verb, "--storage", url])
    assert (done.exit_code, done.stdout) == (4, "")
    assert "its metrics in the store: NaN is not finite" in done.stderr
    assert done.stderr.count("\n") == 1


def test_status_and_report_show_the_correlation(study):
    url, result = study(ROWS)
    words = ["status", "ranked", "--storage", url]
    actual = json.loads(CliRunner().invoke(main, [*words, "--json"]).stdout)["proxy_correlation"]
    assert actual["hamming"]["spearman"] == pytest.approx(0.9)
    assert actual["hamming"].keys() == {"spearman", "low", "high", "candidates"}
    assert actual["depth"] == {"spearman": None, "low": None, "high": None, "candidates": 5}
    text = CliRunner().invoke(main, words).output
    assert "proxy hamming: rank correlation with accuracy +0.90 (" in text
    assert "proxy depth: rank correlation with accuracy none yet, 5 candidates" in text
    page = report.render(result)
    assert "<td>+0.90</td>" in page
    assert "<td>none yet</td>" in page


def test_without_proxies_no_correlation_is_shown(study):
    url, result = study([], names=())
    assert result.proxy_correlation == {}
    assert "<h2>Proxies</h2>" not in report.render(result)
    assert "proxy" not in CliRunner().invoke(main, ["status", "ranked", "--storage", url]).output
