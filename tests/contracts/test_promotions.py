"""Promotions: each candidate once, without cost to the budget, and finitely many."""

import threading
from dataclasses import replace

import pytest
from trial_queues import (
    GONE,
    ID,
    claim,
    claimed,
    end,
    evaluation,
    new_trial,
    opened,
    queue_of,
    spent,
)

from nas_service.store.records import Promotion, Wait


@pytest.fixture
def store(store_url):
    made = opened(store_url)
    yield made
    made.close()


def best_half(measured, held, over):
    """The better half by accuracy of the candidates at epoch 1; at the end at least one."""
    there = sorted((s for s in measured if s.epochs == 1), key=lambda s: -s.metrics["accuracy"])
    gone = {s.digest for s in measured if s.epochs == 3} | held
    best = there[: max(len(there) // 2, int(over))]
    return next((Promotion(s, 3) for s in best if s.digest not in gone), None)


def measured(store, count):
    """Stores `count` candidates at epoch 1, each better than the last; returns their digests."""
    digests = []
    for n in range(count):
        e = replace(evaluation(n + 1), fidelity=1, accuracy=0.1 * (n + 1))
        lease = claim(store)
        assert queue_of(store).archive_result(lease, e, at_rung=True)
        queue_of(store).result_reported(lease.id, "trained")
        digests.append(e.architecture.digest)
    return digests


def test_rung_results_are_a_candidates_metrics_at_each_rung(store):
    (digest,) = measured(store, 1)
    claim_result = claimed(store, promote=lambda m, h, o: Promotion(m[0], 3))
    assert (claim_result.promotion.digest, claim_result.promotion.until) == (digest, 3)
    lease = claim_result.lease
    later = replace(evaluation(1), fidelity=3, accuracy=0.7)
    for _ in range(2):  # the second time it is not its lease any more
        queue_of(store).archive_result(lease, later, at_rung=True)
    result = [
        (s.digest, s.trial, s.epochs, s.metrics["accuracy"])
        for s in store.archive(ID).rung_results()
    ]
    assert result == [(digest, 0, 1, pytest.approx(0.1)), (digest, 0, 3, 0.7)]


def test_many_threads_promote_each_candidate_once(store):
    digests, result = measured(store, 4), []
    threads = [
        threading.Thread(target=lambda: result.append(claimed(store, promote=best_half)))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    promoted = [claim_result.promotion.digest for claim_result in result if claim_result != Wait()]
    assert sorted(promoted) == sorted(digests[2:])
    assert len(result) == 12


def test_a_promotion_of_a_dead_worker_is_repeated(store):
    """As any other trial, before the next promotion."""
    digests = measured(store, 4)
    first = claimed(store, GONE, promote=best_half)
    assert first.promotion.digest == digests[3]
    taken = claimed(store, promote=best_half)
    assert (taken.lease.trial, taken.lease.attempt, taken.promotion) == (4, 2, None)
    assert claimed(store, promote=best_half).promotion.digest == digests[2]


def test_a_trial_that_was_made_for_a_promotion_is_recovered_with_its_digest(store):
    digests = measured(store, 4)
    orphan = new_trial(store)
    queue_of(store).recover_orphans({orphan: digests[3]})
    assert claim(store, promote=best_half).trial == orphan
    assert claimed(store, promote=best_half).promotion.digest == digests[2]


def test_promotions_take_nothing_from_the_budget(store):
    measured(store, 2)
    assert claimed(store, promote=best_half).promotion is not None
    result = [claimed(store, promote=best_half) for _ in range(3)]
    assert [x.promotion for x in result[:2]] == [None, None]
    assert result[2] == Wait()


def test_a_study_ends_when_no_candidate_is_left_to_promote(store):
    measured(store, 4)
    assert end(store) == spent(4)
    assert end(store, best_half) is None
    for trial in (4, 5):
        lease = claim(store, promote=best_half)
        assert lease.trial == trial
        assert end(store, best_half) == Wait()
        queue_of(store).fail(lease, "gone")
    assert end(store, best_half) == spent(4)
    assert claimed(store, promote=best_half) == spent(4)


def test_failures_and_time_end_promotions(store):
    measured(store, 4)
    assert claimed(store, failures=-1, promote=best_half) == spent(4)
    assert claimed(store, seconds=0.0, promote=best_half) == spent(4)
    assert end(store, best_half, seconds=0.0) == spent(4)
