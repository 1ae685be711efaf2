"""`nas launch dask`: workers on a Dask cluster whose processes are killed."""

import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
import warm
from click.testing import CliRunner
from later import Later
from launched_study import TRAINED, TRAINING, StudyInStore, wait_until

from nas_service.cli.main import main
from nas_service.errors import NasError, StoreError

dask, dask_task = Later("nas_service.launch.dask"), Later("nas_service.launch.dask_task")
dask_cluster = Later("nas_service.launch.dask_cluster")
distributed, dask_config = Later("distributed"), Later("dask.config")


@pytest.fixture(scope="module")
def dask_workers():
    """Dask workers, which are processes of their own, start workers of the service warm."""
    warm.STARTS.started()
    with dask_config.set({"distributed.worker.preload": ["warm_dask"]}):
        yield


@pytest.fixture(scope="module")
def cluster(dask_workers):
    """Two Dask workers, each a process that is replaced when it is lost."""
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with distributed.LocalCluster(**options) as made:
        yield made


def reads_from(pid: int, others: set[int]) -> int:
    """The process that holds the other end of this one's standard input."""
    pipe = os.readlink(f"/proc/{pid}/fd/0")
    for other in others:
        for end in Path(f"/proc/{other}/fd").iterdir():
            with suppress(FileNotFoundError):
                if os.readlink(end) == pipe:
                    return other
    raise AssertionError("none holds it")


@pytest.mark.process
def test_a_dask_worker_is_killed_and_the_budget_is_exact(tmp_path, cluster):
    """The nanny starts another Dask worker, Dask gives it the task, the store the trial."""
    study = StudyInStore(tmp_path, epochs=8, trainings=3)
    killed, messages = [], []

    def kill() -> None:
        wait_until(lambda: study.rows(TRAINING))
        killed.append(reads_from(int(study.rows(TRAINING)[0][0].split("/")[2]), pids))
        os.kill(killed[0], signal.SIGKILL)

    with distributed.Client(cluster) as client:
        pids = set(client.run(os.getpid).values())
        killer = threading.Thread(target=kill)
        killer.start()
        task = dask_task.new_task("tiny", str(tmp_path), str(study.url), False)
        reason = dask.launch(client, task, 2, messages.append)
        killer.join()
    assert killed
    assert "budget" in reason
    assert sum(text.startswith("worker on tcp://") for text in messages) == 2
    assert study.rows(TRAINED) == [(3, 3)]


@pytest.mark.process
@pytest.mark.parametrize("number", [
    signal.SIGINT,
    *(pytest.param(n, marks=pytest.mark.nightly) for n in (signal.SIGHUP, signal.SIGTERM)),
], ids=lambda number: number.name)  # fmt: skip
def test_an_interrupted_client_ends_its_workers(tmp_path, cluster, number):
    """By Ctrl-C, a closed terminal, or the system."""
    study = StudyInStore(tmp_path, epochs=2000, trainings=1)
    words = ["launch", "dask", "tiny", "--scheduler", cluster.scheduler_address]
    words += ["--workers", "1", "--storage-file", str(study.url), "--data", str(tmp_path)]
    client = subprocess.Popen([sys.executable, "-m", "nas_service", *words], cwd=tmp_path)
    wait_until(lambda: study.rows(TRAINING))
    client.send_signal(number)
    assert client.wait(timeout=180) == 130
    unfinished = "select state from nas_leases where state != 'reported'"
    wait_until(lambda: study.rows(unfinished) == [("pending",)])  # a slow worker is not waited for


@pytest.mark.process
def test_a_file_that_all_dask_workers_lack_is_reported(tmp_path, cluster):
    task = dask_task.new_task("tiny", str(tmp_path), str(tmp_path / "none"), False)
    messages = []
    with distributed.Client(cluster) as client:
        addresses = set(client.nthreads())
        with pytest.raises(StoreError) as caught:
            dask.launch(client, task, 3, messages.append)
    assert all(f"{address}: NAS_STORAGE_FILE" in str(caught.value) for address in addresses)
    assert len(messages) == len(addresses) == 2


