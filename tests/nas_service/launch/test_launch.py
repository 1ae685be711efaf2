"""`nas launch`: scripts and manifests that run, workers on a Dask cluster that is killed."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import tiny
from click.testing import CliRunner
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st

from nas_service.cli.main import main
from nas_service.errors import NasError, SpecError
from nas_service.launch import dask, kubernetes, slurm
from nas_service.launch.job import Job
from nas_service.worker import health

TRAINING = "select owner from nas_leases where state = 'training'"
TRAINED = "select count(*), count(distinct digest) from nas_archive where outcome = 'trained'"
HOSTILE = [
    "; rm -rf ~",
    "$(id)",
    "`id`",
    "a b",
    "a\nb",
    "'",
    '"',
    "a'b",
    "\\",
    "--wrap=id",
    "",
    "é",
]


class Place:
    """A folder with a study in a store, and the file that holds the store's URL."""

    def __init__(self, folder: Path, epochs: int, trainings: int) -> None:
        self.folder, self.db = folder, folder / "nas.db"
        self.url = folder / "url"
        self.url.write_text(f"sqlite:///{self.db}")
        self.url.chmod(0o600)
        (folder / "tiny.toml").write_text(tiny.BUDGETED.format(epochs=epochs, trainings=trainings))
        code, said = self.nas("create", str(folder / "tiny.toml"))
        assert code == 0, said

    def nas(self, *words: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, words, env={"NAS_STORAGE_FILE": str(self.url)})
        return done.exit_code, done.output

    def rows(self, query: str) -> list[tuple]:
        with sqlite3.connect(self.db, timeout=30) as db:
            return db.execute(query).fetchall()


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


def kubernetes_cluster(**given: object) -> kubernetes.Cluster:
    names = {"image": "registry/nas:1", "secret": "nas-store", "artifacts_claim": "weights"}
    return kubernetes.Cluster(**{**names, **given})  # type: ignore[arg-type]


# --- every engine


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_study_is_refused(name):
    with pytest.raises(SpecError, match="name"):
        Job(name)
    with pytest.raises(SpecError, match="name"):
        dask.new_task(name, "/data", None, False)


@pytest.mark.parametrize(
    ("given", "option"),
    [
        ({"workers": 0}, "--workers 0: 1..10000"),
        ({"workers": 10**6}, "--workers 1e+06"),
        ({"cpus": -1}, "--cpus -1"),
        ({"memory_GiB": 10**9}, "--memory 1e+09"),
        ({"grace_s": 0}, "--grace 0"),
    ],
)
def test_numbers_have_a_range(given, option):
    with pytest.raises(SpecError) as caught:
        Job("tiny", **given)
    assert option in str(caught.value)


# --- SLURM


@given(folder=st.text(min_size=1, max_size=30), workers=st.integers(1, 10_000))
@settings(max_examples=40, deadline=None, derandomize=True)
def test_a_script_passes_any_path_on_as_it_is(folder, workers):
    """Run by bash, `exec` replaced by a word that prints what the worker would be given."""
    path = f"/{folder}"
    if not path.isprintable():
        with pytest.raises(SpecError, match="--data"):
            slurm_cluster(data=path)
        return
    text = slurm.script(Job("tiny", workers), slurm_cluster(data=path, storage_file=path))
    assert f"#SBATCH --array=1-{workers}\n" in text
    shown = text.replace("exec /usr/bin/python3", "printf '%s\\0' \"$NAS_STORAGE_FILE\"")
    done = subprocess.run(["bash"], input=shown.encode(), capture_output=True, check=True)
    _, _, told = done.stdout.partition(b"\n")
    words = ["-m", "nas_service", "worker", "--study", "tiny", "--data", path]
    assert told.decode().split("\0") == [path, *words, ""]


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
@pytest.mark.parametrize("option", ["--partition", "--account", "--directive"])
def test_a_script_takes_no_hostile_word(option, value):
    given = {"--directive": {"directives": (f"qos={value}",)}}
    given = given.get(option, {option[2:]: value})
    with pytest.raises(SpecError, match=option):
        slurm.script(Job("tiny"), slurm_cluster(**given))


