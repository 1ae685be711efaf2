"""The reply to a commit is lost: whether it went through is found out, and nothing is done twice."""

import itertools

import hands
from hands import Hand, History, Orders
from servers import postgres
from servers.proxy import Proxy

TRIALS = 2


def test_05_lost_reply(postgres_server, tmp_path):
    """Of each commit of a study in turn: of claims, beginnings and results."""
    retries = 0
    for commit in itertools.count(1):
        with postgres.database(postgres_server) as url, Proxy(url) as proxy:
            hands.study(url, TRIALS)
            with hands.crew(Hand(Orders(proxy.url, tmp_path, gates=("run",)))) as (hand,):
                hand.at("run")
                proxy.lose_reply(commit)
                hand.pass_on("run")
                assert hand.end() == 0, hand.said
            History.of(url).check(TRIALS)
            if not proxy.lost:
                break
            retries += "is there again" in hand.said
    assert commit > 3 * TRIALS, "each trial has three"
    assert retries >= 3 * TRIALS
