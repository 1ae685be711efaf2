"""docker-compose.yml: its properties, and its services run as processes, one of which is killed."""

import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import tiny
import yaml
from click.testing import CliRunner

from nas_service.cli.main import main
from nas_service.worker.health import pulse

ROOT = Path(__file__).parents[1]
FILE = ROOT / "docker-compose.yml"
VARIABLE = re.compile(r"\$\{(\w+):-([^}]*)\}")
OURS = ("create", "worker", "dashboard")
LASTING = ("postgres", "worker", "dashboard")
TRAININGS = 3
STUDY = tiny.BUDGETED.format(epochs=8, trainings=TRAININGS)


def tree(**variables: str) -> dict[str, Any]:
    """The file with its variables filled in."""
    text = VARIABLE.sub(lambda match: variables.get(match[1], match[2]), FILE.read_text())
    assert "${" not in text
    services = yaml.safe_load(text)
    assert isinstance(services, dict)
    return services


TREE = tree()
SERVICES = TREE["services"]


# --- what it promises


def test_every_service_is_tested():
    assert set(SERVICES) == {"postgres", *OURS}


@pytest.mark.parametrize("name", LASTING)
def test_lasting_services_have_health_checks_and_restart(name):
    service = SERVICES[name]
    kind, program, *_ = service["healthcheck"]["test"]
    assert (kind, program) in (("CMD", "pg_isready"), ("CMD", "nas-health"))
    assert service["restart"] in ("unless-stopped", "on-failure:5")
    assert int(service["stop_grace_period"].removesuffix("s")) >= 10


def test_the_study_is_made_once_and_before_the_workers():
    assert SERVICES["create"]["restart"] == "no"
    healthy, done = {"condition": "service_healthy"}, "service_completed_successfully"
    assert SERVICES["create"]["depends_on"] == {"postgres": healthy}
    for name in ("worker", "dashboard"):
        needs = {"postgres": healthy, "create": {"condition": done}}
        assert SERVICES[name]["depends_on"] == needs


def test_only_the_dashboard_is_published_and_only_locally():
    ports = {name: service.get("ports", []) for name, service in SERVICES.items()}
    assert ports == {"postgres": [], "create": [], "worker": [], "dashboard": [
        "127.0.0.1:8080:8080"
    ]}  # fmt: skip
    assert not any("network_mode" in service for service in SERVICES.values())
    assert TREE["networks"]["store"]["internal"] is True
    inside = {name for name, s in SERVICES.items() if s["networks"] == ["store"]}
    assert inside == {"postgres", "create", "worker"}
    assert set(SERVICES["dashboard"]["networks"]) == {"store", "front"}


def test_secrets_are_files():
    assert all(list(secret) == ["file"] for secret in TREE["secrets"].values())
    assert all(s["file"].startswith("secrets/") for s in TREE["secrets"].values())
    assert "/secrets/" in (ROOT / ".gitignore").read_text().splitlines()
    for service in SERVICES.values():
        assert set(service["secrets"]) <= set(TREE["secrets"])
        for key, value in service["environment"].items():
            assert "://" not in str(value)
            if re.search("PASSWORD|STORAGE|TOKEN", key):
                assert key.endswith("_FILE")
                assert value.removeprefix("/run/secrets/") in service["secrets"]


@pytest.mark.parametrize("name", OURS)
def test_services_of_this_project_have_few_rights(name):
    service = SERVICES[name]
    assert service["init"] is True, "process 1 ignores signals before it has handlers"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]
    assert service["mem_limit"]
    assert service["pids_limit"]
    assert "./data:/data:ro" in service.get("volumes", []) or name == "dashboard"
    assert not {"privileged", "cap_add", "user"} & set(service)


def test_the_image_runs_as_one_unprivileged_user():
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    assert [line for line in lines if line.startswith("USER ")] == ["USER nas"]
    after = lines[lines.index("USER nas") + 1 :]
    assert after == ['ENTRYPOINT ["nas"]']


