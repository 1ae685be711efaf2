"""A small study among kills, stops, crashes and a restart of its server: nothing is amiss."""

import chaos
import pytest

PLAN = chaos.Plan(
    workers=4, trials=16, lease_s=4.0, kill_s=2.0, stop_s=5.0, training_s=(0.1, 0.6), limit_s=240.0
)
MANY_SEEDS = [pytest.param(seed, marks=pytest.mark.nightly) for seed in range(2, 22)]


def check(report, trainings):
    assert report["wrong"] == []
    assert report["results"] == trainings
    assert report["lost"] == report["twice"] == report["over_budget"] == 0
    assert report["kills"] + report["crashes"] > 0
    assert report["quarantined"] >= 1


@pytest.mark.process
@pytest.mark.parametrize("seed", [0, *MANY_SEEDS])
def test_on_postgresql_with_a_restart_of_its_own_server(own_postgres, own_postgres_url, seed):
    result = chaos.one_run(own_postgres_url, PLAN, seed, own_postgres)
    check(result, PLAN.trials)
    assert result["restarts"] == 1


@pytest.mark.process
@pytest.mark.parametrize("seed", [1, *MANY_SEEDS])
def test_on_sqlite(sqlite_url, seed):
    check(chaos.one_run(sqlite_url, PLAN, seed), PLAN.trials)


def test_undisturbed_workers_must_lose_nothing():
    h = history_of(lost=("node0/boot/11/1", "node1/boot/12/1", "node1/boot/12/1"))
    workers = chaos.DisturbedWorkers(lambda place: 0, 0, killed={11, 12})
    assert list(chaos.unexplained(h, workers)) == [
        "worker 12: lost 2 attempts, was killed or stopped 1 times"
    ]
    workers.long[12] += 1
    assert list(chaos.unexplained(h, workers)) == []


def history_of(lost):
    attempts = tuple({"worker": owner, "result_kind": "lost"} for owner in lost)
    return chaos.history.History(None, 1, (), attempts, (), (), frozenset())


@pytest.fixture(autouse=True)
def own_spool(monkeypatch):
    monkeypatch.setenv("NAS_SPOOL", "of the run")
