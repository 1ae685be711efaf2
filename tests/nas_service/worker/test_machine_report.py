"""`nas doctor`: each subject is fine, slow or missing, and never a traceback."""

import json
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import stored_studies as stored
from click.testing import CliRunner

from nas_service.cli.main import main
from nas_service.store.store import Store
from nas_service.worker import machine_report
from nas_service.worker.machine_report import Check, examine

GiB = 2**30
SUBJECTS = "versions threads memory compiler neurons gpu store data disk start"


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty folder, and a machine of two idle cores, 16 GiB and a compiler, without a GPU."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "cores": lambda: 2,
        "installed_B": lambda: 16 * GiB,
        "memory_limits": list,
        "find_compiler": lambda: "/usr/bin/g++",
        "_quota": lambda: None,
        "_gpus": list,
    }.items():
        monkeypatch.setattr(machine_report, name, value)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.0, 0.0, 0.0))
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    return tmp_path


def checks(storage=None, data=Path("data"), **environment):
    environment.setdefault("NAS_CACHE", str(Path.cwd()))
    return {check.name: check for check in examine(storage, data, environment)}


def test_a_good_machine_is_fine_in_every_line(place):
    assert {c.name: (c.state, c.remedy) for c in checks().values()} == dict.fromkeys(
        SUBJECTS.split(), ("fine", "")
    )
    assert list(place.iterdir()) == [], "nothing is made"


LIMIT = SimpleNamespace(limit_B=4 * GiB)
SLOW = {  # what of the machine is changed, the line, its state and a part of what to do
    "quota": ({"_quota": lambda: 0.5}, "threads", "slow", "--workers 1"),
    "load": ({"os": SimpleNamespace(**vars(os) | {"getloadavg": lambda: (9.0, 0, 0)})},
             "threads", "slow", "fewer workers"),
    "one worker fits": ({"installed_B": lambda: 6 * GiB}, "memory", "slow", "--workers 1"),
    "no worker fits": ({"memory_limits": lambda: [LIMIT]}, "memory", "missing",
                       "training.memory_GiB"),
    "no compiler": ({"find_compiler": lambda: None}, "compiler", "slow", "install g++"),
    "so no C++": ({"find_compiler": lambda: None}, "neurons", "slow", "install g++"),
    "GPU, torch for CPU": ({"_gpus": lambda: ["/dev/nvidia0"], "_cuda_of_torch": lambda: None},
                           "gpu", "slow", "install a torch built for CUDA"),
    "GPU": ({"_gpus": lambda: ["/dev/nvidia0"], "_cuda_of_torch": lambda: "13.0"},
            "gpu", "fine", ""),
    "an old torch": ({"requires": lambda _: ["torch>=99"]}, "versions", "missing", "pip install"),
    "a package too few": ({"requires": lambda _: ["nowhere>=1"]}, "versions", "missing", "pip"),
    "an extra is not needed": ({"requires": lambda _: ["x; extra == 'y'"]}, "versions", "fine", ""),
    "little disk": ({"shutil": SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=GiB))},
                    "disk", "slow", "nas studies --prune"),
    "no disk": ({"shutil": SimpleNamespace(disk_usage=lambda _: SimpleNamespace(free=0))},
                "disk", "missing", "free some"),
    "no compiled files": ({"sys": SimpleNamespace(dont_write_bytecode=True)}, "start", "slow",
                          "PYTHONDONTWRITEBYTECODE"),
}  # fmt: skip


@pytest.mark.parametrize("case", SLOW)
def test_what_is_not_fine_says_what_to_do(place, monkeypatch, case):
    changed, name, state, remedy = SLOW[case]
    for attribute, value in changed.items():
        monkeypatch.setattr(machine_report, attribute, value)
    check = checks()[name]
    assert check.state == state
    assert remedy in check.remedy
    assert bool(check.remedy) == (state != "fine")


@pytest.mark.parametrize(
    ("environment", "name", "state"),
    [
        ({"NAS_NEURONS": "norse"}, "neurons", "slow"),
        ({"NAS_DEVICE": "cuda:0"}, "gpu", "missing"),
        ({"NAS_STORAGE": "sqlite:///none/nas.db"}, "store", "missing"),
        ({"NAS_STORAGE": "\0"}, "store", "missing"),
        ({"NAS_STORAGE": "postgresql://a:secret@127.0.0.1:1/x"}, "store", "missing"),
        ({"NAS_STORAGE_FILE": "absent"}, "store", "missing"),
        ({"NAS_SPOOL": "file/below"}, "disk", "missing"),
    ],
    ids=lambda value: "".join(value) if isinstance(value, dict) else value,
)
def test_what_the_environment_says_is_examined(place, environment, name, state):
    (place / "file").write_text("")
    check = checks(**environment)[name]
    assert check.state == state
    assert check.remedy
    assert "secret" not in check.text


def test_a_store_and_data_that_cannot_be_read(place, monkeypatch):
    (place / "broken.db").write_bytes(b"no database at all" * 100)
    assert checks("sqlite:///broken.db")["store"].state == "missing"
    (place / "file").write_text("")
    assert checks(data=Path("file"))["data"].state == "missing"

    def refuse(_):
        raise PermissionError(13, "Permission denied", "locked")

    (place / "locked").mkdir()
    monkeypatch.setattr(os, "listdir", refuse)
    check = checks(data=Path("locked"))["data"]
    assert (check.state, check.text) == ("missing", "[Errno 13] Permission denied: 'locked'")


def test_the_studies_of_a_store_are_counted(place):
    store = Store("sqlite:///nas.db", create=True)
    stored.stored_study(store, "digits", ())
    store.close()
    assert checks()["store"].text == "sqlite:///nas.db, studies: 1"


def doctor(*words):
    done = CliRunner().invoke(main, ["doctor", *words], env={"COLUMNS": "80"})
    assert isinstance(done.exception, SystemExit | None), done.exception
    return done


def test_the_command_prints_each_line_and_ends_by_what_is_missing(place):
    done = doctor()
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("versions  fine    Python 3.")
    missing = doctor("--storage", "bla")
    assert missing.exit_code == 1
    line = next(x for x in missing.stdout.splitlines() if x.startswith("store"))
    assert line == "store     missing the storage is no database URL, such as sqlite:///nas.db"
    assert "                  to do: name another with --storage or NAS_STORAGE" in missing.stdout
    lines = [line for line in missing.stdout.splitlines() if str(place) not in line]
    assert max(map(len, lines)) <= 80


def test_json_has_every_check(place):
    document = json.loads(doctor("--json").stdout)
    assert {"name", "state", "text", "remedy"} == set(document[0])
    assert {entry["state"] for entry in document} == {"fine"}


def test_a_hostile_text_is_printed_plainly(place, monkeypatch):
    hostile = Check("store", "missing", "\x1b[31mred", "\x07")
    monkeypatch.setattr(machine_report, "examine", lambda *_: [hostile])
    done = doctor()
    assert "\x1b" not in done.stdout
    assert "\x07" not in done.stdout
