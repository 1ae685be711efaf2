"""A worker that is killed: its trial is another one's soon, with the same parameters."""

import os
import random

import hands
import pytest
from hands import History, Orders, WorkerProcess

DEATHS = int(os.environ.get("NAS_TEST_DEATHS", "30"))  # on each kind of store
LONGEST = 60  # moments of a worker's life; a trial has about 35
ELSEWHERE = "elsewhere/boot/1/1"  # a worker of which only its lease tells


def test_01_killed_at_any_moment(store_url, tmp_path):
    """Two at a time, each at a moment of its own; who comes behind them ends the study."""
    hands.study(store_url, 60, max_attempts=100)
    draw = random.Random(7)
    pairs = tuple((draw.randint(1, LONGEST), draw.randint(1, LONGEST)) for _ in range(DEATHS // 2))
    killed = WorkerProcess(Orders(store_url, tmp_path, deaths=pairs), hands.die)
    assert killed.end() == 0, killed.said
    assert {a["ending"] for a in hands.History.of(store_url).attempts} >= {"won", "lost"}
    last = WorkerProcess(Orders(store_url, tmp_path))
    assert last.end() == 0, last.said
    History.of(store_url).check(60)


@pytest.mark.parametrize(("owner", "lease_s"), [("", 60.0), (ELSEWHERE, 2.0)])
def test_01_offered_again(store_url, tmp_path, owner, lease_s):
    """At once where others see that its process is gone, else when its lease is over."""
    hands.study(store_url, 2)
    killed = Orders(store_url, tmp_path, lease_s, owner=owner, gates=("training",))
    with hands.crew(WorkerProcess(killed)) as (first,):
        first.at("training")
        drawn = History.of(store_url).trials[0].params
        first.kill()
        second = WorkerProcess(Orders(store_url, tmp_path, lease_s))
        assert second.end() == 0, second.said
    found = History.of(store_url)
    found.check(2)
    lost, won = found.of_trial(0)
    assert (lost["ending"], won["ending"]) == ("lost", "won")
    assert found.trials[0].params == drawn
    after = won["began"] - lost["began"]
    assert after < lease_s if not owner else lease_s / 2 < after < 10 * lease_s


def test_01_at_most_so_many_attempts(store_url, tmp_path):
    hands.study(store_url, 2, max_attempts=2)
    for _ in range(2):
        with hands.crew(WorkerProcess(Orders(store_url, tmp_path, gates=("training",)))) as (hand,):
            hand.at("training")
            hand.kill()
    last = WorkerProcess(Orders(store_url, tmp_path))
    assert last.end() == 0, last.said
    found = History.of(store_url)
    assert [a["ending"] for a in found.of_trial(0)] == ["lost", "lost"]
    assert [t.state.name for t in found.trials] == ["FAIL", "COMPLETE", "COMPLETE"]
    assert "quarantined: its worker was lost, 2 times over" in found.leases[0]["reason"]
