"""Who takes a lost trial up again may be killed at it: the trial is offered again, once."""

import hands
from hands import Hand, History, Orders

CLAIM = 30  # moments, more than there are from a worker's first one to its training


def test_02_killed_while_it_takes_a_trial_up(store_url, tmp_path):
    """At every moment from the first one to the training, one after the other."""
    hands.study(store_url, 3, max_attempts=100)
    deaths = tuple((moment,) for moment in range(1, CLAIM + 1))
    killed = Hand(Orders(store_url, tmp_path, deaths=deaths), hands.die)
    assert killed.end() == 0, killed.said
    halfway = History.of(store_url)
    drawn = {t.number: t.params for t in halfway.trials if t.params}
    last = Hand(Orders(store_url, tmp_path))
    assert last.end() == 0, last.said
    found = History.of(store_url)
    found.check(3)
    assert len(found.trials) == 3, "no trial stands in place of another"
    assert all(found.trials[number].params == params for number, params in drawn.items())
    assert sum(a["ending"] == "lost" for a in found.attempts) > CLAIM // 3
