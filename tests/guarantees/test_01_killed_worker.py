"""A worker that is killed: its trial is offered again soon, with the same parameters."""

import random

import pytest
import worker_harness as harness
from study_history import StudyHistory
from worker_harness import OTHER_MACHINE, Plan, WorkerProcess

pytestmark = pytest.mark.process

LONGEST = 90  # moments of a worker's life; a trial has about 25, the report of a result 40


@pytest.mark.parametrize("kills", [20, pytest.param(1000, marks=pytest.mark.nightly)])
def test_01_killed_at_any_moment(store_url, tmp_path, kills):
    """Two workers at a time, each killed at a random moment; a last one finishes the study."""
    trainings = 2 * kills
    harness.make_study(store_url, trainings, max_attempts=100)
    draw = random.Random(7)
    pairs = tuple((draw.randint(1, LONGEST), draw.randint(1, LONGEST)) for _ in range(kills // 2))
    killed = WorkerProcess(Plan(store_url, tmp_path, kills=pairs), harness.work_and_be_killed)
    assert killed.wait(60 + kills) == 0, killed.log
    assert {a["result_kind"] for a in StudyHistory.read(store_url).attempts} >= {"won", "lost"}
    last = WorkerProcess(Plan(store_url, tmp_path))
    assert last.wait(60 + kills) == 0, last.log
    StudyHistory.read(store_url).check(trainings)


@pytest.mark.parametrize(("owner", "lease_s"), [("", 60.0), (OTHER_MACHINE, 1.0)])
def test_01_offered_again(store_url, tmp_path, owner, lease_s):
    """At once where others see that its process is gone, else when its lease is over."""
    harness.make_study(store_url, 2)
    killed = Plan(store_url, tmp_path, lease_s, owner=owner, gates=("training",))
    with harness.running(WorkerProcess(killed)) as (first,):
        first.wait_at("training")
        drawn = StudyHistory.read(store_url).trials[0].params
        first.kill()
        second = WorkerProcess(Plan(store_url, tmp_path))
        assert second.wait() == 0, second.log
    history = StudyHistory.read(store_url)
    history.check(2)
    lost, won = history.attempts_at(0)
    assert (lost["result_kind"], won["result_kind"]) == ("lost", "won")
    assert history.trials[0].params == drawn
    after_s = won["started_at"] - lost["started_at"]
    assert after_s >= lease_s if owner else after_s < lease_s


def test_01_at_most_max_attempts(store_url, tmp_path):
    harness.make_study(store_url, 2, max_attempts=2)
    for _ in range(2):
        plan = Plan(store_url, tmp_path, gates=("training",))
        with harness.running(WorkerProcess(plan)) as (worker,):
            worker.wait_at("training")
            worker.kill()
    last = WorkerProcess(Plan(store_url, tmp_path))
    assert last.wait() == 0, last.log
    history = StudyHistory.read(store_url)
    assert [a["result_kind"] for a in history.attempts_at(0)] == ["lost", "lost"]
    assert [t.state.name for t in history.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert "quarantined: its worker was lost, 2 times over" in history.leases[0]["reason"]
