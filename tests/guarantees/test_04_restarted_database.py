"""The database crashes and comes back: whatever a worker was about to do, it does it then."""

import time

import hands
import pytest
from hands import History, Orders, WorkerProcess
from servers import postgres

LEASE_s = 3.0


@pytest.mark.parametrize("gate", ["ask", "begin", "training", "beat", "tell"])
def test_04_crashed_while(own_postgres, tmp_path, gate):
    """It asks, begins, trains, renews its lease, or tells a result."""
    with postgres.database(own_postgres.url) as url:
        hands.study(url, 3)
        orders = Orders(url, tmp_path, LEASE_s, training_s=0.7 * LEASE_s, gates=(gate,))
        with hands.crew(WorkerProcess(orders)) as (hand,):
            hand.at(gate)
            own_postgres.stop("immediate")
            hand.pass_on(gate)
            if gate in ("ask", "begin", "tell"):
                hands.until(lambda: "unreachable" in hand.said, "a try that fails")
            else:
                time.sleep(LEASE_s / 4)
            own_postgres.start()
            assert hand.end() == 0, hand.said
        found = History.of(url)
        found.check(3)
        assert len(found.attempts) == 3, "nothing was done again"


def test_04_crashed_again_and_again(own_postgres, tmp_path):
    """While two work on forty short trials."""
    with postgres.database(own_postgres.url) as url:
        hands.study(url, 40)
        orders = Orders(url, tmp_path, LEASE_s, training_s=0.02)
        with hands.crew(WorkerProcess(orders), WorkerProcess(orders)) as pair:
            for _ in range(3):
                told = sum(hand.said.count("trained  in") for hand in pair)
                hands.until(lambda: sum(h.said.count("trained  in") for h in pair) > told)  # noqa: B023
                own_postgres.stop("immediate")
                own_postgres.start()
            assert [hand.end() for hand in pair] == [0, 0], [hand.said for hand in pair]
        History.of(url).check(40)