@pytest.mark.parametrize("text", ["wrap=id", "array=1-9", "x y=1", "", "=1", "--qos=long", "uid=0"])
def test_a_directive_that_is_ours_or_none_is_refused(text):
    with pytest.raises(SpecError, match="--directive"):
        slurm.script(Job("tiny"), slurm_cluster(directives=(text,)))


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_shellcheck_has_nothing_to_say():
    text = slurm.script(Job("tiny", 3, gpu=True), slurm_cluster(data="/it's here"))
    done = subprocess.run(
        ["shellcheck", "-s", "bash", "-"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, "")


def test_two_tasks_of_an_array_do_a_study(tmp_path):
    place = Place(tmp_path, epochs=1, trainings=2)
    path = tmp_path / "job.sh"
    words = ("--workers", "2", "--data", str(tmp_path), "-o", str(path))
    code, said = place.nas("launch", "slurm", "tiny", *words)
    assert code == 0, said
    assert os.access(path, os.X_OK)
    assert "sqlite" not in path.read_text(), "the URL stays in its file"
    tasks = [
        subprocess.Popen(
            ["bash", str(path)],
            cwd=tmp_path,
            env={**os.environ, "SLURM_ARRAY_TASK_ID": str(i), "NAS_STORAGE": "sqlite:///wrong.db"},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for i in (1, 2)
    ]
    for i, task in enumerate(tasks, 1):
        out, err = task.communicate(timeout=120)
        assert task.returncode == 0, err
        assert out.startswith(f"worker {i} on ")
        assert "end: " in out
    assert place.rows(TRAINED) == [(2, 2)]


def test_the_signal_to_end_reaches_the_worker(tmp_path):
    """The shell gives its place to the worker, which releases the trial in hand."""
    place = Place(tmp_path, epochs=200, trainings=1)
    code, text = place.nas("launch", "slurm", "tiny")
    assert code == 0, text
    (tmp_path / "job.sh").write_text(text)
    task = subprocess.Popen(["bash", str(tmp_path / "job.sh")], cwd=tmp_path)
    wait_until(lambda: place.rows(TRAINING))
    task.send_signal(signal.SIGTERM)
    assert task.wait(timeout=60) >= 0, "it ended by itself"
    assert place.rows("select state from nas_leases where state != 'told'") == [("waiting",)]


def wait_until(true, seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


@pytest.mark.parametrize("rights", [0o644, 0o660])
def test_a_file_with_the_url_that_others_may_read_is_refused(tmp_path, rights):
    place = Place(tmp_path, epochs=1, trainings=1)
    place.url.chmod(rights)
    code, said = place.nas("launch", "slurm", "tiny")
    assert code == 4
    assert "chmod 600" in said


def test_a_script_needs_a_file_with_the_url():
    environment = {"NAS_STORAGE_FILE": "", "NAS_STORAGE": "postgresql://u:canary@h/d"}
    done = CliRunner().invoke(main, ["launch", "slurm", "tiny"], env=environment)
    assert done.exit_code == 2
    assert "--storage-file" in done.output
    assert "canary" not in done.output


# --- Kubernetes


def paths_of(tree: object, path: str = "") -> dict[str, object]:
    """Every leaf of a JSON tree by its path."""
    if isinstance(tree, dict | list) and tree:
        items = tree.items() if isinstance(tree, dict) else enumerate(tree)
        return {k: v for key, value in items for k, v in paths_of(value, f"{path}/{key}").items()}
    return {path: tree}


def test_a_manifest_s_parts():
    job = Job("My_Study.2", 8, cpus=2, memory_GiB=6, gpu=True, grace_s=90)
    where = kubernetes_cluster(data_claim="sets", namespace="lab", restarts=3, hours=1.5)
    tree = json.loads(kubernetes.manifest(job, where))
    assert (tree["apiVersion"], tree["kind"]) == ("batch/v1", "Job")
    assert tree["metadata"]["namespace"] == "lab"
    spec = tree["spec"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 8, 8)
    assert (spec["backoffLimitPerIndex"], spec["activeDeadlineSeconds"]) == (3, 5400)
    pod = spec["template"]["spec"]
    assert pod["restartPolicy"] == "Never", "as backoffLimitPerIndex demands"
    assert pod["terminationGracePeriodSeconds"] == 90
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] > 0
    (container,) = pod["containers"]
    assert container["args"] == ["worker", "--study", "My_Study.2", "--term-exit", "143"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["resources"]["requests"] == {"cpu": "2", "memory": "6Gi"}
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    writable = {m["mountPath"] for m in container["volumeMounts"] if not m["readOnly"]}
    environment = {e["name"]: e["value"] for e in container["env"]}
    for name in ("NAS_ARTIFACTS", "NAS_CACHE", "HOME"):
        assert environment[name] in writable
    assert str(Path(environment["NAS_PULSE"]).parent) in writable
    claims = [v["persistentVolumeClaim"]["claimName"] for v in pod["volumes"] if len(v) == 2
              and "persistentVolumeClaim" in v]  # fmt: skip
    assert claims == ["sets", "weights"]
    assert "://" not in json.dumps(tree), "no URL of the store"


@pytest.mark.parametrize("version", ["1.29", "1.37"])
@pytest.mark.parametrize("gpu", [False, True])
def test_a_manifest_keeps_kubernetes_own_schema(gpu, version):
    """Strictly: a key that Kubernetes does not know is one that it would drop without a word."""
    schemas = pytest.importorskip("kubernetes_validate")
    where = kubernetes_cluster(data_claim="sets", namespace="lab", hours=2) if gpu else None
    text = kubernetes.manifest(Job("My_Study", 8, gpu=gpu), where or kubernetes_cluster())
    assert schemas.validate(json.loads(text), version, strict=True)
    broken = json.loads(text.replace("backoffLimitPerIndex", "backoffLimitperIndex"))
    with pytest.raises(schemas.ValidationError):
        schemas.validate(broken, version, strict=True)


def test_a_secret_s_file_can_be_read_by_the_worker_alone():
    """Kubernetes hands it to the group of the pod's user, which the worker allows."""
    tree = json.loads(kubernetes.manifest(Job("tiny"), kubernetes_cluster()))
    secrets = [v["secret"] for v in tree["spec"]["template"]["spec"]["volumes"] if "secret" in v]
    assert [s["defaultMode"] for s in secrets] == [0o440]


@given(name=st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,63}", fullmatch=True))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_study_has_a_legal_job_name_of_its_own(name):
    found = kubernetes.job_name(name)
    assert kubernetes.LABEL.fullmatch(found)
    assert len(f"{found}-9999") <= 63, "a pod's host name"
    assert found != kubernetes.job_name(name.swapcase()) or name == name.swapcase()


@pytest.mark.parametrize("value", [v for v in HOSTILE if v != "--wrap"] + ["UP", "a_b", "-a"])
@pytest.mark.parametrize(
    "option", ["image", "secret", "artifacts_claim", "data_claim", "namespace"]
)
def test_a_manifest_takes_no_hostile_name(option, value):
    if option == "image" and value == "a_b":
        return  # images may
    with pytest.raises(SpecError, match="--" + option.replace("_", "-")):
        kubernetes_cluster(**{option: value})


def test_a_manifest_alone_is_printed():
    words = [
        "launch",
        "kubernetes",
        "tiny",
        "--image",
        "nas",
        "--artifacts-claim",
        "weights",
        "--workers",
        "3",
    ]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["spec"]["completions"] == 3
    assert "kubectl create secret generic nas-store --from-file=storage_url=FILE" in done.stderr


# --- health


def test_a_worker_gives_signs_of_life(tmp_path, monkeypatch):
    place = Place(tmp_path, epochs=1, trainings=1)
    monkeypatch.setenv("NAS_PULSE", str(tmp_path / "pulse"))
    monkeypatch.setattr(health, "BEAT_s", 0.05)
    code, said = place.nas("worker", "--study", "tiny", "--data", str(tmp_path))
    assert code == 0, said
    now = (tmp_path / "pulse").stat().st_mtime
    assert health.pulse(tmp_path / "pulse", 10, now + 9) == ""
    assert "11 s ago" in health.pulse(tmp_path / "pulse", 10, now + 11)
    assert "No such file" in health.pulse(tmp_path / "none", 10, now)


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


# --- Dask


@pytest.fixture(scope="module")
def cluster():
    """Two Dask workers, each a process that is replaced when it is lost."""
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(**options) as made:
        yield made


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def test_a_dask_worker_is_killed_and_the_budget_is_exact(tmp_path, cluster):
    """The nanny starts another Dask worker, Dask gives it the task, the store the trial."""
    place = Place(tmp_path, epochs=8, trainings=3)
    killed, said = [], []

    def kill() -> None:
        wait_until(lambda: place.rows(TRAINING))
        killed.append(parent(int(place.rows(TRAINING)[0][0].split("/")[2])))
        os.kill(killed[0], signal.SIGKILL)

    with Client(cluster) as client:
        pids = set(client.run(os.getpid).values())
        killer = threading.Thread(target=kill)
        killer.start()
        task = dask.new_task("tiny", str(tmp_path), str(place.url), False)
        reason = dask.launch(client, task, 2, said.append)
        killer.join()
    assert killed
    assert set(killed) <= pids
    assert "budget" in reason
    assert sum(text.startswith("worker on tcp://") for text in said) == 2
    assert place.rows(TRAINED) == [(3, 3)]


def test_an_interrupted_client_ends_its_workers(tmp_path, cluster):
    place = Place(tmp_path, epochs=2000, trainings=1)
    words = ["launch", "dask", "tiny", "--scheduler", cluster.scheduler_address]
    words += ["--workers", "1", "--storage-file", str(place.url), "--data", str(tmp_path)]
    client = subprocess.Popen([sys.executable, "-m", "nas_service", *words], cwd=tmp_path)
    wait_until(lambda: place.rows(TRAINING))
    client.send_signal(signal.SIGINT)
    assert client.wait(timeout=60) == 130
    assert place.rows("select state from nas_leases where state != 'told'") == [("waiting",)]


def test_a_worker_that_cannot_start_is_told_of(tmp_path, cluster):
    task = dask.new_task("tiny", str(tmp_path), str(tmp_path / "none"), False)
    with Client(cluster) as client, pytest.raises(NasError, match="exit code 4"):
        dask.launch(client, task, 1, print, restarts=1)


def test_what_the_cluster_is_shown_is_no_secret(tmp_path):
    task = dask.new_task("tiny", "/data", "/home/me/url", True)
    given = {"NAS_STORAGE": "postgresql://u:canary@h/d", "PATH": "/bin"}
    assert "canary" not in repr(task) + repr(task.command)
    found = task.environment(given)
    assert "NAS_STORAGE" not in found
    assert found["NAS_STORAGE_FILE"] == "/home/me/url"
    assert found["OMP_NUM_THREADS"] == "1"
    with pytest.raises(NasError, match="neither"):
        dask.new_task("tiny", "/data", None, True).environment({"PATH": "/bin"})


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), "one of --scheduler and --local"),
        (("--scheduler", "tcp://127.0.0.1:1", "--local", "2"), "one of --scheduler and --local"),
        (("--scheduler", "host:8786"), "--scheduler 'host:8786': an address"),
        (("--scheduler", "tcp://h:1", "--storage", "sqlite:///x.db"), "--storage: is for --local"),
        (("--local", "2", "--storage", "postgresql://u:canary@h/d"), "command line"),
    ],
)
def test_dask_s_options(words, said):
    done = CliRunner().invoke(main, ["launch", "dask", "tiny", *words])
    assert done.exit_code == 2
    assert said in done.output
    assert "canary" not in done.output


