"""`nas launch slurm`: scripts that bash runs."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import warm
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from launched_study import HOSTILE, TRAINED, StudyInStore, wait_until

from nas_service.cli.main import main
from nas_service.errors import SpecError
from nas_service.launch import slurm, slurm_site
from nas_service.launch.job import Job


@pytest.fixture(autouse=True)
def no_slurm(monkeypatch):
    """SLURM's programs are not asked, whether this machine has them or not."""
    monkeypatch.setattr(slurm_site, "_answer", lambda command, text="": (0, ""))


def bash(script: str, *words: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", *words],
        input=script,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, **environment},
    )


def slurm_cluster(**given: object) -> slurm.Cluster:
    paths = {"storage_file": "/home/me/url", "python": "/usr/bin/python3"}
    paths |= {"data": "/data", "artifacts": "/artifacts"}
    return slurm.Cluster(**{**paths, **given})  # type: ignore[arg-type]


@pytest.mark.process
@given(folder=st.text(min_size=1, max_size=30), workers=st.integers(1, 10_000))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_script_passes_any_path_on_as_it_is(folder, workers):
    """Run by bash with `exec` replaced by `printf`, which prints the worker's arguments."""
    path = f"/{folder}"
    if not path.isprintable():
        with pytest.raises(SpecError, match="--data"):
            slurm_cluster(data=path)
        return
    text = slurm.script(Job("tiny", workers), slurm_cluster(data=path, storage_file=path))
    assert f"#SBATCH --array=1-{workers}\n" in text
    shown = text.replace("exec /usr/bin/python3", "printf '%s\\0' \"$NAS_STORAGE_FILE\"")
    done = subprocess.run(["bash"], input=shown.encode(), capture_output=True, check=True)
    _, _, output = done.stdout.partition(b"\n")
    words = ["-m", "nas_service", "worker", "--study", "tiny", "--data", path]
    assert output.decode().split("\0") == [path, *words, ""]


@pytest.mark.process
def test_a_script_s_directives():
    job = Job("tiny", 8, cpus=2, memory_GiB=6, gpu=True, grace_s=90)
    more = ("qos=long", "exclusive")
    where = slurm_cluster(hours=25.51, partition="a,b", account="lab-1", directives=more)
    text = slurm.script(job, where)
    head, body = text.split("\n\n", 1)
    assert set(head.splitlines()[1:]) == {
        f"#SBATCH --{d}"
        for d in (
            *("job-name=nas-tiny", "array=1-8", "time=1-01:31:00", "ntasks=1", "cpus-per-task=2"),
            *("mem=6G", "signal=B:TERM@90", "requeue", "open-mode=append", "gres=gpu:1"),
            *("output=%x-%A_%a.log", "partition=a,b", "account=lab-1", "qos=long", "exclusive"),
        )
    }
    assert "export OMP_NUM_THREADS=1\n" in body
    assert "export NAS_DEVICE=cuda:0\n" in body
    assert bash(text, "-n").returncode == 0


@pytest.mark.parametrize("value", HOSTILE)
@pytest.mark.parametrize("option", ["--partition", "--account"])
def test_a_script_refuses_hostile_options(option, value):
    with pytest.raises(SpecError, match=option):
        slurm.script(Job("tiny"), slurm_cluster(**{option[2:]: value}))


@pytest.mark.process
@pytest.mark.parametrize("value", [value for value in HOSTILE if value.isprintable() and value])
def test_no_shell_reads_a_directive(value):
    """Whatever its value, bash takes the line for a comment."""
    text = slurm.script(Job("tiny"), slurm_cluster(directives=(f"comment={value}",)))
    head, _, _ = text.partition("\n\n")
    assert all(line.startswith("#") for line in head.splitlines())
    assert bash(head + "\necho $#\n").stdout == "0\n"


