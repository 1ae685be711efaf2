"""The reply to a commit is lost: what went through is found out, and nothing is done twice."""

import random

import hands
from hands import History, Orders, WorkerProcess
from servers.proxy import Proxy

TRIALS = 16


def test_05_lost_reply(postgres_url, tmp_path):
    """Of one commit in three, by chance: of claims, beginnings and results."""
    hands.study(postgres_url, TRIALS)
    with (
        Proxy(postgres_url) as proxy,
        hands.crew(WorkerProcess(Orders(proxy.url, tmp_path, gates=("run",)))) as (hand,),
    ):
        hand.at("run")
        draw = random.Random(7)
        proxy.loses = lambda: draw.random() < 1 / 3
        hand.pass_on("run")
        assert hand.end() == 0, hand.said
    assert proxy.lost >= TRIALS
    found = History.of(postgres_url)
    found.check(TRIALS)
    assert len(found.attempts) == len(found.trials), "nothing was done again"
