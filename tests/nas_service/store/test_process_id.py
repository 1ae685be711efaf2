"""Names of worker processes, also such as another program or a hand has written."""

import os
import subprocess
import sys

import pytest

from nas_service.store import process_id
from nas_service.store.process_id import is_dead, worker_name

HOST, BOOT, PID, STARTED, NAMESPACE = worker_name().split("/")
NOBODY = 99999999  # no process has this number


def name(host=HOST, boot=BOOT, pid=PID, started=STARTED, namespace=NAMESPACE):
    return f"{host}/{boot}/{pid}/{started}/{namespace}"


def test_a_process_of_this_machine_lives_or_is_gone():
    assert not is_dead(worker_name())
    assert is_dead(name(started=1))
    assert is_dead(name(pid=NOBODY))


@pytest.mark.parametrize("pid", ["²", "٣", "1_0", "+1", "-1", "0", " 1", "", "9" * 5000, "x"])
def test_what_is_no_process_number_is_not_known_to_be_dead(pid):
    assert not is_dead(name(pid=pid))


@pytest.mark.parametrize(
    "worker",
    [
        *("", "lab", "another/host/1/1", f"{HOST}/{BOOT}"),
        name(host="another", pid=NOBODY),
        name(boot="11111111", pid=NOBODY),  # a machine of the same name
        name(namespace="1", pid=NOBODY),  # a container of the same name
        f"{HOST}/{BOOT}/{NOBODY}/1",  # of a version whose names had no namespace
    ],
    ids=range(8),  # the names differ from process to process, which those of tests must not
)
def test_who_cannot_be_seen_is_not_judged(worker):
    assert not is_dead(worker)


@pytest.mark.process
def test_a_zombie_is_dead():
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    other = name(pid=process.pid, started=process_id._started(process.pid))
    assert not is_dead(other)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert is_dead(other)
    process.communicate()


@pytest.fixture
def proc(tmp_path, monkeypatch):
    """A folder in place of /proc, as of this process's own namespace."""
    (tmp_path / "sys/kernel/random").mkdir(parents=True)
    (tmp_path / "sys/kernel/random/boot_id").write_text("01234567-89ab")
    (tmp_path / PID / "ns").mkdir(parents=True)
    (tmp_path / PID / "ns/pid").touch()
    (tmp_path / PID / "stat").write_text("1 (a b) S " + " ".join(map(str, range(4, 53))))
    (tmp_path / "self").symlink_to(PID)
    monkeypatch.setattr(process_id, "PROC", tmp_path)
    return tmp_path


def test_processes_that_proc_hides_are_not_judged(proc):
    """As with hidepid: those of other users have no files; whether they exist the kernel says."""
    ours = worker_name()
    assert ours.split("/")[1:4] == ["01234567", PID, "22"]
    hidden, gone = (ours.replace(f"/{PID}/", f"/{pid}/") for pid in (os.getppid(), NOBODY))
    assert [is_dead(worker) for worker in (ours, hidden, gone)] == [False, False, True]
    (proc / str(os.getppid())).mkdir()
    (proc / str(os.getppid()) / "stat").write_text("1 (a) S " + "7 " * 49)
    assert is_dead(hidden), "the number was given to another process"


def test_the_proc_of_another_namespace_shows_other_processes(proc):
    ours = worker_name()
    (proc / PID / "stat").write_text("1 (a) S " + "7 " * 49)
    assert is_dead(ours)
    (proc / "self").unlink()
    (proc / "7").mkdir()
    (proc / "7/ns").symlink_to(proc / PID / "ns")
    (proc / "self").symlink_to("7")
    assert not is_dead(ours)


@pytest.mark.parametrize("lost", ["sys/kernel/random/boot_id", "ns/pid"])
def test_where_the_system_says_little_names_differ_and_nobody_is_judged(proc, lost):
    (proc / lost if lost.startswith("sys") else proc / PID / lost).unlink()
    ours = worker_name()
    assert ours == worker_name()
    assert "unknown-" in ours
    assert not is_dead(ours)
    assert not is_dead(ours.replace(f"/{PID}/", f"/{NOBODY}/").replace("unknown-", "unknown-0"))


def test_a_name_fits_into_its_column(monkeypatch):
    monkeypatch.setattr("socket.gethostname", lambda: "h" * 64)
    assert len(worker_name()) <= 200
