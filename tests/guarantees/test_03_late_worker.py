"""A worker that stood still for longer than its lease: what it had is late, and it goes on."""

import json
import signal
import time

import hands
import pytest
from hands import Hand, History, Orders

from nas_service.metrics import Evaluation

LEASE_s = 1.0


@pytest.mark.parametrize("gate", ["begin", "training", "tell"])
def test_03_stood_still(store_url, tmp_path, gate):
    """With a trial whose candidate is drawn, is trained, or is measured."""
    hands.study(store_url, 5)
    slow = Orders(store_url, tmp_path, LEASE_s, training_s=0.5, gates=(gate,))
    quick = Orders(store_url, tmp_path, LEASE_s, max_trials=2)
    with hands.crew(Hand(slow)) as (first,):
        first.at(gate)
        first.signal(signal.SIGSTOP)
        time.sleep(1.5 * LEASE_s)
        with hands.crew(Hand(quick)) as (second,):
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