@pytest.mark.parametrize(
    ("directives", "message"),
    [
        (("gres=gpu:1",), "--directive 'gres=gpu:1': --gpu is needed too"),
        (("partition=b",), "--directive 'partition=b': --partition is given too"),
        (("wrap=id",), "the script sets wrap itself"),
    ],
)
def test_directives_that_contradict_other_options_are_refused(directives, message):
    with pytest.raises(SpecError, match=message):
        slurm.script(Job("tiny"), slurm_cluster(directives=directives, partition="a"))


@pytest.mark.parametrize(
    ("hours", "grace_s", "written"),
    [
        (0.0333, 30, "0-00:02:00"),  # 119.88 s
        (2 / 60, 30, "0-00:02:00"),
        (0.35, 120, "0-00:21:00"),
        (0.334, 120, "0-00:21:00"),  # 1,202.4 s
        (24.0, 120, "1-00:00:00"),
    ],
)
def test_the_time_limit_in_whole_minutes(hours, grace_s, written):
    text = slurm.script(Job("tiny", grace_s=grace_s), slurm_cluster(hours=hours))
    assert f"#SBATCH --time={written}\n" in text


@pytest.mark.parametrize(
    ("hours", "grace_s", "least"),
    [
        (0.0167, 1, r"--hours 0.0167, 1 min: .* at least 2 min \(--hours 0.034\)"),
        (0.05, 120, r"--hours 0.05, 3 min: .* at least 4 min \(--hours 0.067\)"),
        (1.0, 3600, r"--hours 1, 60 min: .* at least 62 min \(--hours 1.034\)"),
    ],
)
def test_a_time_limit_in_which_nothing_could_be_trained_is_refused(hours, grace_s, least):
    """SLURM's signal comes --grace seconds before the limit, or up to 60 s earlier."""
    with pytest.raises(SpecError, match=least):
        slurm.script(Job("tiny", grace_s=grace_s), slurm_cluster(hours=hours))


def test_an_array_of_which_few_run_at_once():
    text = slurm.script(Job("tiny", 64), slurm_cluster(at_once=8))
    assert "#SBATCH --array=1-64%8\n" in text
    with pytest.raises(SpecError, match=r"--at-once 65: must be in 1\.\.64"):
        slurm.script(Job("tiny", 64), slurm_cluster(at_once=65))