@pytest.mark.process
@pytest.mark.nightly
def test_a_scheduler_that_is_killed_is_one_line(tmp_path):
    study = StudyInStore(tmp_path, epochs=2000, trainings=1)
    words = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
    words += ["--port", "0", "--no-dashboard", "--scheduler-file", "scheduler.json"]
    scheduler = subprocess.Popen(words, cwd=tmp_path)
    wait_until(lambda: (tmp_path / "scheduler.json").exists())
    words = [sys.executable, "-m", "distributed.cli.dask_worker", "--no-dashboard"]
    words += ["--scheduler-file", "scheduler.json", "--local-directory", str(tmp_path)]
    worker = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.DEVNULL)
    words = [sys.executable, "-m", "nas_service", "launch", "dask", "tiny", "--workers", "1"]
    words += ["--scheduler", "scheduler.json", "--storage-file", str(study.url)]
    client = subprocess.Popen(words, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    wait_until(lambda: study.rows(TRAINING))
    scheduler.kill()
    scheduler.wait()
    _, errors = client.communicate(timeout=180)
    assert client.returncode == 2
    assert "Traceback" not in errors
    assert "distributed" not in errors
    assert errors.splitlines()[-1].startswith("nas: the connection to the Dask scheduler was lost")
    worker.wait(timeout=180)
    unfinished = "select state from nas_leases where state != 'reported'"
    wait_until(lambda: study.rows(unfinished) == [("pending",)])


def test_the_cluster_sees_no_secret(tmp_path):
    url = tmp_path / "url"
    url.write_text("sqlite:///nas.db")
    url.chmod(0o600)
    task = dask_task.new_task("tiny", "/data", str(url), True)
    variables = {"NAS_STORAGE": "postgresql://u:canary@h/d", "PATH": "/bin"}
    assert "canary" not in repr(task) + repr(task.command)
    result = task.environment(variables)
    assert "NAS_STORAGE" not in result
    assert result["NAS_STORAGE_FILE"] == str(url)
    assert result["OMP_NUM_THREADS"] == "1"
    with pytest.raises(NasError, match="neither"):
        dask_task.new_task("tiny", "/data", None, True).environment({"PATH": "/bin"})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "one of --scheduler and --local"),
        (("--scheduler", "tcp://127.0.0.1:1", "--local", "2"), "one of --scheduler and --local"),
        (("--scheduler", "host:8786"), "--scheduler 'host:8786': an address"),
        (("--scheduler", "tcp://h:1", "--storage", "sqlite:///x.db"), "--storage: is for --local"),
        (("--local", "2", "--storage", "postgresql://u:canary@h/d"), "command line"),
    ],
)
def test_dask_s_options(words, message):
    done = CliRunner().invoke(main, ["launch", "dask", "tiny", *words])
    assert done.exit_code == 2
    assert message in done.output
    assert "canary" not in done.output


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"address": ', "json"),
        ("[]", 'a scheduler\'s file is needed, with its "address"'),
        ('{"address": 8786}', "a scheduler's file is needed"),
        ('{"address": "host:8786"}', "an address such as"),
        ('{"address": "tcp://host"}', "no answer (missing port number in address 'host')"),
        ('{"address": "tls://127.0.0.1:1"}', "no answer ("),
    ],
)
def test_a_scheduler_that_cannot_be_reached_is_one_line(tmp_path, text, message):
    path = tmp_path / "scheduler.json"
    path.write_text(text)
    done = CliRunner().invoke(main, ["launch", "dask", "tiny", "--scheduler", str(path)])
    assert isinstance(done.exception, SystemExit), done.exception
    assert done.exit_code == 2
    assert message in done.output
    assert done.output.startswith("nas: --scheduler ")
    assert done.output.count("\n") == 1


@pytest.mark.process
def test_a_local_cluster_completes_a_study(tmp_path, dask_workers):
    pytest.importorskip("cryptography")
    study = StudyInStore(tmp_path, epochs=1, trainings=2)
    code, output = study.nas("launch", "dask", "tiny", "--local", "1", "--data", str(tmp_path))
    assert code == 0, output
    assert output.count("worker on tls://127.0.0.1:") == 1
    assert output.startswith("study tiny in sqlite://")
    assert len([line for line in output.splitlines() if line.startswith("trial ")]) >= 2
    assert "\nend: budget spent: 2 trainings\ntiny: " in output, "the front follows"
    assert "Traceback" not in output
    assert study.rows(TRAINED) == [(2, 2)]


def test_a_client_logs_nothing_of_dask_s_and_asyncio_s(caplog):
    dask_cluster.quiet()
    for name in ("asyncio", "distributed.client", "distributed.scheduler", "tornado.application"):
        logging.getLogger(name).error("Task exception was never retrieved")
    assert caplog.records == []


def test_a_cluster_without_encryption_is_refused(tmp_path, monkeypatch):
    study = StudyInStore(tmp_path, epochs=1, trainings=1)
    monkeypatch.setitem(sys.modules, "cryptography", None)  # as where it is not installed
    code, output = study.nas("launch", "dask", "tiny", "--local", "1")
    assert code == 2
    assert "--local: needs the package cryptography" in output
    code, output = study.nas("launch", "dask", "other", "--local", "1")
    assert code == 2
    assert "other" in output
