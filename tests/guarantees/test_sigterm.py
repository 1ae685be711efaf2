"""`nas worker` under SIGTERM: its trial continues elsewhere, to the same bits."""

import json
import os
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

from nas_service.cli.main import main

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
epochs = 12
[search]
sampler = "random"
trainings = 1
[[objectives]]
metric = "accuracy"
direction = "maximize"
"""
LIMIT_s = 30.0  # to release a trial; a second when the machine is idle


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
        with sqlite3.connect(self.folder / "nas.db", timeout=30) as db:
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
    """It ends at once, and another worker takes over its lease."""
    worker = place.start_worker()
    harness.wait_until(
        lambda: place.rows("select 1 from nas_leases where state = 'training'"), "training"
    )
    (child,) = children(worker.pid)
    os.kill(child, signal.SIGSTOP)  # the training cannot answer
    while worker.poll() is None:  # two signals at a time may be one to the process
        worker.terminate()
        time.sleep(0.1)
    assert worker.returncode == 128 + signal.SIGTERM
    os.kill(child, signal.SIGCONT)
    assert place.trained() == ("training", [None])
    place.finish()
    assert place.trained() == ("reported", ["lost", "won"])


def children(pid: int) -> list[int]:
    return [int(w) for w in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
