"""Trainings in child processes: bit-equal, and no end of a child harms its worker."""

import json
import logging
import os
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from child_jobs import TREE, job
from safetensors import safe_open

from nas_service.errors import Interrupted
from nas_service.snn.precision import native_bf16
from nas_service.study.loading import parse_spec
from nas_service.worker.end_signals import ENDING
from nas_service.worker.training_process import (
    ChildFailure,
    Job,
    TrainingClient,
)

pytestmark = pytest.mark.process


@pytest.fixture(scope="module")
def client():
    with TrainingClient() as made:
        yield made


@pytest.fixture(scope="module")
def ending(findable):
    """A client whose children end in the way that a test chooses."""
    with TrainingClient(target="child_target") as made:
        yield made


def plain(evaluation):
    """The evaluation without its duration."""
    return replace(evaluation, seconds=0.0).to_json()


# --- trainings


def test_a_child_trains_to_the_same_bits(evaluator, screened, client, tmp_path):
    own_file, child_file = tmp_path / "own.safetensors", tmp_path / "child.safetensors"
    own = evaluator.train(screened, own_file)
    result = client.run(Job(evaluator.spec, evaluator.folder, screened, child_file))
    assert plain(result) == plain(own)
    assert [epoch for epoch, _ in own.curve] == [1, 2]
    assert 0.01 < own.spike_rate < 0.9
    assert child_file.read_bytes() == own_file.read_bytes()


def test_a_missing_feature_of_the_machine_is_logged_once(screened, client, tmp_path, caplog):
    tree = json.loads(json.dumps(TREE))
    tree["training"] |= {"precision": "bf16"}
    tree["network"] = {"votes": 2}  # of another evaluator
    job = Job(parse_spec(json.dumps(tree), "x"), Path(), screened, tmp_path / "w.safetensors")
    for seed in (1, 2):
        client.run(replace(job, candidate=replace(screened, seed=seed)))
    warnings = [text for _, _, text in caplog.record_tuples if "no bf16 instructions" in text]
    assert len(warnings) == (0 if native_bf16() else 1)


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted by Linux")
def test_the_fork_server_has_one_thread(evaluator, screened, client, tmp_path):
    """Locks of another thread would stay locked in a child for ever."""
    client.run(Job(evaluator.spec, evaluator.folder, screened, tmp_path / "w.safetensors"))
    assert len(list(Path(f"/proc/{client._server.process.pid}/task").iterdir())) == 1


def test_a_child_continues_a_training(evaluator, screened, client, tmp_path):
    own_file, child_file = tmp_path / "own.safetensors", tmp_path / "child.safetensors"
    longer = evaluator.with_last_epoch(3)
    own = longer.resume_training(evaluator.train(screened, own_file), own_file)
    first = client.run(Job(evaluator.spec, evaluator.folder, screened, child_file))
    result = client.run(Job(longer.spec, evaluator.folder, first, child_file, resume=True))
    assert plain(result) == plain(own)
    assert (own.fidelity, first.fidelity) == (3, 2)
    assert 0.01 < own.spike_rate < 0.9
    assert child_file.read_bytes() == own_file.read_bytes()


def test_an_interrupt_keeps_the_last_epoch_and_the_next_child_continues(
    evaluator, screened, client, tmp_path
):
    uninterrupted, cut = tmp_path / "whole.safetensors", tmp_path / "cut.safetensors"
    kept = cut.with_suffix(".training.safetensors")
    long = evaluator.with_last_epoch(12)

    def check_interrupt():
        if kept.exists():
            raise Interrupted("asked to end")

    with pytest.raises(Interrupted, match="asked to end"):
        client.run(Job(long.spec, evaluator.folder, screened, cut), check_interrupt)
    with safe_open(kept, framework="pt") as file:
        assert 1 <= json.loads(file.metadata()["training"])["epoch"] < 12
    assert not cut.exists()
    result = client.run(Job(long.spec, evaluator.folder, screened, cut))
    assert plain(result) == plain(long.train(screened, uninterrupted))
    assert result.fidelity == 12
    assert 0.01 < result.spike_rate < 0.9
    assert cut.read_bytes() == uninterrupted.read_bytes()


def test_a_child_that_cannot_begin_is_a_fault_of_the_setup(
    evaluator, screened, client, tmp_path, monkeypatch
):
    monkeypatch.setattr(client, "device", "cuda:77")
    with pytest.raises(ChildFailure) as caught:
        client.run(Job(evaluator.spec, evaluator.folder, screened, tmp_path / "w.safetensors"))
    assert caught.value.kind == "setup"
    assert "cuda:77" in caught.value.reason


