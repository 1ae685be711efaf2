"""The contract of every store: exact budgets, leases that are taken over, results stored once."""

import json
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import sqlalchemy as sa
from optuna.exceptions import StorageInternalError
from optuna.study import StudyDirection
from sqlalchemy.exc import DBAPIError
from trial_queues import (
    GONE,
    ID,
    OTHER,
    claim,
    claimed,
    evaluation,
    new_trial,
    opened,
    queue_of,
    spent,
    trained,
)

from nas_service.errors import LeaseLost, NasError, StoreError, StudyError
from nas_service.metrics import Evaluation
from nas_service.store import joining_storage
from nas_service.store.database import disk_kind, redacted, storage_url
from nas_service.store.records import ArchiveReceipt, Claimed, Wait
from nas_service.store.store import Store
from nas_service.store.tables import attempts, leases
from nas_service.worker.retry import is_transient


@pytest.fixture
def store(store_url):
    made = opened(store_url)
    yield made
    made.close()


def test_a_candidate_that_another_trial_has_finished_is_known_at_once(store):
    """Its lease may be older than that result; a second training would cost budget."""
    first, second = (claim(store) for _ in range(2))
    e = evaluation()
    digest = e.architecture.digest
    assert queue_of(store).begin_training(first, digest) == (True, None)
    assert store.archive(ID).evaluation(digest) is None
    queue_of(store).archive_result(first, e, reported=True)
    assert queue_of(store).begin_training(second, digest) == (True, e)


def test_claims_never_exceed_the_budget(store):
    claims = [claimed(store) for _ in range(6)]
    assert [isinstance(c, Claimed) for c in claims] == [True] * 4 + [False] * 2
    assert claims[4:] == [Wait(), Wait()]


