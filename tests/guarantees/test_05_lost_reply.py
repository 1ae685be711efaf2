"""The reply to a commit is lost: whether it went through is found out, and nothing is done twice."""

import hands
import pytest
from hands import Hand, History, Orders
from servers.proxy import Proxy

TRIALS = 3


def commits(url, folder):
    """How many a worker makes for a whole study, its reading included."""
    hands.study(url, TRIALS)
    with Proxy(url) as proxy:
        hand = Hand(Orders(proxy.url, folder))
        assert hand.end() == 0, hand.said
        return proxy.commits


@pytest.fixture
def count(postgres_server, tmp_path):
    from servers import postgres

    with postgres.database(postgres_server) as url:
        return commits(url, tmp_path)


def test_05_lost_reply(postgres_server, count, tmp_path):
    """Of each commit of a study in turn: claims, beginnings and results."""
    from servers import postgres

    assert count >= 3 * TRIALS
    retries = 0
    for commit in range(1, count + 1):
        with postgres.database(postgres_server) as url, Proxy(url) as proxy:
            hands.study(url, TRIALS)
            proxy.lose_reply(commit)
            hand = Hand(Orders(proxy.url, tmp_path))
            assert hand.end() == 0, hand.said
            assert proxy.lost == 1
            History.of(url).check(TRIALS)
            retries += "is there again" in hand.said
    assert retries >= 3 * TRIALS
