"""A study's history is judged: a whole one has nothing wrong, each broken one is named."""

import re
import shutil

import chaos
import history
import pytest
import simulated
import sqlalchemy as sa

from nas_service.searches.session import open_search
from nas_service.store.store import Store

TRAININGS = 5
OTHER = "(SELECT digest FROM nas_leases WHERE trial = {good})"


@pytest.fixture(scope="module")
def finished_file(tmp_path_factory):
    """The file of a study of five trainings, some of its candidates rejected."""
    file = tmp_path_factory.mktemp("finished") / "nas.db"
    url = f"sqlite:///{file}"
    simulated.make_study(url, simulated.spec("chaos", TRAININGS, space=chaos.SPACE, seed=1))
    worker = simulated.make_worker(url, "chaos", rejected=0.7)
    worker.run()
    worker.search.store.close()
    return file


@pytest.fixture
def copied(finished_file, tmp_path):
    file = tmp_path / "nas.db"
    shutil.copy(finished_file, file)
    return f"sqlite:///{file}"


def read(url):
    store = Store(url)
    result = history.read(open_search(store, "chaos"))
    store.close()
    return result


def trained(h):
    """Numbers of the first two trials that were trained."""
    return sorted(row["trial"] for row in h.archive if row["outcome"] == "trained")[:2]


def test_a_complete_history_has_no_violations(copied):
    h = read(copied)
    assert (h.trainings, h.budget, h.twice) == (TRAININGS, TRAININGS, 0)
    assert len(h.leases) > TRAININGS, "some were rejected"
    assert history.violations(h) == []


LEASE = "(SELECT lease_id FROM nas_leases WHERE trial = {trial})"
# A second attempt at a trial.
ATTEMPT = (
    "INSERT INTO nas_attempts "
    "(lease_id, attempt, study_id, worker, started_at, finished_at, result_kind) "
    "SELECT lease_id, 2, study_id, worker, STARTED, finished_at + 1, 'KIND' FROM nas_attempts "
    "WHERE lease_id = LEASE"
)
BROKEN = {
    "too little": ("UPDATE nas_studies SET trainings = 6", "budget: 5 trainings .* 6 were"),
    "too much": ("UPDATE nas_studies SET trainings = 4", "budget: 5 trainings .* 4 were"),
    "twice": (
        "UPDATE nas_leases SET digest = OTHER WHERE trial = {trial}",
        "candidate .* counted 2 times",
    ),
    "no end": (
        "UPDATE nas_leases SET state = 'training' WHERE trial = {trial}",
        "trial {trial}: its lease has no end",
    ),
    "failure not reported": (
        "UPDATE nas_leases SET state = 'failed', deadline = 1 WHERE trial = {trial}",
        "trial {trial}: its failure was not reported",
    ),
    "failed and won": (
        "UPDATE nas_leases SET state = 'failed' WHERE trial = {trial}",
        "trial {trial}: failed, and yet an attempt won",
    ),
    "attempt without end": (
        "UPDATE nas_attempts SET finished_at = NULL WHERE lease_id = LEASE",
        "trial {trial}: attempt 1 has no end",
    ),
    "ends before it begins": (
        "UPDATE nas_attempts SET finished_at = started_at - 1 WHERE lease_id = LEASE",
        "trial {trial}: attempt 1 ends before it begins",
    ),
    "no winner": (
        "UPDATE nas_attempts SET result_kind = 'lost' WHERE lease_id = LEASE",
        "trial {trial}: 0 of its attempts count",
    ),
    "two winners": (
        ATTEMPT.replace("STARTED", "finished_at").replace("KIND", "won"),
        "trial {trial}: 2 of its attempts count",
    ),
    "one more attempt": (
        ATTEMPT.replace("STARTED", "finished_at").replace("KIND", "lost"),
        "trial {trial}: an attempt follows the one that counts",
    ),
    "attempts that nobody gave": (
        ATTEMPT.replace("STARTED", "finished_at").replace("KIND", "lost"),
        "trial {trial}: 2 attempts, its lease knows of 1",
    ),
    "two at a time": (
        ATTEMPT.replace("STARTED", "finished_at - 0.001").replace("KIND", "won"),
        "trial {trial}: attempts 1 and 2 overlap",
    ),
    "attempt at nothing": (
        "UPDATE nas_attempts SET lease_id = 999 WHERE lease_id = 1",
        "attempt 1 at lease 999: there is no such lease",
    ),
    "numbers": ("UPDATE trials SET number = 99 WHERE number = {trial}", "numbers are not 0 to"),
    "running": (
        "UPDATE trials SET state = 'RUNNING' WHERE number = {trial}",
        "trial {trial}: still RUNNING in Optuna",
    ),
    "without a lease": (
        "DELETE FROM nas_leases WHERE trial = {trial}",
        "trial {trial}: reported in Optuna alone",
    ),
    "failed in Optuna": (
        "UPDATE trials SET state = 'FAIL' WHERE number = {trial}",
        "trial {trial}: reported in our leases alone",
    ),
    "values": (
        "UPDATE trial_values SET value = 0.5 WHERE objective = 0 AND trial_id = "
        "(SELECT trial_id FROM trials WHERE number = {trial})",
        "trial {trial}: accuracy is 0.5 in Optuna",
    ),
    "parameters": (
        "UPDATE trial_params SET param_value = 3 - param_value WHERE trial_id = "
        "(SELECT trial_id FROM trials WHERE number = {trial}) AND param_name LIKE '%edge%'",
        "trial {trial}: its parameters are of candidate",
    ),
    "result gone": (
        "DELETE FROM nas_archive WHERE trial = {trial}",
        "trial {trial}: its candidate .* is not in the archive",
    ),
    "result of another trial": (
        "UPDATE nas_archive SET trial = {good} WHERE trial = {trial}",
        "candidate .*: trial {good} did not end with it",
    ),
    "another result": (
        "UPDATE nas_archive SET evaluation = replace(evaluation, '0.', '0.0') WHERE trial={trial}",
        "trial {trial}: what its attempt won with is not what the archive has",
    ),
    "front": (
        "UPDATE nas_archive SET metrics = json_set(metrics, '$.accuracy', 1.0, '$.energy_uJ', 0.0) "
        "WHERE trial = {trial}",
        "candidate .*: on the true front alone",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BROKEN)
def test_every_violation_is_named(name, copied):
    statement, expected = BROKEN[name]
    statement = statement.replace("LEASE", LEASE).replace("OTHER", OTHER)
    trial, good = trained(read(copied))
    engine = sa.create_engine(copied)
    with engine.begin() as db:
        changed = db.exec_driver_sql(statement.format(trial=trial, good=good))
        assert changed.rowcount > 0
    engine.dispose()
    result = history.violations(read(copied))
    pattern = expected.format(trial=trial, good=good)
    assert any(re.search(pattern, line) for line in result), result
