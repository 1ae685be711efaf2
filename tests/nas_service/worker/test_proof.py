"""What a machine must be able to do before its workers claim a trial."""

import itertools
import json
import os
import socket
import sqlite3
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from child_jobs import TREE
from launched_study import StudyInStore

from nas_service.errors import Interrupted, MachineFault
from nas_service.evaluation.control_group import MemoryLimit
from nas_service.launch.job import Job as LaunchedJob
from nas_service.snn import training
from nas_service.store.process_id import worker_name
from nas_service.study.loading import parse_spec
from nas_service.worker import proof
from nas_service.worker.proof import WORKER_GiB, check_folder, check_memory, check_training
from nas_service.worker.spool import Spool
from nas_service.worker.training_process import ChildFailure, Job
from nas_service.worker.training_process import job as target


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MachineFault) as caught:
        check_folder(tmp_path / "file" / "weights", "artifacts", "NAS_ARTIFACTS")
    host = worker_name().split("/")[0]
    assert str(caught.value) == (
        f"artifacts {tmp_path}/file/weights: cannot be written on {host} (Not a directory); "
        "NAS_ARTIFACTS names another folder"
    )
    check_folder(tmp_path / "new" / "weights", "artifacts", "NAS_ARTIFACTS")
    assert list((tmp_path / "new" / "weights").iterdir()) == []


def test_a_full_disk_leaves_no_file(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(MachineFault, match="No space left on device"):
        check_folder(tmp_path, "spool", "NAS_SPOOL")
    assert list(tmp_path.iterdir()) == []


def test_memory_is_compared_with_the_control_group(evaluator, monkeypatch):
    limits = [MemoryLimit(Path("group"), 2**30)]
    monkeypatch.setattr(proof, "memory_limits", lambda: limits)
    with pytest.raises(MachineFault, match=r"memory: a worker takes 1 GiB .* may use 1 GiB"):
        check_memory(evaluator)
    limits[0] = MemoryLimit(Path("group"), 2**31)
    check_memory(evaluator)  # its candidates are far smaller than training.memory_GiB = 4
    limits.clear()
    check_memory(evaluator)


def test_memory_of_worker_and_training_is_requested_together():
    default = parse_spec(json.dumps(TREE), "x").training.memory_GiB
    assert LaunchedJob("s").memory_GiB >= default + WORKER_GiB
    compose = Path(__file__).parents[3] / "docker-compose.yml"
    assert f"mem_limit: {default + WORKER_GiB:g}g" in compose.read_text()


class Client:
    """Stands for the training processes: counts what it is to train."""

    device = "cpu"

    def __init__(self, failure=None):
        self.jobs, self.failure = [], failure

    def run(self, job, check_interrupt, seconds):
        self.jobs.append(job)
        if self.failure is not None:
            raise self.failure


def test_workers_of_a_machine_train_one_batch_together(evaluator, tmp_path):
    client, spool = Client(), Spool(tmp_path)
    for _ in range(3):
        check_training(evaluator, client, spool, lambda: None)
    (job,) = client.jobs
    assert job.one_batch
    assert list(spool.results(1)) == []
    other = replace(evaluator, spec=evaluator.spec.model_copy(update={"seed": 5}))
    check_training(other, client, spool, lambda: None)
    os.utime(tmp_path / "batch.proof", (1, 1))
    check_training(other, client, spool, lambda: None)
    assert len(client.jobs) == 3


def test_what_fails_is_tried_by_the_next_worker(evaluator, tmp_path):
    client, spool = Client(ChildFailure("setup", "NAS_DEVICE = 'cuda:0'")), Spool(tmp_path)
    for _ in range(2):
        with pytest.raises(MachineFault, match="one batch failed: setup: NAS_DEVICE = 'cuda:0'"):
            check_training(evaluator, client, spool, lambda: None)
    assert len(client.jobs) == 2


def test_a_worker_that_waits_for_another_one_can_be_asked_to_end(evaluator, tmp_path):
    inside, over = threading.Event(), threading.Event()

    class Slow(Client):
        def run(self, *_):
            inside.set()
            over.wait(90)

    def interrupt():
        raise Interrupted("asked to end")

    arguments = (evaluator, Slow(), Spool(tmp_path), lambda: None)
    first = threading.Thread(target=check_training, args=arguments)
    first.start()
    assert inside.wait(90)
    with pytest.raises(Interrupted):
        check_training(evaluator, Client(), Spool(tmp_path), interrupt)
    over.set()
    first.join(90)


def test_one_batch_is_trained(evaluator, screened, monkeypatch):
    steps = itertools.count()
    step = training._step

    def counted(*arguments):
        next(steps)
        return step(*arguments)

    monkeypatch.setattr(training, "_step", counted)
    message = Job(evaluator.spec, Path(), screened, Path(os.devnull), one_batch=True).message()
    message |= {"device": "cpu", "log_level": 30}
    target.prepare(message)
    assert target.begin(message)(lambda: None) == screened.to_json()
    assert next(steps) == 1


@pytest.mark.process
@pytest.mark.parametrize("variable", ["NAS_ARTIFACTS", "NAS_SPOOL", "NAS_CACHE"])
def test_a_worker_on_a_machine_that_cannot_write_claims_nothing(tmp_path, monkeypatch, variable):
    study = StudyInStore(tmp_path, epochs=1, trainings=1)
    (tmp_path / "file").touch()
    monkeypatch.setenv(variable, str(tmp_path / "file" / "x"))
    code, output = study.nas("worker", "--study", "tiny", "--data", str(tmp_path))
    assert code == 4, output
    assert f"{tmp_path}/file/x" in output
    assert variable in output
    code, output = study.nas("resume", "tiny", "--data", str(tmp_path))
    assert code == 4, output
    assert output.count(f"{tmp_path}/file/x") == 1, "one line, and no worker was started"
    assert study.rows("select count(*) from nas_leases") == [(0,)]


@pytest.mark.process
def test_a_worker_on_a_machine_with_other_data_claims_nothing(tmp_path):
    study = StudyInStore(tmp_path, epochs=1, trainings=1)
    with sqlite3.connect(study.db) as db:
        db.execute("update nas_studies set data_digest = 'another'")
    code, output = study.nas("worker", "--study", "tiny", "--data", str(tmp_path))
    assert code == 4, "another machine may have the study's data"
    assert "began with other images" in output
    assert f"(on {socket.gethostname()})" in output
    assert study.rows("select count(*) from nas_leases") == [(0,)]
