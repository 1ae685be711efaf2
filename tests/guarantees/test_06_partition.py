"""The network between worker and database loses everything for a while, and tells nobody."""

import time

import hands
import pytest
from hands import History, Orders, WorkerProcess
from servers.proxy import Proxy

LEASE_s = 1.0


@pytest.mark.parametrize("end", ["join", "reset"])
def test_06_partition(postgres_url, tmp_path, end):
    """Its training ends when its lease cannot be renewed; then the study is done by two."""
    hands.study(postgres_url, 6)
    with Proxy(postgres_url) as proxy:
        parted = Orders(proxy.url, tmp_path, LEASE_s, training_s=6 * LEASE_s, gates=("training",))
        with hands.crew(WorkerProcess(parted)) as (first,):
            first.at("training")
            first.pass_on("training")
            proxy.part()
            beside = WorkerProcess(Orders(postgres_url, tmp_path, LEASE_s, max_trials=3))
            assert beside.end() == 0, beside.said
            hands.until(lambda: "another worker may have it" in first.said, "the end of a training")
            time.sleep(LEASE_s)
            getattr(proxy, end)()
            proxy.join()
            hands.until(lambda: "trained" in first.said, "its next trial")
            last = WorkerProcess(Orders(postgres_url, tmp_path, LEASE_s))
            assert last.end() == 0, last.said
            assert first.end() == 0, first.said
    found = History.of(postgres_url)
    found.check(6)
    lost, won = found.of_trial(0)
    assert (lost["ending"], won["ending"]) == ("lost", "won")


def test_06_parted_inside_a_transaction(postgres_url, tmp_path):
    """The study's lock is taken from who is not heard of any more."""
    hands.study(postgres_url, 3)
    with Proxy(postgres_url) as proxy:
        parted = Orders(proxy.url, tmp_path, LEASE_s, gates=("ask",), before=hands.let_go_soon)
        with hands.crew(WorkerProcess(parted)) as (first,):
            first.at("ask")
            proxy.part()
            beside = WorkerProcess(Orders(postgres_url, tmp_path, LEASE_s))
            assert beside.end() == 0, beside.said
    History.of(postgres_url).check(3)
