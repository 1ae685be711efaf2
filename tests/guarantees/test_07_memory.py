"""A training that runs out of memory: its child alone ends, and it is tried once more."""

import pytest
import worker_harness as harness
from study_history import StudyHistory
from worker_harness import Plan, WorkerProcess

pytestmark = pytest.mark.process


def history_of(url, folder, crashes):
    """The history of two trainings, some of whose children crash as the file says."""
    (folder / "crashes").write_text(crashes)
    harness.make_study(url, 2)
    plan = Plan(url, folder, prepare_store=harness.reclaim_soon)
    worker = WorkerProcess(plan, harness.work_with_children)
    assert worker.wait() == 0, worker.log
    history = StudyHistory.read(url)
    history.check(2)
    return history


def test_07_once_is_tried_again(sqlite_url, tmp_path):
    history = history_of(sqlite_url, tmp_path, "first oom 1")
    crashed, won = history.attempts_at(0)
    assert (crashed["result_kind"], won["result_kind"]) == ("oom", "won")
    assert crashed["reason"].startswith("oom:")
    assert history.trials[0].user_attrs["outcome"] == "trained"


def test_07_twice_is_too_large(sqlite_url, tmp_path):
    """A separate kind of result: infeasible, outside the budget, with its real costs."""
    history = history_of(sqlite_url, tmp_path, "first oom 99")
    assert [a["result_kind"] for a in history.attempts_at(0)] == ["oom", "won"]
    trial = history.trials[0]
    assert trial.user_attrs["outcome"] == "rejected"
    assert "too large to train: twice oom" in trial.user_attrs["reason"]
    assert max(trial.constraints.values()) > 0
    assert trial.user_attrs["energy_uJ"] > 0
