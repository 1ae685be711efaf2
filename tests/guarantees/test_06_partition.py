"""The network between worker and database loses everything for a while, without an error."""

import pytest
import worker_harness as harness
from servers.proxy import Proxy
from study_history import StudyHistory
from worker_harness import Plan, WorkerProcess

pytestmark = pytest.mark.process

LEASE_s = 1.0


@pytest.mark.parametrize("end", ["join", "reset"])
def test_06_partition(postgres_url, tmp_path, end):
    """A training ends when its lease cannot be renewed; then two workers finish the study."""
    harness.make_study(postgres_url, 4)
    with Proxy(postgres_url) as proxy:
        plan = Plan(proxy.url, tmp_path, LEASE_s, training_s=3 * LEASE_s, gates=("training",))
        with harness.running(WorkerProcess(plan)) as (first,):
            first.wait_at("training")
            first.open_gate("training")
            proxy.part()
            beside = WorkerProcess(Plan(postgres_url, tmp_path, max_trials=2))
            assert beside.wait() == 0, beside.log
            harness.wait_until(lambda: "another worker may have it" in first.log, "its end")
            getattr(proxy, end)()
            proxy.join()
            harness.wait_until(lambda: "trained" in first.log, "its next trial")
            last = WorkerProcess(Plan(postgres_url, tmp_path))
            assert last.wait() == 0, last.log
            assert first.wait() == 0, first.log
    history = StudyHistory.read(postgres_url)
    history.check(4)
    endings = [a["result_kind"] for a in history.attempts_at(0)]
    assert endings == ["released", "won"], "the network is not the candidate's fault"


def test_06_disconnected_inside_a_transaction(postgres_url, tmp_path):
    """The study's lock is taken from a worker that went silent."""
    harness.make_study(postgres_url, 3)
    with Proxy(postgres_url) as proxy:
        plan = Plan(
            proxy.url, tmp_path, LEASE_s, gates=("ask",), prepare_store=harness.release_locks_soon
        )
        with harness.running(WorkerProcess(plan)) as (first,):
            first.wait_at("ask")
            proxy.part()
            beside = WorkerProcess(Plan(postgres_url, tmp_path))
            assert beside.wait() == 0, beside.log
    StudyHistory.read(postgres_url).check(3)
