"""Attempts that are charged to no candidate."""

import pytest
from trial_queues import GONE, ID, OTHER, claim, evaluation, opened, queue_of

from nas_service.store.attempts import give_up


@pytest.fixture
def store(sqlite_url):
    made = opened(sqlite_url)
    yield made
    made.close()


@pytest.mark.parametrize("is_late", [False, True])
def test_workers_that_are_taken_for_lost_but_live_cost_no_attempt(store, is_late):
    """Their network was cut or their machine slept: more of them than `attempts` allows."""
    for number in range(5):
        lease = claim(store, GONE)
        assert (lease.trial, lease.attempt) == (0, 2 * number + 1)
        taken = claim(store, OTHER)
        if is_late:
            assert not queue_of(store, GONE).archive_result(lease, evaluation())
        with store.transactions.begin() as db:
            give_up(db, lease, GONE)
        queue_of(store, OTHER).release(taken)
    assert store.leases(ID).failures() == {}


def test_a_trial_that_has_failed_keeps_its_attempts(store):
    lost = [claim(store, GONE) for _ in range(3)]
    assert claim(store, OTHER).trial == 1
    with store.transactions.begin() as db:
        give_up(db, lost[0], GONE)
        rows = db.exec_driver_sql("select result_kind from nas_attempts where lease_id = 1")
        assert {kind for (kind,) in rows} == {"lost"}
