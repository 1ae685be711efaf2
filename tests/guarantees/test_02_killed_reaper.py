"""Who takes a lost trial up again may be killed at it: the trial is offered again, once."""

import hands
from hands import History, Orders, WorkerProcess

CLAIM = range(12, 42)  # moments from before a worker's claim to its training


def test_02_killed_while_it_takes_a_trial_up(store_url, tmp_path):
    """At every moment from the first one to the training, one after the other."""
    hands.study(store_url, 6, max_attempts=100)
    deaths = tuple((moment,) for moment in CLAIM)
    killed = WorkerProcess(Orders(store_url, tmp_path, deaths=deaths), hands.die)
    assert killed.end() == 0, killed.said
    halfway = History.of(store_url)
    drawn = {t.number: t.params for t in halfway.trials if t.params}
    last = WorkerProcess(Orders(store_url, tmp_path))
    assert last.end() == 0, last.said
    found = History.of(store_url)
    found.check(6)
    assert len(found.trials) == 6, "no trial stands in place of another"
    assert all(found.trials[number].params == params for number, params in drawn.items())
    assert sum(a["ending"] == "lost" for a in found.attempts) >= 5
