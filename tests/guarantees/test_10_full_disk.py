"""A full disk: the worker ends with exit code 4; store and study can still be used."""

import resource
import signal
import sqlite3
from contextlib import contextmanager

import pytest
import simulated
import torch
import worker_harness as harness
from study_history import StudyHistory
from worker_harness import Plan, WorkerProcess

from nas_service.snn.checkpoint import save_weights
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.store.records import Lease
from nas_service.worker.spool import Spool
from nas_service.worker.training_process.failures import kind_of


@pytest.mark.process
def test_10_full_disk(sqlite_url, tmp_path):
    harness.make_study(sqlite_url, 20)
    full = WorkerProcess(Plan(sqlite_url, tmp_path, prepare_store=harness.fill_disk))
    assert full.wait() == 4, full.log
    assert "disk is full" in full.log
    assert "unreachable" not in full.log, "waiting would not help"
    with sqlite3.connect(tmp_path / "nas.db") as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    won = [a for a in StudyHistory.read(sqlite_url).attempts if a["result_kind"] == "won"]
    assert len(won) < 20
    later = WorkerProcess(Plan(sqlite_url, tmp_path))
    assert later.wait() == 0, later.log
    StudyHistory.read(sqlite_url).check(20)


@contextmanager
def no_large_files():
    """Of this process none grows beyond a kilobyte, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1024, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)


def test_10_weights_leave_no_half_file(tmp_path):
    with no_large_files(), pytest.raises(Exception, match=r"File too large|os error 27") as error:
        save_weights(torch.nn.Linear(100, 100), tmp_path / "w.safetensors")
    assert kind_of(error.value) == "disk", "the machine's fault"
    assert list(tmp_path.iterdir()) == []


def test_10_a_result_needs_no_copy(tmp_path, caplog):
    """Where the spool's disk is full, the result is still reported to the store."""
    architecture = Architecture((Cell(("skip",) * 6),), 8, 1, 8, 2, 8)
    result = simulated.Evaluator(simulated.spec("s", 1)).screen(architecture, 1)
    reported = []
    with no_large_files(), Spool(tmp_path).keeping(1, Lease(1, 0, 1), "me", result):
        reported.append(result)
    assert reported == [result]
    assert "File too large" in caplog.text
    assert list(tmp_path.iterdir()) == []
