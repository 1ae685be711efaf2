"""The database crashes and restarts: a worker then does what it was about to do."""

import pytest
import worker_harness as harness
from study_history import StudyHistory
from worker_harness import Plan, WorkerProcess

pytestmark = pytest.mark.process


@pytest.mark.parametrize("gate", ["ask", "begin", "training", "beat", "tell"])
def test_04_crashed_while(own_postgres, own_postgres_url, tmp_path, gate):
    """It asks, begins, trains, renews its lease, or reports a result."""
    url, crash = own_postgres_url, Crash(own_postgres)
    harness.make_study(url, 3)
    longer = {"lease_s": 2.0, "training_s": 1.0} if gate in ("training", "beat") else {}
    with harness.running(WorkerProcess(Plan(url, tmp_path, gates=(gate,), **longer))) as (worker,):
        worker.wait_at(gate)
        with crash:
            worker.open_gate(gate)
            if gate != "training":
                harness.wait_until(lambda: crash.noticed_by(worker), "a try that fails")
        assert worker.wait() == 0, worker.log
    history = StudyHistory.read(url)
    history.check(3)
    assert len(history.attempts) == 3, "nothing was done again"


def test_04_crashed_again_and_again(own_postgres, own_postgres_url, tmp_path):
    """While two workers do forty short trials."""
    url = own_postgres_url
    harness.make_study(url, 40)
    plan = Plan(url, tmp_path, lease_s=5.0, training_s=0.02, gates=("run",))

    def trained():
        return sum(worker.log.count("trained  in") for worker in pair)

    with harness.running(WorkerProcess(plan), WorkerProcess(plan)) as pair:
        for worker in pair:  # one that finds no server when it starts ends at once
            worker.wait_at("run")
        for worker in pair:
            worker.open_gate("run")
        for _ in range(3):
            before = trained()
            harness.wait_until(lambda before=before: trained() > before, "a result")
            with Crash(own_postgres):
                pass
        assert [worker.wait() for worker in pair] == [0, 0], [worker.log for worker in pair]
    StudyHistory.read(url).check(40)


class Crash:
    """Inside, the server is down as after a crash."""

    def __init__(self, server):
        self.server = server

    def __enter__(self):
        self.server.stop("immediate")

    def __exit__(self, *_):
        self.server.start()

    def noticed_by(self, worker):
        return "unreachable" in worker.log or "lease not renewed" in worker.log