def test_only_copied_files_are_sent_to_the_builder():
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    copied = re.findall(r"^COPY (.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert {rule[1:] for rule in rules if rule.startswith("!")} == set(" ".join(copied).split())


@pytest.mark.process
@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="no docker-compose")
def test_compose_reads_it():
    command = ["docker-compose", "-f", str(FILE), "config", "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.process
@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_shellcheck_reports_nothing():
    subprocess.run(["shellcheck", str(ROOT / "tests/compose/entrypoint.sh")], check=True)


# --- the same services as processes


class ComposeFolder:
    """A folder in place of the containers, where the services' commands are run."""

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        (folder / "studies").mkdir()
        (folder / "studies" / "tiny.toml").write_text(STUDY)
        (folder / "secrets").mkdir(mode=0o700)
        for name, text in {"storage_url": url, "dashboard_token": "0123456789abcdef" * 4}.items():
            (folder / "secrets" / name).write_text(text)
            (folder / "secrets" / name).chmod(0o600)
        self.processes: list[subprocess.Popen[str]] = []
        self.folders = {"NAS_DATA": str(folder), "NAS_ARTIFACTS": str(folder / "artifacts")}
        self.port = "0"

    def services(self) -> dict[str, Any]:
        result: dict[str, Any] = tree(STUDY="tiny", DASHBOARD_PORT=self.port)["services"]
        return result

    def local_path(self, text: str) -> str:
        """A container's path as one of this folder."""
        places = {"/run/secrets/": f"{self.folder}/secrets/", "/tmp/": f"{self.folder}/"}
        return re.sub("/run/secrets/|/tmp/", lambda match: places[match[0]], text)

    def create(self) -> str:
        """Runs the service's command that makes the study, in this process; returns its output."""
        service = self.services()["create"]
        variables = {key: self.local_path(value) for key, value in service["environment"].items()}
        words = [self.local_path(word) for word in service["command"]]
        with contextlib.chdir(self.folder):
            result = CliRunner().invoke(main, words, env=variables | self.folders)
        assert result.exit_code == 0, result.output
        return result.output

    def start(self, name: str) -> "subprocess.Popen[str]":
        service = self.services()[name]
        words = [self.local_path(word) for word in service["command"]]
        variables = {key: self.local_path(value) for key, value in service["environment"].items()}
        process = subprocess.Popen(
            [sys.executable, "-m", "nas_service", *words],
            cwd=self.folder,
            env={**os.environ, **self.folders, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self.processes.append(process)
        return process

    def health(self, name: str) -> int:
        """The exit code of the service's own health check."""
        _, program, *words = self.services()[name]["healthcheck"]["test"]
        assert program == "nas-health"
        command = [sys.executable, "-m", "nas_service.worker.health", *map(self.local_path, words)]
        return subprocess.run(command, capture_output=True, check=False).returncode


@pytest.fixture
def compose_folder(tmp_path: Path, postgres_url: str) -> Iterator[ComposeFolder]:
    compose_folder = ComposeFolder(tmp_path, postgres_url)
    yield compose_folder
    for process in compose_folder.processes:
        process.kill()
        process.communicate()


def wait_for(true: Callable[[], Any], seconds: float = 240) -> Any:
    end = time.monotonic() + seconds
    while not (result := true()):
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)
    return result


@pytest.mark.process
def test_a_worker_is_killed_and_the_budget_is_exact(compose_folder, postgres_url):
    engine = sa.create_engine(postgres_url)

    def rows(text: str) -> list[Any]:
        with engine.connect() as db:
            return list(db.execute(sa.text(text)))

    assert "study tiny is in postgresql" in compose_folder.create()
    workers = [compose_folder.start("worker") for _ in range(2)]
    training = "select worker from nas_leases where state = 'training'"
    process = int(wait_for(lambda: rows(training))[0][0].split("/")[2])
    os.kill(process, signal.SIGKILL)
    assert compose_folder.health("worker") == 0
    assert pulse(compose_folder.folder / "pulse", 120, time.time() + 200)
    for worker in workers:
        output, _ = worker.communicate(timeout=240)
        expected = -signal.SIGKILL if worker.pid == process else 0
        assert worker.returncode == expected, output
    counts = "select count(*), count(distinct digest) from nas_archive where outcome = 'trained'"
    assert rows(counts) == [(TRAININGS, TRAININGS)]
    assert rows("select distinct state from nas_leases") == [("reported",)]
    engine.dispose()


@pytest.mark.process
def test_the_dashboard_answers_its_health_check(compose_folder):
    compose_folder.create()
    assert compose_folder.health("dashboard") == 1, "nothing listens yet"
    dashboard = compose_folder.start("dashboard")
    url = dashboard.stdout.readline().split()[1]
    assert url.startswith("http://0.0.0.0:")
    compose_folder.port = url.rstrip("/").rsplit(":", 1)[1]
    assert compose_folder.health("dashboard") == 0
    dashboard.send_signal(getattr(signal, compose_folder.services()["dashboard"]["stop_signal"]))
    assert dashboard.wait(timeout=60) == 0


def test_variables_have_defaults():
    """So that `docker compose up` alone is a whole command, of studies/digits.toml."""
    assert json.dumps(SERVICES["worker"]["command"]) == '["worker", "--study", "digits"]'
    assert (ROOT / SERVICES["create"]["command"][1]).is_file()
