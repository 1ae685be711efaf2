"""Optuna's gRPC proxy between workers and Optuna's tables: leases, budgets and results hold."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import simulated
from optuna.trial import TrialState
from servers.grpc import Proxy

from nas_service.errors import StoreError
from nas_service.searches.creation import open_search
from nas_service.store.store import Store

BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
WORKER = """
import sys
import simulated
train = simulated.training(lambda a: 0.2)
hand = simulated.hired(sys.argv[1], "x", train, rejected=0.3, lease_s=3.0)
print(simulated.work(hand))
"""


@pytest.fixture
def proxy(postgres_url, monkeypatch):
    simulated.made(postgres_url, simulated.spec("x", 16, proposals_per_training=10))
    monkeypatch.setenv("NAS_DATABASE", postgres_url)
    with Proxy(postgres_url) as made:
        yield made


def worker(proxy):
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    command = [sys.executable, "-c", WORKER, proxy.url]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def told(search):
    return [t for t in search.study.get_trials() if t.state == TrialState.COMPLETE]


def test_a_killed_worker_and_a_proxy_that_restarts_lose_and_double_nothing(proxy, postgres_url):
    crew = [worker(proxy) for _ in range(3)]
    with contextlib.closing(Store(postgres_url)) as store:
        check(crew, proxy, store)


def check(crew, proxy, store):
    search = open_search(store, "x")
    end = time.monotonic() + 120
    while len(told(search)) < 3:
        assert time.monotonic() < end, "the workers do nothing"
        time.sleep(0.1)
    crew[0].send_signal(signal.SIGKILL)
    proxy.kill()
    time.sleep(1)
    proxy.start()
    ends = [w.communicate(timeout=120)[0] for w in crew]
    assert [w.returncode for w in crew] == [-signal.SIGKILL, 0, 0]
    assert ends[1:] == ["budget spent: 16 trainings\n"] * 2
    outcomes = store.outcomes(search.id)
    trials = search.study.get_trials()
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    assert sorted(outcomes) == [t.number for t in trials] == list(range(len(trials)))
    assert sum(outcome == "trained" for outcome in outcomes.values()) == 16
    assert all(len(t.params) == 20 and len(t.constraints) == 5 for t in trials)


def test_a_trial_that_has_no_lease_takes_the_place_of_a_new_one(proxy, postgres_url):
    """As a worker leaves it that is lost between Optuna's commit and ours."""
    hand = simulated.hired(proxy.url, "x")
    hand._keep_house = lambda again: None  # which would find it too, where the budget has room
    left = hand.search.study.ask()
    assert simulated.work(hand) == "budget spent: 16 trainings"
    with contextlib.closing(Store(postgres_url)) as store:
        trials = open_search(store, "x").study.get_trials()
    assert [t.number for t in trials] == list(range(16))
    assert len(trials[left.number].params) == 20


@pytest.mark.parametrize(
    ("address", "said"),
    [
        ("grpc://", "grpc://HOST:PORT"),
        ("grpc://host", "grpc://HOST:PORT"),
        ("grpc://user:canary@host:1", "grpc://HOST:PORT"),
        ("grpc://host:1/x", "grpc://HOST:PORT"),
        ("grpc://host:x", "grpc://HOST:PORT"),
    ],
)
def test_a_wrong_address_is_refused(address, said, tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_DATABASE", f"sqlite:///{tmp_path}/nas.db")
    with pytest.raises(StoreError, match=said) as caught:
        Store(address, create=True)
    assert "canary" not in str(caught.value)


def test_the_database_behind_a_proxy_must_be_named(monkeypatch):
    monkeypatch.delenv("NAS_DATABASE", raising=False)
    with pytest.raises(StoreError, match="NAS_DATABASE_FILE"):
        Store("grpc://127.0.0.1:13000")
