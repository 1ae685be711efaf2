"""A worker under SIGTERM and its like: its trial continues elsewhere, to the same bits."""

import json
import os
import pty
import select
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest
import worker_harness as harness
from click.testing import CliRunner
from nas_command import run_worker
from study_history import StudyHistory
from worker_harness import Plan, WorkerProcess

from nas_service.cli.main import main
from nas_service.errors import Interrupted

pytestmark = pytest.mark.process

STUDY = """
name = "s"
seed = 3
[space]
operations = "light3"
channels = [8]
head_pool = [2]
hidden = [32]
time_steps = [2]
weight_bits = [8]
[data]
name = "digits"
train_samples = 512
[training]
epochs = 8
[search]
sampler = "random"
trainings = 1
[[objectives]]
metric = "accuracy"
direction = "maximize"
"""
LIMIT_s = 90.0  # to release a trial; a second when the machine is idle


class StudyFolder:
    """A folder with the study in a store, and the command to work in it."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        (folder / "s.toml").write_text(STUDY)
        self.storage = f"sqlite:///{folder}/nas.db"
        self.nas("create", str(folder / "s.toml"))

    def nas(self, *words: str) -> None:
        """Runs a command in this process."""
        result = CliRunner().invoke(main, words, env={"NAS_STORAGE": self.storage})
        assert result.exit_code == 0, result.output

    def finish(self) -> None:
        """Works until the study is done, with trainings in this process."""
        run_worker(self.storage, "s")

    def start_worker(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-m", "nas_service", "worker", "--study", "s"],
            cwd=self.folder,
            env={**os.environ, "NAS_STORAGE": self.storage},
            stdout=subprocess.DEVNULL,
        )

    def rows(self, query: str, *values: object) -> list[tuple]:
        with sqlite3.connect(self.folder / "nas.db", timeout=90) as db:
            return db.execute(query, values).fetchall()

    def trained(self) -> tuple[str, list[str]]:
        """State of the trial that is trained, the last one, and the endings of its attempts."""
        ((lease, state),) = self.rows("select max(lease_id), state from nas_leases")
        query = "select result_kind from nas_attempts where lease_id = ? order by attempt"
        return state, [ending for (ending,) in self.rows(query, lease)]

    def checkpoints(self) -> list[Path]:
        return list(self.folder.glob("nas.artifacts/s/*.training.safetensors"))

    def result(self) -> dict:
        query = "select evaluation from nas_archive where outcome = 'trained'"
        ((text,),) = self.rows(query)
        return json.loads(text) | {"seconds": 0}

    def weights(self) -> bytes:
        (path,) = self.folder.glob("nas.artifacts/s/*.safetensors")
        return path.read_bytes()


@pytest.fixture
def place(tmp_path):
    return StudyFolder(tmp_path / "asked")


def test_terminated_once(place, tmp_path):
    worker = place.start_worker()
    harness.wait_until(place.checkpoints, "the first epoch")
    worker.terminate()
    assert worker.wait(LIMIT_s) == 0
    assert place.trained() == ("pending", ["released"])
    assert len(place.checkpoints()) == 1
    place.finish()
    assert place.trained() == ("reported", ["released", "won"])
    uninterrupted = StudyFolder(tmp_path / "whole")
    uninterrupted.finish()
    assert place.result() == uninterrupted.result()
    assert 0.01 < uninterrupted.result()["spike_rate"] < 0.9
    assert place.weights() == uninterrupted.weights()


def test_terminated_twice(place):
    """It loses the epoch in hand, as it does not wait for its training; the trial is released."""
    worker = place.start_worker()
    harness.wait_until(
        lambda: place.rows("select 1 from nas_leases where state = 'training'"), "training"
    )
    harness.wait_until(lambda: trainings(worker.pid), "its process")
    os.kill(*trainings(worker.pid), signal.SIGSTOP)  # it cannot answer
    while worker.poll() is None:  # two signals at a time may be one to the process
        worker.terminate()
        time.sleep(0.1)
    assert worker.returncode == 0
    assert place.trained() == ("pending", ["released"])
    place.finish()
    assert place.trained() == ("reported", ["released", "won"])


@pytest.mark.nightly
def test_three_closed_terminals(place):
    """Of `nas run`, which ends after its workers; the study then continues."""
    for times in (1, 2, 3):
        pid, terminal = start_in_terminal(place)
        wait_for_training(place, terminal)
        workers = children(pid)
        assert workers
        os.close(terminal)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == Interrupted.exit_code
        assert not [worker for worker in workers if Path(f"/proc/{worker}").exists()]
        assert place.trained() == ("pending", ["released"] * times)
    place.finish()
    assert place.trained() == ("reported", ["released"] * 3 + ["won"])


def start_in_terminal(place):
    """Number of the process, and the file descriptor of its terminal."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.chdir(place.folder)
        os.environ["NAS_STORAGE"] = place.storage
        words = ["-m", "nas_service", "run", "s.toml", "--workers", "1"]
        os.execv(sys.executable, [sys.executable, *words])  # noqa: S606
    return pid, terminal


def wait_for_training(place, terminal):
    """Waits while it reads what is shown."""
    deadline = time.monotonic() + harness.WAIT_s
    while not place.rows("select 1 from nas_leases where state = 'training'"):
        assert time.monotonic() < deadline
        if select.select([terminal], [], [], 0.1)[0]:
            os.read(terminal, 65536)


SENT = (*(signal.SIGHUP,) * 3, signal.SIGUSR1)  # three closed terminals, and a batch system


def test_no_signal_that_asks_a_worker_to_end_costs_an_attempt(sqlite_url, tmp_path):
    """More than `max_attempts` workers end with the trial in hand."""
    harness.make_study(sqlite_url, 1)
    for number in SENT:
        plan = Plan(sqlite_url, tmp_path, gates=("training",), training_s=60)
        with harness.running(WorkerProcess(plan)) as (worker,):
            worker.wait_at("training")
            worker.signal(number)
            if number == signal.SIGHUP:
                worker.signal(number)  # the kernel and the shell both send it
            worker.open_gate("training")
            assert worker.wait() == Interrupted.exit_code, worker.log
    last = WorkerProcess(Plan(sqlite_url, tmp_path))
    assert last.wait() == 0, last.log
    history = StudyHistory.read(sqlite_url)
    history.check(1)
    endings = [a["result_kind"] for a in history.attempts]
    assert endings == ["released"] * len(SENT) + ["won"]


def test_a_training_that_others_ask_to_end_costs_no_attempt(sqlite_url, tmp_path):
    """A batch system may signal every process of a job; and the worker is asked to end last."""
    times = 4
    (tmp_path / "crashes").write_text(f"first asked {times}")
    harness.make_study(sqlite_url, 2)
    plan = Plan(sqlite_url, tmp_path, prepare_store=harness.reclaim_soon)
    worker = WorkerProcess(plan, harness.work_with_children)
    assert worker.wait() == 0, worker.log
    history = StudyHistory.read(sqlite_url)
    history.check(2)
    assert [a["result_kind"] for a in history.attempts_at(0)] == ["released"] * times + ["won"]


def trainings(worker: int) -> list[int]:
    """Children of the worker's fork server, which may be forked from the worker's own parent."""
    parent = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    servers = {*children(worker), *children(parent)} - {worker}
    return [training for server in servers for training in children(server)]


def children(pid: int) -> list[int]:
    return [int(w) for w in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
