"""What a worker's claims ask of the store, whose answers and locks all workers wait for."""

import threading

import pytest
import simulated
import sqlalchemy as sa
from optuna.trial import TrialState

from nas_service.errors import Interrupted
from nas_service.store.records import Claimed, Ended, Wait
from nas_service.worker.worker import WAIT_s

MOST = 17  # statements of a trial on PostgreSQL, with a tenth of those of a worker's start


@pytest.fixture
def make_worker(store_url, tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_SPOOL", str(tmp_path / "spool"))
    made = []

    def make(trainings=1, sampler="random", **options):
        if not made:
            simulated.make_study(store_url, simulated.spec("s", trainings, sampler))
        made.append(simulated.make_worker(store_url, "s", worker=f"w/x/{len(made)}/1", **options))
        return made[-1]

    yield make
    for worker in made:
        worker.asked_to_end.set()
        worker.search.store.close()


def without_lock(search, act):
    """What `act` returns while another transaction holds the study's lock."""
    results = []
    thread = threading.Thread(target=lambda: results.append(act()), daemon=True)
    with search.store.exclusive(search.id):
        thread.start()
        thread.join(90)
        assert results, "it waits for the lock"
    return results[0]


def counted(engine):
    """Statements and commits of an engine from now on."""
    counts = {"statements": 0, "commits": 0}

    def count(name):
        counts[name] += 1

    sa.event.listen(engine, "before_cursor_execute", lambda *_: count("statements"))
    sa.event.listen(engine, "commit", lambda _: count("commits"))
    return counts


@pytest.mark.parametrize("sampler", ["random", "nsga2"])
def test_a_trial_takes_few_statements_and_three_commits(make_worker, sampler):
    worker = make_worker(30, sampler, rejected=0.5)
    engine = worker.search.store.engine
    worker.run(max_trials=1)
    counts = counted(engine)
    worker.run(max_trials=10)
    statements = MOST if engine.dialect.name == "postgresql" else MOST + 6
    assert counts["statements"] <= 10 * statements
    assert counts["commits"] <= 33


def test_a_waiting_worker_does_not_lock_the_study(make_worker):
    first, second = make_worker(), make_worker()
    claimed = first.claims.claim(False)
    assert isinstance(claimed, Claimed)
    assert second.claims.claim(False) == Wait()
    assert without_lock(first.search, lambda: second.claims.claim(False)) == Wait()
    first.assignment.queue.release(claimed.lease)
    again = second.claims.claim(False)
    assert isinstance(again, Claimed)
    assert again.lease.trial == claimed.lease.trial


@pytest.mark.parametrize("change", ["more budget", "reported", "lost"])
def test_a_waiting_worker_sees_what_ends_its_waiting(make_worker, change):
    first, second = make_worker(), make_worker()
    lease = first.claims.claim(False).lease
    assert second.claims.claim(False) == Wait()
    store, search = first.search.store, first.search
    if change == "more budget":
        store.studies.set_budget(search.id, 2)
        assert second.claims.claim(False).lease.trial == 1
    elif change == "lost":
        store.lease_s = -1.0
        assert first.assignment.queue.renew(lease)
        assert second.claims.claim(False).lease.trial == 0
    else:
        first._runner.run(lease)
        assert isinstance(without_lock(search, lambda: second.claims.claim(False)), Ended)


def test_a_worker_is_late_by_at_most_a_third_of_its_waiting(make_worker, monkeypatch):
    worker, waits, wait_s = make_worker(), [], WAIT_s
    monkeypatch.setattr(worker.asked_to_end, "wait", waits.append)
    for _ in range(40):
        wait_s = worker._wait(wait_s)
    assert (waits[0], waits[-1]) == (0.3, 15.0)
    assert all(after <= sum(waits[:n]) / 3 + 0.4 for n, after in enumerate(waits))


def test_many_workers_wait_longer_for_many_trials(make_worker, monkeypatch):
    """A thousand that waited 0.3 s each would ask the store 3000 times a second."""
    worker, waits = make_worker(), []
    monkeypatch.setattr(worker.asked_to_end, "wait", waits.append)
    for under_way in (1, 60, 1000, 10**6):
        worker._wait(WAIT_s, under_way)
    assert waits == [0.3, 0.3, 5.0, 15.0]


def test_waiting_workers_know_how_many_trials_are_under_way(make_worker):
    first, second, third = make_worker(2), make_worker(2), make_worker(2)
    for worker in (first, second):
        worker.claims.claim(False)
    assert third.claims.claim(False).under_way == 2  # with the study's lock
    assert third.claims.claim(False).under_way == 2


def test_a_worker_that_waits_asks_little(make_worker, monkeypatch):
    """Two statements each time it asks, and at every fourth time two for what others left."""
    first, second = make_worker(), make_worker()
    first.claims.claim(False)
    waits, counts = [], counted(second.search.store.engine)

    def wait(seconds, under_way):
        waits.append(counts["statements"])
        if len(waits) == 13:
            second.asked_to_end.set()
        return seconds

    monkeypatch.setattr(second, "_wait", wait)
    with pytest.raises(Interrupted):
        second.run()
    assert waits[12] - waits[0] <= 12 * 2 + 3 * 2


def test_recovery_locks_the_study_only_where_a_trial_has_no_lease(make_worker):
    first, second = make_worker(2), make_worker(2)
    assert isinstance(first.claims.claim(False), Claimed)
    assert without_lock(first.search, second.reporter.recover) is None
    orphan = second.search.study.ask()
    second.reporter.recover()
    assert second.claims.claim(False).lease.trial == orphan.number
    states = [t.state for t in second.search.study.get_trials(deepcopy=False)]
    assert states == [TrialState.RUNNING] * 2
