"""A worker that was stopped for longer than its lease: its result is late, and it continues."""

import json
import signal

import pytest
import simulated
import worker_harness as harness
from study_history import StudyHistory
from worker_harness import OTHER_MACHINE, Plan, WorkerProcess

from nas_service.metrics import Evaluation
from nas_service.store.records import Limits
from nas_service.store.trial_queue import TrialQueue

pytestmark = pytest.mark.process


@pytest.mark.parametrize("gate", ["begin", "training", "tell"])
def test_03_suspended(store_url, tmp_path, gate):
    """With a trial whose candidate is drawn, is trained, or is measured."""
    harness.make_study(store_url, 5)
    stopped = Plan(store_url, tmp_path, lease_s=1.0, training_s=0.5, gates=(gate,))
    with harness.running(WorkerProcess(stopped)) as (first,):
        first.wait_at(gate)
        first.stop(store_url)
        with harness.running(WorkerProcess(Plan(store_url, tmp_path, max_trials=2))) as (second,):
            assert second.wait() == 0, second.log
        first.open_gate(gate)
        first.signal(signal.SIGCONT)
        assert first.wait() == 0, first.log
    history = StudyHistory.read(store_url)
    history.check(5)
    late, won = history.attempts_at(0)
    assert (late["result_kind"], won["result_kind"]) == (
        "late" if gate == "tell" else "released",
        "won",
    )
    others = [a for a in history.attempts if a is not late]
    assert any(a["worker"] == late["worker"] for a in others), "the worker continued"
    line = "result came late" if gate == "tell" else "another worker may have it"
    assert line in first.log
    if gate == "tell":
        evaluation = Evaluation.from_json(json.loads(late["evaluation"]))
        assert evaluation.architecture.digest == history.leases[0]["digest"]


def test_03_suspended_while_reporting(store_url):
    """A lost worker's result is reported by another one meanwhile, and is stored once."""
    harness.make_study(store_url, 2)
    slow, quick = (simulated.make_worker(store_url, harness.NAME, lease_s=-1.0) for _ in range(2))
    study, store = slow.search.study, slow.search.store
    trial = study.ask()
    architecture = slow.search.spec.build_space().draw(trial)
    queue = TrialQueue(store, slow.search.id, OTHER_MACHINE)
    lease = queue.claim(Limits(100, 10, 3), lambda _: trial.number).lease
    screened = slow.evaluator.screen(architecture, 1)
    trained = simulated.training(lambda a: 0.0)(slow.evaluator, screened, None, None)
    queue.begin_training(lease, architecture.digest)
    assert queue.archive_result(lease, trained)

    class OvertakenQueue(TrialQueue):
        def unreported(self):
            taken = super().unreported()
            quick.reporter.report_unreported()
            return taken

    own = slow.assignment.queue
    slow.assignment.queue = OvertakenQueue(store, slow.search.id, own.worker)
    slow.reporter.report_unreported()
    assert store.leases(slow.search.id).outcomes() == {0: "trained"}
    slow.assignment.queue, store.lease_s = own, 60.0
    assert simulated.work(slow) == "budget spent: 2 trainings"
    quick.search.store.close()
    StudyHistory.read(store_url).check(2)
