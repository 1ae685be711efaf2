"""Faults of one machine: its worker ends and gives its trial back; no candidate is charged."""

import errno
import json
from collections import Counter

import pytest
import simulated
import sqlalchemy as sa
from launched_study import StudyInStore
from study_history import StudyHistory

from nas_service.cli.main import library_failure
from nas_service.errors import DataError, MachineFault, SickWorker, StoreError, TooManyFailures
from nas_service.searches.stopping import end_reason
from nas_service.store.failures import forgive
from nas_service.worker.local_pool import LocalWorkerPool
from nas_service.worker.training_process import ChildFailure
from nas_service.worker.training_process.failures import kind_of

FAULTS = {
    "permission": PermissionError(errno.EACCES, "Permission denied", "w.safetensors"),
    "device": ChildFailure("device", "CUDA error: uncorrectable ECC error encountered"),
}


def raising(error):
    def train(*_):
        raise error

    return train


def worker_on(url, host, train=None, lines=None):
    report = (lambda text: None) if lines is None else lines.append
    made = simulated.make_worker(url, "s", train, report=report)
    name = f"{host}/boot-of-{host}/1/1"
    object.__setattr__(made.assignment.queue, "worker", name)
    return made


@pytest.mark.parametrize("fault", FAULTS)
def test_a_machine_that_cannot_train_blames_nobody_and_the_study_continues_elsewhere(
    sqlite_url, fault
):
    simulated.make_study(sqlite_url, simulated.spec("s", 3))
    for _ in range(2):  # it is started again
        with pytest.raises(MachineFault, match=r"trial 0 was given back: .*\(on sick\)") as caught:
            simulated.work(worker_on(sqlite_url, "sick", raising(FAULTS[fault])))
        assert caught.value.exit_code == 4
    simulated.work(worker_on(sqlite_url, "well"))
    history = StudyHistory.read(sqlite_url)
    history.check(3)
    assert {row["state"] for row in history.leases} == {"reported"}
    kinds = [a["result_kind"] for a in history.attempts_at(0)]
    assert kinds == ["released", "released", "won"]


def test_a_trial_that_no_machine_can_train_fails(sqlite_url):
    """Its weights may be too large for every disk: it does not end one worker after the other."""
    simulated.make_study(sqlite_url, simulated.spec("s", 1, max_attempts=3))
    for host in ("a", "a", "b"):
        with pytest.raises(MachineFault):
            simulated.work(
                worker_on(
                    sqlite_url, host, raising(OSError(errno.ENOSPC, "No space left on device"))
                )
            )
    (row,) = StudyHistory.read(sqlite_url).leases
    assert row["state"] == "failed"
    assert row["reason"].startswith("quarantined: OSError: [Errno 28]")
    assert row["reason"].endswith("given back 3 times")


def test_a_store_that_refuses_is_no_fault_of_the_candidate(sqlite_url):
    simulated.make_study(sqlite_url, simulated.spec("s", 1))
    refused = sa.exc.ProgrammingError(
        "insert", None, Exception("permission denied for nas_archive")
    )
    with pytest.raises(StoreError, match="permission denied for nas_archive"):
        simulated.work(worker_on(sqlite_url, "a", raising(refused)))
    (row,) = StudyHistory.read(sqlite_url).leases
    assert row["state"] == "training", "its lease runs out"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (RuntimeError("CUDA error: an illegal memory access was encountered"), "crash"),
        (RuntimeError("CUDA error: out of memory"), "oom"),
        (RuntimeError("Found no NVIDIA driver on your system."), "device"),
        (ValueError("Error while serializing: I/O error: Permission denied (os error 13)"), "disk"),
        (RuntimeError("CUDA error: uncorrectable ECC error encountered"), "device"),
        (DataError("digits: train.npy is damaged"), "setup"),
        (OSError(errno.EMFILE, "Too many open files"), "disk"),
        (RuntimeError("size mismatch"), "error"),
        (FileNotFoundError(errno.ENOENT, "No such file", "w"), "disk"),
    ],
)
def test_kinds_of_faults(error, kind):
    assert kind_of(error) == kind


def failing(*_):
    raise ValueError("no such operation on this machine")


def test_a_machine_on_which_all_fails_ends_and_the_study_continues_on_others(sqlite_url):
    simulated.make_study(sqlite_url, simulated.spec("s", 3, max_failures=2))
    simulated.work(worker_on(sqlite_url, "well"), max_trials=1)
    for count in (3, 3):  # it is started again, and tries nothing
        with pytest.raises(SickWorker, match=f"{count} trials failed on sick alone, more than"):
            simulated.work(worker_on(sqlite_url, "sick", failing))
    assert "budget spent" in simulated.work(worker_on(sqlite_url, "well"))
    history = StudyHistory.read(sqlite_url)
    assert Counter(row["state"] for row in history.leases) == {"reported": 3, "failed": 3}


def test_a_study_that_failed_on_its_only_machine_ends_and_is_continued_by_forgiving(sqlite_url):
    simulated.make_study(sqlite_url, simulated.spec("s", 2, max_failures=2))
    for _ in range(2):
        with pytest.raises(TooManyFailures, match=r"3 on laptop .*`nas resume s --forgive`"):
            simulated.work(worker_on(sqlite_url, "laptop", failing))
    worker = worker_on(sqlite_url, "laptop")
    search = worker.search
    assert "`nas resume s --forgive`" in (end_reason(search) or "")
    assert forgive(search.store, search.id) == 3
    assert "budget spent" in simulated.work(worker)


def test_forgiving_on_the_command_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(LocalWorkerPool, "run", lambda *_: None)
    study = StudyInStore(tmp_path, epochs=1, trainings=1)
    with pytest.raises(TooManyFailures):
        simulated.work(simulated.make_worker(f"sqlite:///{study.db}", "tiny", failing))
    _, output = study.nas("status", "tiny", "--json")
    ended = json.loads(output)["ended"]
    assert "11 trials failed, 11 on " in ended
    assert "(ValueError: no such operation on this machine)" in ended
    assert "`nas resume tiny --forgive` continues" in ended
    _, output = study.nas("resume", "tiny", "--forgive", "--data", str(tmp_path))
    assert "study tiny: 11 failed trials no longer count" in output
    _, output = study.nas("status", "tiny", "--json")
    document = json.loads(output)
    assert (document["ended"], len(document["failures"])) == (None, 11)


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (PermissionError(13, "Permission denied", "weights"), "weights: Permission denied"),
        (OSError(28, "No space left on device"), "OSError: [Errno 28] No space left on device"),
        (RuntimeError("Found no NVIDIA driver on your system"), "RuntimeError: Found no NVIDIA"),
        (MemoryError(), "MemoryError"),
    ],
)
def test_a_fault_of_the_machine_is_one_line_of_any_command(error, text):
    failure = library_failure(error)
    assert failure is not None
    assert failure[0].startswith(f"this machine cannot do it: {text}")
    assert failure[1] == 4
    assert library_failure(BrokenPipeError(32, "Broken pipe")) is None
    assert library_failure(ValueError("a fault of the program")) is None
