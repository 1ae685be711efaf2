"""Optuna's gRPC proxy between workers and Optuna's tables: leases, budgets and results hold."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from optuna.trial import TrialState

from nas_service.errors import StoreError
from nas_service.opening import open_search
from nas_service.proxy import proxy_storage
from nas_service.store import Store

SERVER = """
import sys, warnings
import optuna
warnings.simplefilter("ignore")
storage = optuna.storages.RDBStorage(sys.argv[1])
optuna.storages.run_grpc_proxy_server(storage, host="127.0.0.1", port=int(sys.argv[2]))
"""
BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
WORKER = """
import sys
import simulated
train = simulated.training(lambda a: 0.2)
hand = simulated.hired(sys.argv[1], "x", train, rejected=0.3, lease_s=3.0)
print(simulated.work(hand))
"""


class Proxy:
    """A real server in a process of its own, at one port for its life and the next."""

    def __init__(self, url, port):
        self.words, self.port = [sys.executable, "-c", SERVER, url, str(port)], port
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.words, stderr=subprocess.DEVNULL)
        proxy_storage(f"grpc://127.0.0.1:{self.port}").wait_server_ready(timeout=60)

    def kill(self):
        self.process.kill()
        self.process.wait()


@pytest.fixture
def proxy(postgres_url, monkeypatch, unused_port):
    monkeypatch.syspath_prepend(BENCHMARKS)
    import simulated

    simulated.made(postgres_url, simulated.spec("x", 16, proposals_per_training=10))
    monkeypatch.setenv("NAS_DATABASE", postgres_url)
    from sqlalchemy.engine import make_url

    driver = make_url(postgres_url).set(drivername="postgresql+psycopg")
    made = Proxy(driver.render_as_string(hide_password=False), unused_port)
    yield made
    made.kill()


@pytest.fixture
def unused_port():
    import socket

    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def worker(proxy):
    address = f"grpc://127.0.0.1:{proxy.port}"
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS)}
    command = [sys.executable, "-c", WORKER, address]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def told(search):
    return [t for t in search.study.get_trials() if t.state == TrialState.COMPLETE]


def test_a_killed_worker_and_a_proxy_that_restarts_lose_and_double_nothing(proxy, postgres_url):
    crew = [worker(proxy) for _ in range(3)]
    store = Store(postgres_url)
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
    assert all("budget spent: 16 trainings" in end for end in ends[1:])
    outcomes = store.outcomes(search.id)
    trials = search.study.get_trials()
    assert {t.state for t in trials} == {TrialState.COMPLETE}
    assert sorted(outcomes) == [t.number for t in trials] == list(range(len(trials)))
    assert sum(outcome == "trained" for outcome in outcomes.values()) == 16
    assert all(len(t.params) == 20 and len(t.constraints) == 5 for t in trials)
    store.close()


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
