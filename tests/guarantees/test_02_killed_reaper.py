"""A worker that takes a lost trial over may be killed at that: the trial is offered again, once."""

import pytest
import worker_harness as harness
from study_history import StudyHistory
from worker_harness import Plan, WorkerProcess

pytestmark = pytest.mark.process

CLAIM = range(12, 42)  # moments from before a worker's claim to its training


@pytest.mark.parametrize("step", [2, pytest.param(1, marks=pytest.mark.nightly)])
def test_02_killed_while_recovering_a_trial(store_url, tmp_path, step):
    """At each of its moments, or every other, from the first to the training, in turn."""
    harness.make_study(store_url, 6, max_attempts=100)
    kills = tuple((moment,) for moment in CLAIM[::step])
    killed = WorkerProcess(Plan(store_url, tmp_path, kills=kills), harness.work_and_be_killed)
    assert killed.wait() == 0, killed.log
    halfway = StudyHistory.read(store_url)
    drawn = {t.number: t.params for t in halfway.trials if t.params}
    last = WorkerProcess(Plan(store_url, tmp_path))
    assert last.wait() == 0, last.log
    history = StudyHistory.read(store_url)
    history.check(6)
    assert len(history.trials) == 6, "no trial replaces another"
    assert all(history.trials[number].params == params for number, params in drawn.items())
    assert sum(a["result_kind"] == "lost" for a in history.attempts) >= 5 / step
