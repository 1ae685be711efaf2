"""Successive halving by several workers, some of which are killed."""

import os
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import forked
import nas_command
import optuna
import pytest
from halving_studies import archive, run_gated_worker, spec

from nas_service import api
from nas_service.errors import Interrupted
from nas_service.searches.results import read
from nas_service.snn.checkpoint import CheckpointFile
from nas_service.store.process_id import worker_name
from nas_service.worker.claiming import TrialClaims
from nas_service.worker.worker import Worker

pytestmark = pytest.mark.training


def promotions(store, search):
    """Of each candidate the epochs it was trained to, a trial each."""
    trials = [t for t in search.study.trials if "continues" in t.user_attrs]
    return Counter((t.user_attrs["digest"], t.user_attrs["until"]) for t in trials)


class Processes:
    """Real workers on a store's file, which train in their own process."""

    def __init__(self, store, gates):
        self.url, self.gates, self.all = str(store.url), gates, []
        gates.mkdir()

    def start_gated(self):
        self.all.append(forked.start(run_gated_worker, self.url, "x", self.gates))

    def start(self):
        self.all.append(forked.start(nas_command.run_worker, self.url, "x"))

    def wait_for_promotion(self, but):
        """(digest, process id) of a promoted training that has stored an epoch and waits now."""
        limit = time.monotonic() + 240
        while time.monotonic() < limit:
            for gate in self.gates.glob("*.*"):
                digest, pid, *is_open = gate.name.split(".")
                if digest not in but and not is_open:
                    return digest, int(pid)
                if not is_open:
                    (self.gates / f"{gate.name}.open").touch()
            time.sleep(0.02)
        raise AssertionError("no promoted training was seen")


@pytest.mark.process
def test_killed_workers_lose_nothing_and_promote_nothing_twice(store, tmp_path):
    """Two processes, each of which is killed during a promoted training."""
    halving = spec(
        data={"train_samples": 160},
        training={"epochs": 8, "rungs": [1, 4]},
        search={"trainings": 4},
    )
    search, evaluator = api.prepare(halving, lambda: store, Path())
    processes = Processes(store, tmp_path / "gates")
    killed = []
    for _ in range(2):
        processes.start_gated()
    for _ in range(2):
        digest, pid = processes.wait_for_promotion(killed)
        os.kill(pid, signal.SIGKILL)
        killed.append(digest)
    processes.start()
    for process in processes.all:
        process.join(120)
    assert sorted(process.exitcode for process in processes.all) == [-9, -9, 0]
    counts = read(search).counts
    assert (counts["trained"], counts["failed"], counts["running"]) == (4, 0, 0)
    assert set(promotions(store, search).values()) == {1}
    assert read(search).front_is_final
    reached = Counter(s.epochs for s in store.archive(search.id).rung_results())
    assert reached[1] == 4
    assert reached[4] >= 2
    assert reached[8] >= 1
    outcomes = store.leases(search.id).outcomes()
    for digest in killed:
        result = archive(store, search)[digest]
        assert result.fidelity > 1
        uninterrupted = evaluator.with_last_epoch(result.fidelity)
        fresh = uninterrupted.train(uninterrupted.screen(result.architecture, result.seed))
        assert replace(fresh, seconds=0.0) == result
    assert "failed" not in outcomes.values()


def test_a_promotion_of_a_killed_worker_is_recovered(store, monkeypatch):
    """Trial and lease are created in one transaction: a worker killed inside leaves neither."""
    plain = TrialClaims._promoted
    ended = Counter()

    def before(self, p):
        if ended["before"] < 1:
            ended["before"] += 1
            raise Gone
        trial = plain(self, p)
        if ended["after"] < 1:
            ended["after"] += 1
            raise Gone
        return trial

    monkeypatch.setattr(TrialClaims, "_promoted", before)
    search, evaluator = api.prepare(spec(search={"trainings": 4}), lambda: store, Path())
    gone = "/".join([*worker_name().split("/")[:2], "999999", "1"])  # of this machine, and dead
    for _ in range(2):
        worker = Worker(search, evaluator, lambda text: None, name=gone)
        with pytest.raises(Gone):
            worker.run()
    assert not search.study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
    Worker(search, evaluator, lambda text: None).run()
    assert set(promotions(store, search).values()) == {1}
    assert not search.study.get_trials(states=(optuna.trial.TrialState.RUNNING,))
    counts = read(search).counts
    assert (counts["trained"], counts["failed"]) == (4, 0)
    assert "continued" in store.leases(search.id).outcomes().values()


class Gone(BaseException):
    """As far as a process can lose itself without ending."""


def test_an_interrupted_promotion_resumes_at_its_last_epoch(store, monkeypatch):
    search, evaluator = api.prepare(spec(search={"trainings": 2}), lambda: store, Path())
    epochs, save = [], CheckpointFile.save

    def interrupted_after_3(self, network, optimizer, generator, epoch):
        save(self, network, optimizer, generator, epoch)
        epochs.append(epoch)
        if epoch == 3 and epochs.count(3) == 1:
            raise Interrupted("ended")

    monkeypatch.setattr(CheckpointFile, "save", interrupted_after_3)
    with pytest.raises(Interrupted):
        Worker(search, evaluator, print).run()
    Worker(search, evaluator, print).run()
    assert epochs == [1, 1, 2, 3, 4]
    assert read(search).front_is_final