def test_claims_of_many_threads_never_exceed_the_budget(store):
    result = []
    threads = [threading.Thread(target=lambda: result.append(claimed(store))) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(result) == 12
    assert sum(isinstance(c, Claimed) for c in result) == 4


def test_budget_ends_the_study_and_more_budget_continues_it(store):
    for n in range(4):
        trained(store, n, channels=n + 1)
    assert claimed(store) == spent(4)
    assert str(spent(4)) == "budget spent: 4 trainings"
    store.studies.set_budget(ID, 5)
    assert isinstance(claimed(store), Claimed)


def test_rejected_proposals_leave_the_budget_alone(store):
    for n in range(5):
        lease = claim(store)
        assert queue_of(store).archive_result(lease, evaluation(n + 1, "rejected"))
        queue_of(store).result_reported(lease.id, "rejected")
    ended = claimed(store, proposals=5)
    assert (ended.kind, str(ended)) == (
        "proposals",
        "proposals at their limit: 5 proposed, 0 trained",
    )
    assert isinstance(claimed(store), Claimed)
    assert [store.leases(ID).outcomes()[n] for n in range(5)] == ["rejected"] * 5


def test_trial_of_a_dead_worker_comes_first_and_keeps_its_number(store):
    lease = claim(store, GONE)
    queue_of(store).begin_training(lease, "d")
    taken = claim(store)
    assert (taken.trial, taken.attempt) == (lease.trial, 2)
    assert not queue_of(store, GONE).renew(lease)
    assert queue_of(store).renew(taken)


def test_late_result_is_not_counted(store):
    lease = claim(store, GONE)
    taken = claim(store)
    assert not queue_of(store, GONE).archive_result(lease, evaluation())
    assert store.archive(ID).entries() == {}
    assert queue_of(store).archive_result(taken, evaluation())
    assert len(store.archive(ID).entries()) == 1


def test_trial_that_kills_every_worker_fails(store):
    assert [claim(store, GONE).attempt for _ in range(3)] == [1, 2, 3]
    assert claim(store).trial == 1, "a new one"
    assert store.leases(ID).failures() == {0: "quarantined: its worker was lost, 3 times over"}
    assert [row.trial for row in queue_of(store).unreported()] == [0]


def test_a_released_trial_is_offered_however_often(store):
    for attempt in range(1, 6):
        lease = claim(store)
        assert lease.attempt == attempt
        queue_of(store).release(lease)
    assert (claim(store).trial, store.leases(ID).failures()) == (0, {})


def test_second_trial_of_a_digest_follows_the_first(store):
    e = evaluation()
    first, second = (claim(store) for _ in range(2))
    assert queue_of(store).begin_training(first, e.architecture.digest) == (True, None)
    assert queue_of(store).begin_training(second, e.architecture.digest) == (False, None)
    assert queue_of(store).unreported() == []
    queue_of(store).archive_result(first, e)
    assert {row.trial for row in queue_of(store).unreported()} == {0, 1}


def test_a_live_worker_reports_its_own_results(store):
    lease = claim(store, OTHER)
    queue_of(store).archive_result(lease, evaluation())
    assert queue_of(store, "third/boot/1/1").unreported() == []
    assert len(queue_of(store).unreported()) == 1


def test_no_more_orphans_are_recovered_than_the_budget_has_room_for(store):
    leased = [claim(store).trial for _ in range(3)]
    orphans = [new_trial(store) for _ in range(2)]
    queue_of(store).recover_orphans(dict.fromkeys([*leased, *orphans]))
    assert claim(store).trial == orphans[0], "the fourth of four"
    assert claimed(store) == Wait()


@pytest.mark.parametrize("state", ["training", "pending"])
def test_a_result_that_arrives_during_recovery_is_kept(postgres_url, state):
    """The result arrives after a claim read an expired lease and before it takes the lease."""
    late, other = opened(postgres_url), Store(postgres_url)
    late.lease_s = -1.0
    lease, e = claim(late), evaluation()
    queue_of(late).begin_training(lease, e.architecture.digest)
    if state == "pending":
        with late.transactions.begin() as db:
            db.execute(leases.update().values(state=state))
    kept = []

    @sa.event.listens_for(other.engine, "after_cursor_execute")
    def looked(connection, cursor, statement, *_):
        if "FROM nas_leases" in statement and not kept:
            kept.append(queue_of(late).archive_result(lease, e, reported=True))

    taken = claim(other, "third/boot/1/1")
    assert kept == [ArchiveReceipt("trained", followed=False)]
    assert (taken.trial, taken.attempt) == (1, 1), "a new one"
    assert late.leases(ID).outcomes() == {0: "trained", 1: "proposing"}
    for store in (late, other):
        store.close()


def test_running_trial_without_a_lease_is_recovered(store):
    orphan = new_trial(store)
    queue_of(store).recover_orphans({orphan: None})
    assert claim(store).trial == orphan


def test_a_later_epoch_replaces_the_earlier_one(store):
    """The first trial of the candidate keeps it; its test accuracy is reset."""
    first, later = evaluation(), replace(evaluation(), fidelity=5, accuracy=0.95)
    digest = first.architecture.digest
    trained(store, 0, channels=8)
    store.archive(ID).set_test_accuracy(digest, 0.8)
    assert new_trial(store) == 1
    queue_of(store).enqueue(1, digest)
    queue_of(store).enqueue(1, digest)  # it is there already
    assert store.leases(ID).unfinished() == {digest}
    for attempt, (trained_result, accuracy) in enumerate(((first, 0.9), (later, 0.95)), 1):
        lease = claim(store)
        assert (lease.trial, lease.attempt) == (1, attempt)
        assert queue_of(store).begin_training(lease, digest)[0]
        assert queue_of(store).renew(lease)
        if trained_result is later:
            assert queue_of(store).archive_result(lease, trained_result)
            assert [row.trial for row in queue_of(store).unreported()] == [1]
        else:
            queue_of(store).release(lease)
        assert store.archive(ID).evaluation(digest).accuracy == accuracy
    row = store.archive(ID).entries()[digest]
    assert (row.trial, row.metrics["epochs"], row.test_accuracy) == (0, 5, None)
    assert store.leases(ID).outcomes() == {0: "trained", 1: "continued"}
    queue_of(store).result_reported(lease.id, "continued")
    assert store.leases(ID).unfinished() == set()
    assert sum(isinstance(claimed(store), Claimed) for _ in range(4)) == 3, (
        "no training of the budget"
    )


@pytest.mark.parametrize(
    ("again", "kept"),
    [
        ({"accuracy": 0.1}, "trained"),
        ({"outcome": "rejected", "accuracy": None}, "trained"),
        ({"outcome": "diverged", "accuracy": None, "reason": "loss nan"}, "diverged"),
    ],
)
def test_only_a_later_epoch_or_divergence_replaces_a_result(store, again, kept):
    """Two trials of one candidate: the second result of the same epoch changes nothing."""
    trained(store, 0, channels=8)
    queue_of(store).enqueue(new_trial(store), evaluation().architecture.digest)
    assert queue_of(store).archive_result(claim(store), replace(evaluation(), **again))
    row = store.archive(ID).entries()[evaluation().architecture.digest]
    assert (row.outcome, row.metrics.get("accuracy")) == (kept, 0.9 if kept == "trained" else None)


def test_only_the_expected_specification_is_replaced(store):
    assert store.studies.change_spec(ID, "{}", '{"a": 1}')
    assert not store.studies.change_spec(ID, "{}", '{"b": 1}')
    assert store.studies.change_spec(ID, '{"a": 1}', "{}")


def test_an_evaluation_survives_a_round_trip(store):
    lease, e = claim(store), evaluation()
    queue_of(store).archive_result(lease, e)
    assert store.archive(ID).evaluation(e.architecture.digest) == e
    assert store.archive(ID).evaluation("0" * 16) is None
    store.archive(ID).set_test_accuracy(e.architecture.digest, 0.5)
    assert store.archive(ID).entries()[e.architecture.digest].test_accuracy == 0.5


def test_damaged_evaluation_is_refused():
    text = json.loads(json.dumps(evaluation().to_json()))
    for change in ({"outcome": "won"}, {"accuracy": 7}, {"hardware": {}}, {"more": 1}):
        with pytest.raises(NasError):
            Evaluation.from_json(text | change)


def test_unknown_study_is_named(store):
    with pytest.raises(StudyError, match="no study 'x'"):
        store.studies.get("x")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://h/d", "SQLite or PostgreSQL"),
        ("sqlite:///:memory:", "would be lost"),
        ("sqlite:////nowhere/at/all/nas.db", "folder does not exist"),
        ("what", "no database URL"),
    ],
)
def test_other_stores_are_refused(url, message):
    with pytest.raises(StoreError, match=message):
        Store(url, create=True)


