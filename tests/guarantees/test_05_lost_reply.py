"""The reply to a commit is lost: the worker finds out what succeeded and does nothing twice."""

import random

import pytest
import worker_harness as harness
from servers.proxy import Proxy
from study_history import StudyHistory
from worker_harness import Plan, WorkerProcess

pytestmark = pytest.mark.process

TRIALS = 6


def test_05_lost_reply(postgres_url, tmp_path):
    """Of one commit in three, at random: of claims, beginnings and results."""
    harness.make_study(postgres_url, TRIALS)
    with (
        Proxy(postgres_url) as proxy,
        harness.running(WorkerProcess(Plan(proxy.url, tmp_path, gates=("run",)))) as (worker,),
    ):
        worker.wait_at("run")
        draw = random.Random(7)
        proxy.loses = lambda: draw.random() < 1 / 3
        worker.open_gate("run")
        assert worker.wait() == 0, worker.log
    assert proxy.lost >= TRIALS
    history = StudyHistory.read(postgres_url)
    history.check(TRIALS)
    assert len(history.attempts) == len(history.trials), "nothing was done again"
