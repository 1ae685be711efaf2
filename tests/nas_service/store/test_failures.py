"""Failed trials by machine: which of them end a study, and which are forgiven."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trial_queues import ID, claim, claimed, end, evaluation, opened, queue_of

from nas_service.store.failures import Failures, forgive, read_failures
from nas_service.store.records import Claimed, Ended


@pytest.fixture
def store(sqlite_url):
    made = opened(sqlite_url)
    yield made
    made.close()


def worker(host):
    return f"{host}/boot-of-{host}/1/1"


def fail(store, host, reason="RuntimeError: odd"):
    lease = claim(store, worker(host), failures=1)
    queue_of(store, worker(host)).fail(lease, reason)
    return lease


def failures(store):
    with store.transactions.begin() as db:
        return read_failures(db, ID)


def test_one_machine_that_is_all_there_was_ends_its_study(store):
    fail(store, "laptop")
    assert end(store, failures=1) is None
    fail(store, "laptop")
    ended = end(store, failures=1)
    assert isinstance(ended, Ended)
    text = "too many failures: 2 trials failed, 2 on laptop (RuntimeError: odd)"
    assert str(ended) == text


def test_failures_of_one_machine_alone_never_end_a_study_of_several(store):
    lease = claim(store, worker("well"), failures=1)
    for _ in range(3):
        fail(store, "sick")
    assert failures(store).too_many_on(worker("sick"), 1)
    assert not failures(store).too_many_on(worker("well"), 1)
    queue_of(store, worker("well")).fail(lease, "RuntimeError: rare")
    assert isinstance(claimed(store, worker("well"), failures=1), Claimed)


def test_without_the_worst_machine_too_many_end_it(store):
    for host in ("a", "b", "a", "b"):
        fail(store, host)
    ended = claimed(store, worker("c"), failures=1)
    assert isinstance(ended, Ended)
    assert ended.figures["where"] == "2 on a, 2 on b (RuntimeError: odd)"


def test_a_candidate_that_crashed_on_two_machines_counts_always(store):
    for host in ("a", "b"):
        lease = claim(store, worker(host), attempts=2)
        queue_of(store, worker(host)).crashed(lease, "crash: SIGSEGV", 2)
    assert failures(store) == Failures(
        1, {}, {"boot-of-a": "a", "boot-of-b": "b"}, 2, "quarantined: crash: SIGSEGV, 2 times over"
    )
    assert failures(store).too_many(0)


def test_trials_that_await_a_failing_one_are_of_its_machine(store):
    digest = evaluation().architecture.digest
    first, second = claim(store, worker("sick")), claim(store, worker("well"))
    assert queue_of(store, worker("sick")).begin_training(first, digest)[0]
    assert not queue_of(store, worker("well")).begin_training(second, digest)[0]
    queue_of(store, worker("sick")).fail(first, "RuntimeError: odd")
    counted = failures(store)
    assert (counted.total, counted.by_machine) == (2, {"boot-of-sick": 2})


def test_forgiven_trials_stay_failed_and_count_no_more(store):
    for host in ("a", "a"):
        lease = fail(store, host)
        queue_of(store, worker(host)).failure_reported(lease.id)
    assert isinstance(claimed(store, worker("a"), failures=1), Ended)
    assert forgive(store, ID) == 2
    assert forgive(store, ID) == 0
    assert list(store.leases(ID).failures()) == [0, 1]
    assert set(store.leases(ID).outcomes().values()) == {"failed"}
    assert queue_of(store).unreported() == []
    assert isinstance(claimed(store, worker("a"), failures=1), Claimed)


def test_a_failure_that_was_forgiven_before_it_was_reported_is_reported(store):
    fail(store, "a")
    forgive(store, ID)
    (unreported,) = queue_of(store, worker("a")).unreported()
    assert unreported.reason == "RuntimeError: odd"


@given(st.dictionaries(st.sampled_from("abcd"), st.integers(1, 9), max_size=4), st.integers(1, 5))
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_machine_ends_a_study_alone_and_every_hopeless_study_ends(counts, limit):
    total, hosts = sum(counts.values()), {name: name for name in counts}
    several = Failures(total, counts, hosts, max(2, len(counts)), "")
    if len(counts) <= 1:
        assert not several.too_many(limit)
    if all(count > limit for count in counts.values()) and len(counts) > 1:
        assert several.too_many(limit), "each machine has ended, and so does the study"
    assert Failures(total, counts, hosts, 1, "").too_many(limit) == (total > limit)