def test_a_script_carries_what_workers_read_and_no_secret(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    environment = {"NAS_CACHE": "cache", "NAS_SPOOL": "/it's here", "PGPASSFILE": "../pass word"}
    environment |= {
        "PGPASSWORD": "canary",
        "NAS_STORAGE": "postgresql://u:canary@h/d",
        "NAS_PULSE": "/p",
    }
    variables = slurm.carried(environment | {"PGSSLMODE": "verify-full", "PGSERVICE": ""})
    assert variables == {
        "NAS_CACHE": f"{tmp_path}/cache",
        "NAS_SPOOL": "/it's here",
        "PGPASSFILE": f"{tmp_path.parent}/pass word",
        "PGSSLMODE": "verify-full",
    }
    text = slurm.script(Job("tiny"), slurm_cluster(variables=variables))
    assert "export NAS_SPOOL='/it'\"'\"'s here'\n" in text
    assert "canary" not in text
    with pytest.raises(SpecError, match=r"NAS_CACHE=.*without control characters"):
        slurm.carried({"NAS_CACHE": "/a\nb"})


def test_a_study_that_is_not_in_the_store_is_refused(tmp_path):
    study = StudyInStore(tmp_path, epochs=1, trainings=1)
    path = tmp_path / "job.sh"
    code, output = study.nas("launch", "slurm", "other", "-o", str(path))
    assert code == 2
    assert "no study 'other'" in output
    assert "there: tiny" in output
    assert not path.exists()


@pytest.mark.parametrize(
    ("url", "note"),
    [
        (None, "url does not exist here; the nodes need it"),
        ("postgresql://127.0.0.1:1/d", "cannot ask the store for study tiny: postgresql"),
    ],
)
def test_a_store_that_only_the_nodes_reach_is_noted(tmp_path, url, note):
    path = tmp_path / "url"
    if url is not None:
        path.write_text(url)
        path.chmod(0o600)
    words = ["launch", "slurm", "tiny", "--storage-file", str(path)]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert note in done.output


def test_the_printed_command_is_quoted(tmp_path):
    study = StudyInStore(tmp_path, epochs=1, trainings=1)
    path = tmp_path / "my $job.sh"
    code, output = study.nas("launch", "slurm", "tiny", "-o", str(path))
    assert code == 0, output
    assert f"`sbatch '{path}'` starts it" in output
    code, output = study.nas("launch", "slurm", "tiny", "-o", str(tmp_path / "none/job.sh"))
    assert code == 2
    assert "none/job.sh: No such file or directory" in output


@pytest.mark.process
@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_shellcheck_reports_nothing():
    text = slurm.script(Job("tiny", 3, gpu=True), slurm_cluster(data="/it's here"))
    done = subprocess.run(
        ["shellcheck", "-s", "bash", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def program(path: Path, steps: str) -> str:
    path.write_text(f"#!/bin/sh\n{steps}\n")
    path.chmod(0o755)
    return str(path)


@pytest.mark.process
def test_a_task_of_an_array_completes_a_study(tmp_path):
    study = StudyInStore(tmp_path, epochs=1, trainings=1)
    path = tmp_path / "job.sh"
    warm.STARTS.started()
    warm_python = Path(warm.__file__).with_name("warm_python.py")
    python = program(tmp_path / "python", f'exec {sys.executable} {warm_python} "$@"')
    words = ("--workers", "2", "--data", str(tmp_path), "-o", str(path), "--python", python)
    code, output = study.nas("launch", "slurm", "tiny", *words)
    assert code == 0, output
    assert os.access(path, os.X_OK)
    assert "sqlite" not in path.read_text(), "the URL stays in its file"
    environment = {"SLURM_ARRAY_TASK_ID": "2", "NAS_STORAGE": "sqlite:///wrong.db"}
    task = bash("", "-c", f"cd '{tmp_path}' && exec bash job.sh", **environment)
    assert task.returncode == 0, task.stderr
    assert task.stdout.startswith("worker 2 on ")
    assert "end: " in task.stdout
    assert study.rows(TRAINED) == [(1, 1)]


@pytest.mark.process
def test_the_termination_signal_reaches_the_worker(tmp_path):
    """The shell is replaced by the worker, which a small program stands in for."""
    study = StudyInStore(tmp_path, epochs=1, trainings=1)
    steps = "trap 'exit 7' TERM\ntouch began\nwhile :; do sleep 0.05; done"
    worker = program(tmp_path / "worker", steps)
    code, text = study.nas("launch", "slurm", "tiny", "--python", worker)
    assert code == 0, text
    (tmp_path / "job.sh").write_text(text)
    task = subprocess.Popen(["bash", str(tmp_path / "job.sh")], cwd=tmp_path)
    wait_until((tmp_path / "began").exists)
    task.send_signal(signal.SIGTERM)
    assert task.wait(timeout=60) == 7, "it ended by itself"


@pytest.mark.parametrize("rights", [0o644, 0o660])
def test_a_file_with_the_url_that_others_may_read_is_refused(tmp_path, rights):
    study = StudyInStore(tmp_path, epochs=1, trainings=1)
    study.url.chmod(rights)
    code, output = study.nas("launch", "slurm", "tiny")
    assert code == 4
    assert "chmod 600" in output


def test_a_script_needs_a_file_with_the_url():
    environment = {"NAS_STORAGE_FILE": "", "NAS_STORAGE": "postgresql://u:canary@h/d"}
    done = CliRunner().invoke(main, ["launch", "slurm", "tiny"], env=environment)
    assert done.exit_code == 2
    assert "--storage-file" in done.output
    assert "canary" not in done.output
