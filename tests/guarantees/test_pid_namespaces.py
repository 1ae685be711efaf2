"""Workers of one host name that cannot see each other's processes, as in containers."""

import pid_namespace
import pytest
import worker_harness as harness
from study_history import StudyHistory
from worker_harness import Plan, WorkerProcess

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def _permitted():
    if not pid_namespace.is_permitted():
        pytest.skip("this user may not make PID namespaces")


def test_workers_in_two_namespaces_rob_each_other_of_nothing(sqlite_url, tmp_path):
    harness.make_study(sqlite_url, 3)
    folders = [tmp_path / "first", tmp_path / "second"]
    for folder in folders:
        folder.mkdir()
    first = WorkerProcess(Plan(sqlite_url, folders[0], gates=("training",)), pid_namespace.work)
    with harness.running(first):
        harness.wait_until((folders[0] / "1.training").exists, "the first training")
        second = WorkerProcess(Plan(sqlite_url, folders[1]), pid_namespace.work)
        with harness.running(second):
            harness.wait_until(lambda: endings(sqlite_url).count("won") == 2, "the other two")
            (folders[0] / "1.open").touch()
            assert [worker.wait() for worker in (first, second)] == [0, 0]
    history = StudyHistory.read(sqlite_url)
    history.check(3)
    assert endings(sqlite_url) == ["won"] * 3
    places = {a["worker"].rpartition("/")[0].rpartition("/")[0] for a in history.attempts}
    assert len(places) == 1, "one host, one boot, one process number"
    assert len({a["worker"] for a in history.attempts}) == 2


def endings(url):
    return [a["result_kind"] for a in StudyHistory.read(url).attempts]