def test_network_disks_are_recognised(tmp_path):
    mounts = tmp_path / "mounts"
    mounts.write_text("/dev/sda / ext4 rw 0 0\nhost:/x /home nfs4 rw 0 0\n")
    assert disk_kind(Path("/home/me"), mounts) == "nfs4"
    assert disk_kind(Path("/homework"), mounts) == "ext4"


def test_network_disk_is_refused_unless_forced(tmp_path, monkeypatch):
    monkeypatch.setattr("nas_service.store.database.disk_kind", lambda folder: "nfs")
    with pytest.raises(StoreError, match="network disk"):
        Store(f"sqlite:///{tmp_path}/nas.db", create=True)
    assert not (tmp_path / "nas.db").exists()
    forced = Store(f"sqlite:///{tmp_path}/nas.db", create=True, any_disk=True)
    assert forced.studies.names() == []
    forced.close()


def test_passwords_are_redacted(tmp_path):
    secret = "postgresql://u:canary@h/d?password=canary"
    with pytest.raises(NasError, match="command line") as caught:
        storage_url(secret, {})
    assert "canary" not in str(caught.value)
    file = tmp_path / "url"
    file.write_text(secret + "\n")
    file.chmod(0o600)
    assert storage_url(None, {"NAS_STORAGE_FILE": str(file)}) == secret
    file.chmod(0o644)
    with pytest.raises(StoreError, match="chmod 600"):
        storage_url(None, {"NAS_STORAGE_FILE": str(file)})
    import sqlalchemy as sa

    assert "canary" not in redacted(sa.make_url(secret))


