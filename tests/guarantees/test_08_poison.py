"""A trial that crashes every process that trains it is given up after `max_attempts` and named."""

import json

import pytest
import worker_harness as harness
from click.testing import CliRunner
from study_history import StudyHistory
from worker_harness import Plan, WorkerProcess

from nas_service.cli.main import main
from nas_service.store.store import Store

pytestmark = pytest.mark.process


def test_08_poison(sqlite_url, tmp_path):
    (tmp_path / "crashes").write_text("first segv 99")
    harness.make_study(sqlite_url, 6, max_attempts=3)
    plan = Plan(sqlite_url, tmp_path, lease_s=3.0, gates=("run",))
    workers = [WorkerProcess(plan, harness.work_with_children) for _ in range(2)]
    with harness.running(*workers):
        for worker in workers:
            worker.wait_at("run")
        for worker in workers:
            worker.open_gate("run")
        assert [worker.wait() for worker in workers] == [0, 0], [w.log for w in workers]
    history = StudyHistory.read(sqlite_url)
    (poison,) = (r for r in history.leases if r["state"] == "failed")
    attempts = history.attempts_at(poison["trial"])
    assert [a["result_kind"] for a in attempts] == ["crashed"] * 3
    assert len({a["worker"] for a in attempts}) == 2, "both tried it"
    assert history.trials[poison["trial"]].state.name == "FAIL"
    assert sum(r["outcome"] == "trained" for r in history.archive) == 6

    words = ["status", harness.NAME, "--storage", sqlite_url, "--json"]
    failures = json.loads(CliRunner().invoke(main, words).stdout)["failures"]
    assert list(failures) == [str(poison["trial"])]
    assert "quarantined: crash: SIGSEGV, 3 times over" in failures[str(poison["trial"])]

    store = Store(sqlite_url)
    store.studies.set_budget(history.leases[0]["study_id"], 7)
    store.close()
    more = WorkerProcess(Plan(sqlite_url, tmp_path), harness.work_with_children)
    assert more.wait() == 0, more.log
    again = StudyHistory.read(sqlite_url).attempts_at(poison["trial"])
    assert len(again) == 3, "never offered again"
