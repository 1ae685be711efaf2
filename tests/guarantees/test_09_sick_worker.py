"""A worker whose trainings all crash their process leaves the study to others."""

import pytest
import worker_harness as harness
from study_history import StudyHistory
from worker_harness import Plan, WorkerProcess

from nas_service.worker.trial_run import MOST_CRASHES

pytestmark = pytest.mark.process

TRAININGS = 8


def test_09_sick_worker(sqlite_url, tmp_path):
    (tmp_path / "crashes").write_text("all segv 99")
    harness.make_study(sqlite_url, TRAININGS)
    sick = WorkerProcess(Plan(sqlite_url, tmp_path), harness.work_with_children)
    assert sick.wait() == 4, sick.log
    assert f"{MOST_CRASHES} trainings in a row ended their process" in sick.log
    history = StudyHistory.read(sqlite_url)
    assert [a["result_kind"] for a in history.attempts] == ["crashed"] * MOST_CRASHES
    assert {r["state"] for r in history.leases} == {"pending"}, "nothing is given up"
    healthy = WorkerProcess(Plan(sqlite_url, tmp_path))
    assert healthy.wait() == 0, healthy.log
    StudyHistory.read(sqlite_url).check(TRAININGS)
