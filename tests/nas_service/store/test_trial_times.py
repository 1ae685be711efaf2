"""Times of trials in stores that processes of several zones share, and of earlier versions."""

import time
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta

import optuna
import pytest
import sqlalchemy as sa
from optuna.trial import TrialState
from servers.dump import connect
from store_schema import execute, migrated

from nas_service.dashboard.trials import DashboardStorage
from nas_service.store import buffered_storage, joining_storage, trial_times
from nas_service.store.trial_times import UNKNOWN, ZONE, local_time, utc_time

BERLIN, LOS_ANGELES, KOLKATA = "Europe/Berlin", "America/Los_Angeles", "Asia/Kolkata"
SET_BACK = datetime(2025, 10, 26, 1, tzinfo=UTC)  # Berlin: 03:00 becomes 02:00
HALF_HOUR, MINUTE = timedelta(minutes=30), timedelta(minutes=1)
ON_SQLITE = pytest.mark.parametrize("store_url", ["sqlite"], indirect=True)


@pytest.fixture
def zone(monkeypatch):
    """Sets the time zone of this process."""

    def set_zone(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield set_zone
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def store(store_url, opened):
    return opened(store_url, create=True)


@pytest.fixture
def optuna_alone(store_url):
    """Opens the store's tables by Optuna alone."""
    storages = []

    def open_storage():
        address = connect(store_url).url.render_as_string(hide_password=False)
        storages.append(optuna.storages.RDBStorage(address))
        return storages[-1]

    yield open_storage
    for storage in storages:
        storage.remove_session()
        storage.engine.dispose()


def new_study(store):
    study = optuna.create_study(storage=store.optuna, study_name="x")
    store.studies.add(study._study_id, "{}", "data", trainings=4)
    return study


def stored_times(url):
    """Start and end of each trial, as the tables hold them."""
    query = "SELECT datetime_start, datetime_complete FROM trials ORDER BY number"
    columns = {"datetime_start": sa.DateTime, "datetime_complete": sa.DateTime}
    with connect(url).connect() as db:
        return db.execute(sa.text(query).columns(**columns)).all()


def ask(study, way):
    """A running trial: drawn by a worker, made by Optuna alone, or taken from the queue."""
    if way == "alone":
        return study.ask()
    if way == "queued":
        study.enqueue_trial({})
    with study._storage.buffering():
        return study.ask()


def report(store, study, trial, way):
    if way == "alone":
        study.tell(trial, 1.0)
        return
    with store.exclusive(study._study_id):
        study.tell(trial, 1.0)


def test_a_store_of_two_zones_holds_utc(store, store_url, opened, optuna_alone, zone):
    study = new_study(store)
    begin = datetime.now(UTC).replace(tzinfo=None)
    for way in ("drawn", "alone", "queued"):
        zone(LOS_ANGELES)
        with nullcontext() if way == "alone" else store.exclusive(study._study_id):
            trial = ask(study, way)
        zone(KOLKATA)
        report(store, study, trial, way)
    times = stored_times(store_url)
    assert len(times) == 3
    assert all(begin - MINUTE < start <= end < begin + MINUTE for start, end in times)
    for name in (BERLIN, LOS_ANGELES):
        zone(name)
        again = optuna.load_study(storage=opened(store_url).optuna, study_name="x")
        plain = optuna.load_study(storage=optuna_alone(), study_name="x")
        for read in (*again.trials, again._storage.get_trial(1), *plain.trials):
            assert timedelta(0) <= read.duration < MINUTE
            assert abs(read.datetime_start - datetime.now()) < MINUTE


@ON_SQLITE
def test_finished_trials_are_read_once_in_every_zone(store, zone, monkeypatch):
    """Where two ways to read gave two times, the study counted as a new one at each reading."""
    zone(KOLKATA)
    study = new_study(store)
    with store.exclusive(study._study_id):
        study.tell(study.ask(), 1.0)
    view = DashboardStorage(store.optuna)
    first, second = (view.get_all_trials(study._study_id, deepcopy=False) for _ in range(2))
    assert first[0] is second[0]


@ON_SQLITE
def test_the_hour_that_comes_twice(store, store_url, zone, monkeypatch):
    """A trial from half past two, summer time, to half past two, winter time, takes one hour."""

    class Clock(datetime):
        now_s = 0.0

        @classmethod
        def now(cls, tz=None):
            return datetime.fromtimestamp(cls.now_s, tz)

    for module in (joining_storage, buffered_storage, trial_times):
        monkeypatch.setattr(module, "datetime", Clock, raising=False)
    zone(BERLIN)
    study = new_study(store)
    Clock.now_s = (SET_BACK - HALF_HOUR).timestamp()
    with store.exclusive(study._study_id):
        trial = ask(study, "drawn")
    Clock.now_s = (SET_BACK + HALF_HOUR).timestamp()
    report(store, study, trial, "drawn")
    monkeypatch.undo()
    zone(BERLIN)
    expected = [SET_BACK - HALF_HOUR, SET_BACK + HALF_HOUR]
    assert [t.replace(tzinfo=UTC) for t in stored_times(store_url)[0]] == expected
    storage = DashboardStorage(store.optuna)
    for read in (storage.get_trial(1), storage.get_all_trials(study._study_id)[0]):
        assert [utc_time(read.datetime_start), utc_time(read.datetime_complete)] == expected


@pytest.mark.parametrize("name", [BERLIN, LOS_ANGELES, KOLKATA, "UTC", "Australia/Lord_Howe"])
def test_every_time_is_read_as_it_was_written(zone, name):
    """Around each change of clocks in a year, in steps that are no divisor of it."""
    zone(name)
    begin = datetime(2025, 1, 1, 0, 0, 0, 1, UTC)
    times = [begin + n * timedelta(minutes=37, microseconds=333_333) for n in range(14_000)]
    assert [utc_time(local_time(t.replace(tzinfo=None))) for t in times] == times
    assert local_time(None) is None
    assert utc_time(None) is None


def test_times_of_earlier_versions_are_kept_and_marked(old_url, opened, zone):
    zone(KOLKATA)
    execute(
        old_url,
        "INSERT INTO trials (trial_id, number, study_id, state) VALUES (9000, 900, 1, 'WAITING')",
    )
    before = stored_times(old_url)
    migrated(old_url)
    assert stored_times(old_url) == before
    store = opened(old_url, write=True)
    for study_id in (1, 2):
        kept = store.optuna.get_all_trials(study_id)
        seen = DashboardStorage(store.optuna).get_all_trials(study_id)
        for old, view in zip(kept, seen, strict=True):
            if old.state == TrialState.WAITING:  # this version will write its times
                assert ZONE not in old.user_attrs
                continue
            assert old.user_attrs[ZONE] == UNKNOWN
            assert view.duration is None
            start = old.datetime_start.astimezone(UTC)
            assert view.user_attrs["times"].startswith(f"{start:%Y-%m-%d %H:%M:%S} to ")
            assert view.user_attrs["times"].endswith(", zone unknown")
            assert "times" not in old.user_attrs


@ON_SQLITE
def test_a_trial_that_an_earlier_version_began_stays_marked(old_url, opened):
    """Its start is of an unknown zone, its end is UTC: no duration follows."""
    migrated(old_url)
    store = opened(old_url, write=True)
    running = [
        trial
        for study_id in range(1, 7)
        for trial in store.optuna.get_all_trials(study_id, states=(TrialState.RUNNING,))
    ]
    assert running, "the fixture has a running trial"
    store.optuna.set_trial_state_values(running[0]._trial_id, TrialState.FAIL)
    view = DashboardStorage(store.optuna).get_trial(running[0]._trial_id)
    assert (view.state, view.duration) == (TrialState.FAIL, None)


@ON_SQLITE
def test_only_trials_of_ours_are_marked(old_url, opened, optuna_alone):
    """Another program's studies in the same tables were written by Optuna itself."""
    optuna.create_study(storage=optuna_alone(), study_name="theirs").ask()
    migrated(old_url)
    (trial,) = optuna.load_study(storage=opened(old_url).optuna, study_name="theirs").trials
    assert trial.user_attrs == {}


@ON_SQLITE
def test_new_trials_of_a_migrated_study_are_not_marked(old_url, opened):
    migrated(old_url)
    store = opened(old_url, write=True)
    study = optuna.load_study(storage=store.optuna, study_name="growing")
    assert study.ask().user_attrs == {}
