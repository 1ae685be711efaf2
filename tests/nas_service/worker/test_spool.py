"""Results on the disk of a machine, of workers that ended before the store had them."""

import errno
from contextlib import suppress

import pytest
from trial_queues import GONE

from hw_models import Layer, Workload, load_profile
from nas_service.errors import StoreError
from nas_service.metrics import Evaluation
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.store.records import Lease
from nas_service.worker.spool import Spool

REPORT = load_profile("corrected").estimate(Workload((Layer("a", "linear", 4, 4),), 2))
RESULT = Evaluation(Architecture((Cell(("skip",) * 6),), 8, 1, 8, 2, 8), "rejected", REPORT, 0.1, 1)
UNKNOWN = "another/container/1/1"  # whether it lives cannot be seen


def spooled_result(spool, trial, study_id=1):
    """A result whose worker is gone."""
    with pytest.raises(RuntimeError), spool.keeping(study_id, Lease(trial, trial, 1), GONE, RESULT):
        raise RuntimeError("the store is unreachable")


def test_a_result_that_was_archived_is_dropped(tmp_path):
    spool = Spool(tmp_path)
    with spool.keeping(1, Lease(4, 4, 1), GONE, RESULT):
        assert [w.lease.trial for w in spool.results(1)] == [4]
    assert list(tmp_path.iterdir()) == []


def test_a_result_that_another_worker_has_archived_meanwhile_is_skipped(tmp_path):
    spool = Spool(tmp_path)
    for trial in range(3):
        spooled_result(spool, trial)
    spooled_result(spool, 9, study_id=2)
    seen = []
    for spooled in spool.results(1):
        seen.append(spooled.lease.trial)
        for file in tmp_path.iterdir():
            spool.drop(file)
    assert len(seen) == 1


def test_a_result_of_another_container_is_left_to_it_while_it_lives(tmp_path):
    """Its process cannot be seen, the lock on its file can; so can that of an older boot."""
    spool = Spool(tmp_path)
    with suppress(RuntimeError), spool.keeping(1, Lease(4, 4, 1), UNKNOWN, RESULT):
        assert list(spool.results(1)) == []
        raise RuntimeError("the store is unreachable")
    assert [w.lease.trial for w in spool.results(1)] == [4]


def test_a_disk_without_locks_keeps_results(tmp_path, monkeypatch):
    def refuse(*_):
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    spool = Spool(tmp_path)
    spooled_result(spool, 4)
    assert [w.lease.trial for w in spool.results(1)] == [4]  # its worker is known to be gone


def test_a_damaged_result_is_named(tmp_path):
    spool = Spool(tmp_path)
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(
        StoreError, match=r"a\.json: line 1, column 2: not JSON: .* move the file away"
    ):
        list(spool.results(1))
