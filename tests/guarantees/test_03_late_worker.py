"""A worker that stood still for longer than its lease: what it had is late, and it goes on."""

import json
import signal
import time

import hands
import pytest
import simulated
from hands import History, Orders, WorkerProcess

from nas_service.metrics import Evaluation
from nas_service.store.records import Limits
from nas_service.store.trial_queue import TrialQueue

LEASE_s = 1.0
ELSEWHERE = "elsewhere/boot/1/1"  # a worker of which only its lease tells


@pytest.mark.parametrize("gate", ["begin", "training", "tell"])
def test_03_stood_still(store_url, tmp_path, gate):
    """With a trial whose candidate is drawn, is trained, or is measured."""
    hands.study(store_url, 5)
    slow = Orders(store_url, tmp_path, LEASE_s, training_s=0.5, gates=(gate,))
    quick = Orders(store_url, tmp_path, LEASE_s, max_trials=2)
    with hands.crew(WorkerProcess(slow)) as (first,):
        first.at(gate)
        first.signal(signal.SIGSTOP)
        time.sleep(1.5 * LEASE_s)
        with hands.crew(WorkerProcess(quick)) as (second,):
            assert second.end() == 0, second.said
        first.pass_on(gate)
        first.signal(signal.SIGCONT)
        assert first.end() == 0, first.said
    found = History.of(store_url)
    found.check(5)
    late, won = found.of_trial(0)
    assert (late["ending"], won["ending"]) == ("late" if gate == "tell" else "lost", "won")
    assert any(a["owner"] == late["owner"] for a in found.attempts if a is not late), "it went on"
    said = "result came late" if gate == "tell" else "another worker may have it"
    assert said in first.said
    if gate == "tell":
        kept = Evaluation.from_json(json.loads(late["evaluation"]))
        assert kept.architecture.digest == found.leases[0]["digest"]


def test_03_stood_still_while_it_tells(store_url):
    """A result that a lost worker left is told by another meanwhile, and stands once."""
    hands.study(store_url, 2)
    slow, quick = (simulated.hired(store_url, hands.NAME, lease_s=-1.0) for _ in range(2))
    study, store = slow.search.study, slow.search.store
    trial = study.ask()
    architecture = slow.search.spec.build_space().draw(trial)
    queue = TrialQueue(store, slow.search.id, ELSEWHERE)
    lease = queue.claim(Limits(100, 10, 3), lambda _: trial.number).lease
    begun = slow.bench.screen(architecture, 1)
    found = simulated.training(lambda a: 0.0)(slow.bench, begun, None, None)
    queue.begin_training(lease, architecture.digest)
    assert queue.archive_result(lease, found)

    class StandsStill(TrialQueue):
        def unreported(self):
            taken = super().unreported()
            quick._settle()
            return taken

    own = slow.queue
    slow.queue = StandsStill(store, slow.search.id, own.worker)
    slow._settle()
    assert store.leases(slow.search.id).outcomes() == {0: "trained"}
    slow.queue, store.lease_s = own, 60.0
    assert simulated.work(slow) == "budget spent: 2 trainings"
    quick.search.store.close()
    History.of(store_url).check(2)
