"""Benchmarks of the store, whose workers are processes, against what must hold at any size."""

import pytest
import store_verbs

from nas_service.searches import results

pytestmark = pytest.mark.process
SMALL = ("--storage", "sqlite://", "--trials", "8")


def test_our_store_needs_fewer_statements_than_optuna_s(forked_document):
    result = forked_document("store", *SMALL, "--workers", "2", "--rounds", "1")
    assert (result["workers"], result["trials"], result["plain_optuna_trials"]) == (2, 8, 8)
    assert result["statements_per_trial"] < result["plain_optuna_statements_per_trial"]
    ratio = result["trials_per_s"] / result["plain_optuna_trials_per_s"]
    assert result["times_plain"] == pytest.approx(ratio)


def test_more_workers_and_more_trials_are_counted(forked_document):
    result = forked_document("store", "--scale", "1,2", *SMALL, "--grown", "4,30")
    assert [row["workers"] for row in result["shared"]] == [1, 2]
    for row in result["shared"]:
        assert row["trials"] == 8
        assert row["commits_per_trial"] >= 2
        assert min(row["trials_per_s"], row["cpu_ms_per_trial"], row["held_ms_per_trial"]) > 0
        limits = (row["lock_limit_per_s"], row["cpu_limit_per_s"])
        assert all(limit >= row["trials_per_s"] / row["workers"] for limit in limits)
        parts = (row["own_statements_per_trial"], row["waits_statements_per_trial"])
        of_worker = row["statements_per_worker"] * row["workers"] / row["trials"]
        assert sum(parts) + of_worker == pytest.approx(row["statements_per_trial"])
        assert row["opening_statements_per_worker"] > 0
    most = 3 + 5 / 8  # five at the start of the worker, which is alone and so never waits
    assert result["shared"][0]["commits_per_trial"] <= most
    assert [row["trials"] for row in result["asks"]] == [4, 30]
    assert all(value > 0 for row in result["asks"] for value in row.values())


def test_copies_of_a_trial_are_a_study_whose_better_half_is_the_front(
    sqlite_url, tmp_path, monkeypatch
):
    monkeypatch.setenv("NAS_SPOOL", str(tmp_path / "spool"))
    search = store_verbs.begin(sqlite_url, "many")
    store_verbs.fill(search, 901)
    result = results.read(search)
    search.store.close()
    assert result.counts["trained"] == len(result.candidates) == 901
    assert {c.trial for c in result.front} >= {*range(2, 901, 2)}


@pytest.mark.nightly
def test_verbs_on_many_trials_are_measured(forked_document):
    rows = forked_document("store", "--verbs", "60", "--storage", "sqlite://")["verbs"]
    assert [row["verb"] for row in rows] == ["status", "front", "show", "recost"]
    assert all(row["trials"] == 60 and row["start_cpu_s"] > 0 for row in rows)


def test_disturbed_workers_lose_no_result(forked_document):
    sizes = ("--workers", "2", "--trials", "6", "--kill-every", "4")
    result = forked_document("chaos", "--storage", "sqlite://", *sizes)
    assert result["rows"][0]["wrong"] == []
    assert (result["runs"], result["results"], result["asked"]) == (1, 6, 6)
    assert result["lost"] == result["twice"] == result["over_budget"] == 0
    assert result["quarantined"] >= 1
    assert result["retries"] <= result["kills"] + result["crashes"] + result["stops"]