# --- ends of children


ENDS = {
    "bytes": ("oom", "MemoryError"),
    "torch_hog": ("oom", "RuntimeError: .*allocate memory"),
    "device": ("oom", "OutOfMemoryError: CUDA out of memory"),
    "disk": ("disk", "File too large"),
    "safetensors": ("disk", "os error 27"),
    "disk_behind": ("disk", "ValueError: cannot be kept"),
    "error": ("error", "ValueError: seven is no candidate"),
    "segv": ("crash", "SIGSEGV"),
    "abort": ("crash", "SIGABRT"),
    "kill": ("killed", "SIGKILL"),
    "exit": ("exit", "exit code 3"),
}


def test_every_ending_is_recognised_and_the_next_training_succeeds(
    evaluator, screened, findable, tmp_path
):
    with TrainingClient(target="child_target") as client:
        for way, (kind, reason) in ENDS.items():
            with pytest.raises(ChildFailure, match=reason) as caught:
                client.run(job(evaluator, screened, way, tmp_path))
            assert caught.value.kind == kind, way
            assert client.run(job(evaluator, screened, "say", tmp_path)) == screened


def test_a_child_that_takes_too_long_is_killed(evaluator, screened, ending, tmp_path):
    with pytest.raises(ChildFailure, match=r"timeout: longer than 0.3 s"):
        ending.run(job(evaluator, screened, "deaf", tmp_path), seconds=0.3)
    assert gone(child(tmp_path)["pid"])


def test_a_child_that_ignores_signals_is_killed_after_its_grace(
    evaluator, screened, ending, tmp_path, monkeypatch
):
    monkeypatch.setattr("nas_service.worker.training_process.client.GRACE_s", 0.3)
    with pytest.raises(Interrupted):
        ending.run(job(evaluator, screened, "deaf", tmp_path), once_there(tmp_path))
    assert gone(child(tmp_path)["pid"])


def test_an_interrupt_before_there_is_a_child(evaluator, screened, ending, tmp_path):
    def check_interrupt():
        raise Interrupted("at once")

    with pytest.raises(Interrupted):
        ending.run(job(evaluator, screened, "wait", tmp_path), check_interrupt)
    assert ending.run(job(evaluator, screened, "say", tmp_path)) == screened


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT])
def test_a_signal_from_outside_is_recognised(evaluator, screened, ending, tmp_path, number):
    check_interrupt = kill_once(tmp_path, "pid", number)
    with pytest.raises(ChildFailure, match="stopped: a signal from outside"):
        ending.run(job(evaluator, screened, "wait", tmp_path), check_interrupt)


def test_a_signal_to_all_processes_interrupts_the_worker(evaluator, screened, ending, tmp_path):
    """It reaches the training first."""
    kill, gone_since = kill_once(tmp_path, "pid", signal.SIGTERM), []

    def check_interrupt():
        kill()
        if has_started(tmp_path) and gone(child(tmp_path)["pid"], within_s=0):
            gone_since.append(time.monotonic())
        if len(gone_since) > 2:
            raise Interrupted("all")

    with pytest.raises(Interrupted, match="all"):
        ending.run(job(evaluator, screened, "wait", tmp_path), check_interrupt)


def test_a_server_ignores_signals_that_a_batch_system_sends_to_all(
    evaluator, screened, ending, tmp_path
):
    ending.start()
    for number in ENDING:
        os.kill(ending._server.process.pid, number)
    assert ending.run(job(evaluator, screened, "say", tmp_path)) == screened


def test_haste_waits_for_no_child(evaluator, screened, ending, tmp_path, monkeypatch):
    monkeypatch.setattr("nas_service.worker.training_process.client.GRACE_s", 3600)
    monkeypatch.setattr(ending, "_is_urgent", lambda: True)
    with pytest.raises(Interrupted):
        ending.run(job(evaluator, screened, "deaf", tmp_path), once_there(tmp_path))
    assert gone(child(tmp_path)["pid"])


def test_a_worker_that_ends_with_its_child_is_interrupted(evaluator, screened, ending, tmp_path):
    kill = kill_once(tmp_path, "pid", signal.SIGKILL)

    def check_interrupt():
        if has_started(tmp_path) and gone(child(tmp_path)["pid"], within_s=0):
            raise Interrupted("both")
        kill()

    with pytest.raises(Interrupted, match="both"):
        ending.run(job(evaluator, screened, "deaf", tmp_path), check_interrupt)


# --- processes


def has_started(folder):
    return (folder / "child.json").exists()


def child(folder):
    return json.loads((folder / "child.json").read_text())


