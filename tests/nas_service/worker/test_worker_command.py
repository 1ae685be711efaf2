"""`nas worker` as a process: its pulse file, and an output without a reader."""

import os
import subprocess
import sys

import pytest
from launched_study import TRAINED, StudyInStore

from nas_service.worker import health


@pytest.mark.process
def test_a_worker_touches_its_pulse_file(tmp_path, monkeypatch):
    study = StudyInStore(tmp_path, epochs=1, trainings=1)
    monkeypatch.setenv("NAS_PULSE", str(tmp_path / "pulse"))
    monkeypatch.setattr(health, "BEAT_s", 0.05)
    code, output = study.nas("worker", "--study", "tiny", "--data", str(tmp_path))
    assert code == 0, output
    now = (tmp_path / "pulse").stat().st_mtime
    assert health.pulse(tmp_path / "pulse", 10, now + 9) == ""
    assert "11 s ago" in health.pulse(tmp_path / "pulse", 10, now + 11)
    assert "No such file" in health.pulse(tmp_path / "none", 10, now)


@pytest.mark.process
@pytest.mark.parametrize(
    ("words", "code"),
    [(["pulse", "FILE", "60"], 0), (["pulse", "none", "60"], 1), (["pulse", "FILE"], 2), ([], 2),
     (["page", "http://127.0.0.1:1/"], 1)],
)  # fmt: skip
def test_a_health_check_s_exit_code(tmp_path, words, code):
    (tmp_path / "FILE").touch()
    done = subprocess.run([sys.executable, "-m", "nas_service.worker.health", *words], cwd=tmp_path,
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == code, done.stderr
    assert bool(done.stderr) == bool(code)


@pytest.mark.process
def test_a_worker_without_a_reader_continues(tmp_path):
    """Its output is a pipe whose reader is closed before the first line."""
    study = StudyInStore(tmp_path, epochs=1, trainings=2)
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "nas_service", "worker", "--study", "tiny"]
    environment = {**os.environ, "NAS_STORAGE": f"sqlite:///{study.db}"}
    with os.fdopen(writer, "wb") as pipe:
        subprocess.run(words, stdout=pipe, env=environment, cwd=tmp_path, check=False, timeout=300)
    assert study.rows(TRAINED) == [(2, 2)]
    assert study.rows("select distinct state from nas_leases") == [("reported",)]