def test_a_cluster_of_this_machine_alone_does_a_study(tmp_path):
    pytest.importorskip("cryptography")
    place = Place(tmp_path, epochs=1, trainings=2)
    code, said = place.nas("launch", "dask", "tiny", "--local", "2", "--data", str(tmp_path))
    assert code == 0, said
    assert said.count("worker on tls://127.0.0.1:") == 2
    assert said.endswith("end: budget spent: 2 trainings\n")
    assert place.rows(TRAINED) == [(2, 2)]


def test_a_cluster_that_others_could_talk_to_is_not_made(tmp_path, monkeypatch):
    place = Place(tmp_path, epochs=1, trainings=1)
    monkeypatch.setitem(sys.modules, "cryptography", None)  # as where it is not installed
    code, said = place.nas("launch", "dask", "tiny", "--local", "1")
    assert code == 2
    assert "--local: needs the package cryptography" in said
    code, said = place.nas("launch", "dask", "other", "--local", "1")
    assert code == 2
    assert "other" in said


def test_a_worker_that_nobody_listens_to_goes_on(tmp_path):
    """Its output is a pipe whose reader is gone before the first line."""
    place = Place(tmp_path, epochs=1, trainings=2)
    reader, writer = os.pipe()
    os.close(reader)
    words = [sys.executable, "-m", "nas_service", "worker", "--study", "tiny"]
    environment = {**os.environ, "NAS_STORAGE": f"sqlite:///{place.db}"}
    with os.fdopen(writer, "wb") as pipe:
        subprocess.run(words, stdout=pipe, env=environment, cwd=tmp_path, check=False, timeout=120)
    assert place.rows(TRAINED) == [(2, 2)]
    assert place.rows("select distinct state from nas_leases") == [("told",)]