def test_a_worker_that_lost_a_trial_neither_begins_nor_fails_it(store):
    lost = claim(store, GONE)
    taken = claim(store)
    assert taken.attempt == 2
    with pytest.raises(LeaseLost, match="trial 0"):
        queue_of(store).begin_training(lost, "d")
    queue_of(store).fail(lost, "of another's making")
    assert store.leases(ID).failures() == {}
    assert queue_of(store).begin_training(taken, "d") == (True, None)
    assert queue_of(store).begin_training(taken, "d") == (True, None), "the first reply was lost"
    queue_of(store).fail(taken, "of its own")
    assert store.leases(ID).failures() == {0: "of its own"}


def test_a_trial_that_waits_for_another_worker_keeps_its_place_in_the_budget(store):
    store.studies.set_budget(ID, 1)
    lease = claim(store)
    queue_of(store).crashed(lease, "crash: made up", 3)
    assert claimed(store) == Wait(), (
        "it is pending, and the worker that crashed on it has nothing to do"
    )
    assert claim(store, "third/boot/1/1").attempt == 2


def test_an_attempt_begins_after_the_previous_one_ended(store):
    """Also where its transaction began earlier, and waited for the study."""
    lease = claim(store, "third/boot/1/1")
    begun, go_on = threading.Event(), threading.Event()

    def second():
        with store.transactions.begin() as db:
            if store.engine.dialect.name == "postgresql":
                db.execute(sa.select(1))  # the transaction has begun
            begun.set()
            go_on.wait(90)
            assert claim(store).attempt == 2

    thread = threading.Thread(target=second)
    thread.start()
    assert begun.wait(90)
    time.sleep(0.01)
    queue_of(store, "third/boot/1/1").release(lease)
    go_on.set()
    thread.join()
    with store.transactions.begin() as db:
        first, second_ = db.execute(sa.select(attempts).order_by(attempts.c.attempt)).mappings()
    assert first["started_at"] <= first["finished_at"] <= second_["started_at"]


def test_a_frozen_process_blocks_no_other(postgres_url, monkeypatch):
    """It stopped inside a transaction: its locks are released and its changes are rolled back."""
    monkeypatch.setattr(joining_storage, "FROZEN_s", 0.3)
    frozen, other = opened(postgres_url), Store(postgres_url)

    def stopped():
        with frozen.exclusive(ID):
            first = claim(frozen)
            assert claim(other, "third/boot/1/1").id != first.id, (
                "waits until the server releases the lock"
            )
            claim(frozen)

    with pytest.raises(DBAPIError) as ended:
        stopped()
    assert is_transient(ended.value), "tried again"
    assert isinstance(claimed(frozen), Claimed)
    assert len(set(frozen.leases(ID).workers())) == 2
    for store in (frozen, other):
        store.close()


def test_a_connection_lost_while_optuna_reads_is_transient(postgres_url):
    store, admin = Store(postgres_url, create=True), sa.create_engine(postgres_url)
    study = store.optuna.create_new_study([StudyDirection.MAXIMIZE], "read")
    lost = []

    @sa.event.listens_for(store.engine, "before_cursor_execute")
    def lose(connection, cursor, statement, *_):
        if "FROM trials" in statement and not lost:
            lost.append(connection.connection.driver_connection.info.backend_pid)
            with admin.connect() as db:
                db.execute(sa.text("SELECT pg_terminate_backend(:pid, 5000)"), {"pid": lost[0]})

    with pytest.raises(StorageInternalError) as ended:
        store.optuna.take_snapshot(study)
    assert is_transient(ended.value)
    assert store.optuna.take_snapshot(study) == [], "read again"
    admin.dispose()
    store.close()