def once_there(folder, before=lambda: None):
    def check_interrupt():
        if has_started(folder):
            before()
            raise Interrupted("asked to end")

    return check_interrupt


def kill_once(folder, whom, number):
    left = [number]

    def check_interrupt():
        if left and has_started(folder):
            os.kill(child(folder)[whom], left.pop())

    return check_interrupt


def gone(pid, within_s=90):
    """True once the process is gone, or is a zombie."""
    late = time.monotonic() + within_s
    while True:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except (FileNotFoundError, ProcessLookupError):
            return True
        if time.monotonic() > late:
            return False
        time.sleep(0.02)


WORKER = """
import sys
from pathlib import Path
from nas_service.worker.training_process import Job, TrainingClient
from nas_service.metrics import Evaluation
from nas_service.study.loading import parse_spec
import json
words = json.loads(sys.argv[1])
candidate = Evaluation.from_json(words["candidate"])
assert "torch" not in sys.modules
job = Job(parse_spec(words["spec"], "x"), Path(words["data"]), candidate, Path("deaf"))
TrainingClient(target="child_target").run(job)
"""


def test_no_process_outlives_a_killed_worker(evaluator, screened, tmp_path, findable):
    words = json.dumps(job(evaluator, screened, "deaf", tmp_path).message())
    worker = subprocess.Popen([sys.executable, "-c", WORKER, words])
    while not has_started(tmp_path):
        assert worker.poll() is None
        time.sleep(0.02)
    about = child(tmp_path)
    worker.kill()
    worker.wait()
    assert gone(about["pid"])
    assert gone(about["server"])


def test_a_killed_server_ends_its_child_and_another_is_started(
    evaluator, screened, ending, tmp_path
):
    check_interrupt = kill_once(tmp_path, "server", signal.SIGKILL)
    with pytest.raises(ChildFailure, match="SIGKILL, of the fork server"):
        ending.run(job(evaluator, screened, "deaf", tmp_path), check_interrupt)
    assert gone(child(tmp_path)["pid"])
    assert ending.run(job(evaluator, screened, "say", tmp_path)) == screened


def test_a_server_that_dies_between_trainings_is_replaced(evaluator, screened, ending, tmp_path):
    assert ending.run(job(evaluator, screened, "say", tmp_path)) == screened
    ending._server.process.kill()
    ending._server.process.wait()
    assert ending.run(job(evaluator, screened, "say", tmp_path)) == screened


def test_children_get_no_passwords(evaluator, screened, findable, tmp_path, monkeypatch):
    for name in ("NAS_STORAGE", "NAS_STORAGE_FILE", "PGPASSWORD", "HOME_OF_BIRDS"):
        monkeypatch.setenv(name, "postgresql://nas:canary@db/nas")
    with TrainingClient(target="child_target") as client, pytest.raises(ChildFailure) as caught:
        client.run(job(evaluator, screened, "secrets", tmp_path))
    assert "secrets: ['HOME_OF_BIRDS']" in caught.value.reason


def test_a_server_that_cannot_start_is_a_fault_of_the_setup(evaluator, screened, tmp_path):
    with TrainingClient(target="no_such_target") as broken, pytest.raises(ChildFailure) as caught:
        broken.run(job(evaluator, screened, "say", tmp_path))
    assert caught.value.kind == "setup"


def test_a_child_without_memory_for_its_thread_cannot_begin(
    evaluator, screened, findable, tmp_path
):
    with TrainingClient(target="child_target") as client:
        client.run(job(evaluator, screened, "say", tmp_path))
        server = client._server.process.pid
        resource.prlimit(server, resource.RLIMIT_AS, (1, resource.RLIM_INFINITY))
        with pytest.raises(ChildFailure, match="setup: RuntimeError: can't start new thread"):
            client.run(job(evaluator, screened, "say", tmp_path))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux is asked")
def test_the_kernel_kills_a_child_first(evaluator, screened, ending, tmp_path):
    with pytest.raises(Interrupted):
        ending.run(job(evaluator, screened, "wait", tmp_path), once_there(tmp_path))
    assert child(tmp_path)["oom_score_adj"] == "1000"


def test_the_log_of_a_child_is_in_the_log_of_its_worker(evaluator, screened, ending, caplog, capfd):
    with caplog.at_level(logging.WARNING):
        assert ending.run(job(evaluator, screened, "say", Path())) == screened
    assert ("of.child", logging.WARNING, "fires 7") in caplog.record_tuples
    assert any("is torn" in record.message for record in caplog.records)
    assert capfd.readouterr().out == ""  # where workers print results
