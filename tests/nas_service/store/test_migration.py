"""Stores of other releases are migrated, refused or left as they are."""

import pytest
import sqlalchemy as sa
from optuna.storages import RDBStorage
from servers.dump import connect, rows
from store_schema import execute, migrated

from nas_service.errors import StoreError
from nas_service.store import migration, schema
from nas_service.store.database import checked_url
from nas_service.store.store import Store


def test_an_old_store_is_refused_until_it_is_migrated(old_url):
    before = rows(old_url)
    for how in ({}, {"write": True}, {"create": True}):
        with pytest.raises(
            StoreError, match=r"earlier release \(revision 2.*`nas migrate`"
        ) as error:
            Store(old_url, **how)
        assert "\n" not in str(error.value)
    assert rows(old_url) == before
    assert migrated(old_url) == f"migrated from revision 2 to {schema.HEAD}"
    with connect(old_url).connect() as db:
        assert migration.differences(db) == []
    after = rows(old_url)
    renamed = {"nas_starts": "nas_initial_trials"}
    counts = {renamed.get(t, t): len(r) for t, r in before.items()}
    attributes = "trial_user_attributes"
    rejected, marked = (
        sum(key in row for row in after[attributes]) for key in ("rejected_by", "time_zone")
    )
    assert 0 < rejected < marked, "the latter are all trials that have a time"
    assert {t: len(r) for t, r in after.items()} == counts | {
        attributes: counts[attributes] + rejected + marked
    }


def test_an_old_store_keeps_its_facts(old_url, opened):
    """Under the new names of columns and states; nothing else changes."""

    def facts(table, *columns):
        with connect(old_url).connect() as db:
            query = sa.select(*map(sa.column, columns)).select_from(sa.table(table))
            return sorted(db.execute(query).all(), key=repr)

    attempt = ("lease_id", "attempt", "study_id", "result", "reason")
    lease = ("lease_id", "study_id", "trial", "digest", "outcome", "attempt", "deadline", "reason")
    before = [
        facts("nas_attempts", *attempt, "owner", "began", "ended", "ending"),
        facts("nas_leases", *lease, "owner", "state"),
        facts("nas_clocks", "study_id", "spent_s", "beat"),
        facts("nas_starts", "study_id", "place", "parameters"),
    ]
    migrated(old_url)
    after = [
        facts("nas_attempts", *attempt, "worker", "started_at", "finished_at", "result_kind"),
        facts("nas_leases", *lease, "worker", "state"),
        facts("nas_clocks", "study_id", "elapsed_s", "last_beat"),
        facts("nas_initial_trials", "study_id", "position", "parameters"),
    ]
    words = {"told": "reported", "waiting": "pending", "following": "awaiting_duplicate"}
    words |= {"answered": "from_archive"}
    assert after == [
        sorted(((*row[:-1], words.get(row[-1], row[-1])) for row in table), key=repr)
        for table in before
    ]
    assert {row[-1] for row in after[1]} >= {"reported", "pending", "awaiting_duplicate"}
    store = opened(old_url, write=True)
    outcomes = [store.leases(row[0]).outcomes() for row in after[2]]
    assert any("trained" in result.values() for result in outcomes)


def test_leases_without_a_trial_are_not_migrated(old_url):
    """The old version left one where a worker that used a proxy was killed."""
    execute(
        old_url,
        "INSERT INTO nas_leases (lease_id, study_id, state, attempt, owner, deadline) "
        "VALUES (9999, 1, 'proposing', 1, 'a/b/1/1', 0)",
        "INSERT INTO nas_attempts (lease_id, attempt, study_id, owner, began) "
        "VALUES (9999, 1, 1, 'a/b/1/1', 0)",
    )
    migrated(old_url)
    for table in ("nas_leases", "nas_attempts"):
        with connect(old_url).connect() as db:
            query = sa.select(sa.column("lease_id")).select_from(sa.table(table))
            assert 9999 not in db.execute(query).scalars().all()


def test_attempts_that_ran_out_of_memory_get_their_own_kind(old_url):
    set_reason = "UPDATE nas_attempts SET reason = 'oom: SIGKILL' WHERE ending = 'crashed'"
    execute(old_url, set_reason)
    migrated(old_url)
    with connect(old_url).connect() as db:
        kinds = sa.select(sa.column("result_kind")).select_from(sa.table("nas_attempts"))
        kinds = set(db.execute(kinds).scalars().all())
    assert "oom" in kinds
    assert "crashed" not in kinds


def test_a_store_that_keeps_no_revision_is_left_as_it_was(old_url):
    """Such were made before the first release."""
    execute(old_url, "DROP TABLE nas_alembic_version")
    before = rows(old_url)
    for open_it in (Store, lambda u: Store(u, create=True), migrated):
        with pytest.raises(StoreError) as refused:
            open_it(old_url)
        assert "\n" not in str(refused.value)
    assert rows(old_url) == before


def test_a_later_release_is_left_alone(store_url):
    migrated(store_url)
    execute(store_url, "UPDATE nas_alembic_version SET version_num = '7'")
    before = rows(store_url)
    for open_it in (Store, lambda u: Store(u, create=True), migrated):
        with pytest.raises(StoreError, match=r"later release \(revision 7.*`nas migrate`"):
            open_it(store_url)
    assert rows(store_url) == before


def test_a_damaged_old_store_is_left_as_it_was(old_url):
    execute(old_url, "ALTER TABLE nas_archive DROP COLUMN test_accuracy")
    before = rows(old_url)
    with pytest.raises(StoreError, match="of no release of ours"):
        migrated(old_url)
    assert rows(old_url) == before


def test_earlier_tables_of_optuna_are_brought_up_to_date(store_url, opened):
    """From a revision on which one index is missing."""
    migrated(store_url)
    execute(store_url, "UPDATE alembic_version SET version_num = 'v3.0.0.d'")
    before = rows(store_url)
    for how in ({}, {"create": True}):
        with pytest.raises(StoreError, match="`nas migrate`"):
            Store(store_url, **how)
    assert rows(store_url) == before
    migrated(store_url)
    assert rows(store_url)["alembic_version"] == ["('v3.2.0.a',)"]
    opened(store_url)


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (("UPDATE version_info SET library_version = '4.9.0'",), r"Optuna 4\.9\.0"),
        (("UPDATE version_info SET library_version = '3.0.0rc1'",), r"Optuna 3\.0\.0rc1"),
        (("DELETE FROM version_info",), "another program's"),
    ],
)
def test_databases_of_other_optunas_are_refused(store_url, made, message):
    RDBStorage(checked_url(store_url).render_as_string(False)).engine.dispose()
    execute(store_url, *made)
    refused(store_url, f"{message}.*a database of its own")


@pytest.mark.parametrize(
    "made",
    [
        (
            "CREATE TABLE alembic_version (version_num TEXT)",
            "INSERT INTO alembic_version VALUES (1)",
        ),
        ("CREATE TABLE studies (id INTEGER, title TEXT)",),
    ],
    ids=["alembic", "studies"],
)
def test_databases_of_other_programs_are_refused(store_url, made):
    execute(store_url, *made)
    refused(store_url, "another program's.*a database of its own")


def refused(url, message):
    before = rows(url)
    for open_it in (Store, lambda u: Store(u, create=True), migrated):
        with pytest.raises(StoreError, match=message) as caught:
            open_it(url)
        assert "\n" not in str(caught.value)
    assert rows(url) == before


def test_a_store_opens_with_any_supported_optuna_tables(store_url, opened):
    migrated(store_url)
    execute(store_url, "UPDATE version_info SET library_version = '4.9.0'")
    opened(store_url)
