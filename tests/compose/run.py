"""docker-compose.yml brought up for real: built, three workers, one killed and one crashed.

    python tests/compose/run.py [--base IMAGE] [--postgres IMAGE] [--wheels FOLDER] [--json]

Needs a Docker engine with Compose, and leaves only the image. Where no image registry
is reached, tests/compose/bases.py makes the images to begin with. What `docker kill` ends is not
started again, so its trial waits until the lease is over; a crashed worker is started again. Exits
1 if anything is not as docs/workers.md says.
"""

import argparse
import base64
import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
NEEDED = ["Dockerfile", ".dockerignore", "docker-compose.yml", "pyproject.toml", "constraints.txt",
          "README.md", "LICENSE", "hw_models", "nas_service", "studies"]  # fmt: skip
PROJECT = "nas-trial"
WORKERS, TRAININGS, EPOCHS = 3, 16, 12
UID = 1000
STUDY = f"""
name = "trial"
seed = 3
[space]
operations = "light3"
channels = [4, 8]
head_pool = [2, 4]
hidden = [16, 32]
time_steps = [2, 3]
weight_bits = [4, 8]
[data]
name = "digits"
[training]
epochs = {EPOCHS}
[search]
trainings = {TRAININGS}
[[objectives]]
metric = "accuracy"
direction = "maximize"
[[objectives]]
metric = "energy_uJ"
direction = "minimize"
reference = 1.0
[[constraints]]
metric = "energy_uJ"
at_most = 0.8
"""
KILL = "import os, sys; os.kill(int(sys.argv[1]), 9)"


def compose_command() -> list[str]:
    plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False)
    return ["docker", "compose"] if plugin.returncode == 0 else ["docker-compose"]


class Trial:
    """A copy of the project in a new folder, with new secrets."""

    def __init__(self, folder: Path, base: str, postgres: str, wheels: str, port: int) -> None:
        self.folder, self.port = folder, port
        for name in NEEDED:
            copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
            copy(ROOT / name, folder / name)
        (folder / "studies" / "trial.toml").write_text(STUDY)
        (folder / "data").mkdir()
        self.password, self.token = secrets.token_hex(24), secrets.token_hex(32)
        self.environment = {
            **os.environ,
            "BASE": base,
            "POSTGRES_IMAGE": postgres,
            "STUDY": "trial",
            "DASHBOARD_PORT": str(port),
            "NAS_UID": str(os.getuid() or UID),
        }
        if wheels:
            self.environment |= {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": wheels}
        self._write_secrets()

    def _write_secrets(self) -> None:
        where = self.folder / "secrets"
        where.mkdir(mode=0o700)
        url = f"postgresql://nas:{self.password}@postgres:5432/nas"
        texts = {"postgres_password": self.password, "storage_url": url}
        for name, text in {**texts, "dashboard_token": self.token}.items():
            path = where / name
            path.write_text(text)
            path.chmod(0o600)
            if os.getuid() == 0:
                os.chown(path, UID, UID)

    def docker(self, *words: str) -> str:
        return self._run(["docker", *words])

    def compose(self, *words: str) -> str:
        return self._run([*compose_command(), "-p", PROJECT, *words])

    def _run(self, words: list[str]) -> str:
        done = subprocess.run(
            words,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(words)}: {done.returncode}\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def ids(self, service: str) -> list[str]:
        return self.docker(
            *("ps", "--all", "--quiet", "--filter", f"label=com.docker.compose.project={PROJECT}"),
            *("--filter", f"label=com.docker.compose.service={service}"),
            *("--filter", "label=com.docker.compose.oneoff=False"),
        ).split()

    def state(self, container: str) -> dict[str, Any]:
        (result,) = json.loads(self.docker("inspect", container))
        return result

    def query(self, text: str) -> list[list[str]]:
        (postgres,) = self.ids("postgres")
        words = ["psql", "-U", "nas", "-d", "nas", "-At", "-F", "|", "-c", text]
        out = self.docker("exec", postgres, *words)
        return [line.split("|") for line in out.splitlines()]

    def nas(self, *words: str) -> str:
        return self.compose("run", "--rm", "-T", "--no-deps", "create", *words)

    def ask(self, path: str, method: str = "GET", host: str = "", token: str = "") -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        word = base64.b64encode(f"nas:{token}".encode()).decode()
        headers = {"Host": host or f"127.0.0.1:{self.port}", "Authorization": f"Basic {word}"}
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


def until(true: Callable[[], Any], seconds: float, what: str) -> Any:
    end = time.monotonic() + seconds
    while not (result := true()):
        if time.monotonic() > end:
            raise SystemExit(f"after {seconds:.0f} s: {what}")
        time.sleep(0.5)
    return result


def training(trial: Trial) -> list[tuple[str, str]]:
    """Containers, by their short ids, and processes in them, that train now."""
    rows = trial.query("select worker from nas_leases where state = 'training'")
    return [(owner.split("/")[0], owner.split("/")[2]) for (owner,) in rows if owner]


def faults(trial: Trial) -> tuple[str, str]:
    """One worker killed for good and another crashed, both while they train."""
    workers = {i[:12] for i in trial.ids("worker")}
    busy = until(lambda: training(trial), 300, "no worker trains")
    killed = busy[0][0]
    trial.docker("kill", killed)
    left = workers - {killed}
    busy = until(lambda: [b for b in training(trial) if b[0] in left], 300, "no other one trains")
    crashed, process = busy[0]
    trial.docker("exec", crashed, "/opt/nas/bin/python", "-c", KILL, process)
    return killed, crashed


def finished(trial: Trial, killed: str) -> bool:
    states = [trial.state(i)["State"] for i in trial.ids("worker") if not i.startswith(killed)]
    return all(state["Status"] == "exited" for state in states)


def exposed(trial: Trial) -> list[str]:
    """Every address that a service can be reached at from outside."""
    result = []
    for service in ("postgres", "create", "worker", "dashboard"):
        for container in trial.ids(service):
            ports = trial.state(container)["NetworkSettings"]["Ports"] or {}
            result += [
                f"{p['HostIp']}:{p['HostPort']}" for all in ports.values() for p in all or []
            ]
    return result


def looked_at(trial: Trial) -> dict[str, int | bool]:
    (dashboard,) = trial.ids("dashboard")
    until(
        lambda: trial.state(dashboard)["State"]["Health"]["Status"] == "healthy",
        120,
        "the dashboard is not healthy",
    )
    status, body = trial.ask("/api/studies", token=trial.token)
    return {
        "page": trial.ask("/dashboard", token=trial.token)[0],
        "studies": status,
        "names_the_study": b'"trial"' in body,
        "without_token": trial.ask("/dashboard")[0],
        "write": trial.ask("/api/studies/1", "DELETE", token=trial.token)[0],
        "foreign_host": trial.ask("/dashboard", host="example.org", token=trial.token)[0],
    }


def secrets_seen(trial: Trial) -> list[str]:
    """Where a secret can be read that should not: containers' settings, layers, logs."""
    places = {
        "logs": trial.compose("logs"),
        "history": trial.docker("history", "--no-trunc", "nas:local"),
    }
    for service in ("postgres", "create", "worker", "dashboard"):
        for container in trial.ids(service):
            places[f"inspect {service}"] = trial.docker("inspect", container)
    words = (trial.password, trial.token)
    return [place for place, text in places.items() if any(word in text for word in words)]


def measured(trial: Trial) -> dict[str, Any]:
    start = time.monotonic()
    trial.compose("build")
    built = time.monotonic()
    trial.compose("up", "--detach", "--no-build", "--scale", f"worker={WORKERS}")
    until(lambda: training(trial), 300, "no worker trains")
    up = time.monotonic()
    workers = trial.ids("worker")
    until(
        lambda: all(trial.state(w)["State"]["Health"]["Status"] == "healthy" for w in workers),
        120,
        "the workers are not healthy",
    )
    killed, crashed = faults(trial)
    seen = looked_at(trial)
    until(lambda: finished(trial, killed), 900, "the workers did not end")
    ended = time.monotonic()
    rows = trial.query(
        "select count(*), count(distinct digest) from nas_archive where outcome = 'trained'"
    )
    states = trial.query("select state, count(*) from nas_leases group by state")
    retried = trial.query("select count(*) from nas_leases where attempt > 1")
    codes = {i[:12]: trial.state(i)["State"]["ExitCode"] for i in workers}
    return {
        "workers": len(workers),
        "build_s": round(built - start, 1),
        "first_training_s": round(up - built, 1),
        "whole_s": round(ended - built, 1),
        "budget": TRAININGS,
        "trained": int(rows[0][0]),
        "trained_different": int(rows[0][1]),
        "leases": {state: int(count) for state, count in states},
        "retried": int(retried[0][0]),
        "front": len(json.loads(trial.nas("front", "trial", "--json"))["front"]),
        "killed_code": codes[killed],
        "other_codes": sorted(code for i, code in codes.items() if i != killed),
        "crashed_restarts": trial.state(crashed)["RestartCount"],
        "dashboard": seen,
        "exposed": exposed(trial),
        "secrets_seen": secrets_seen(trial),
    }


def wrong(result: dict[str, Any], port: int) -> list[str]:
    """What is not as it should be."""
    page = {"page": 200, "studies": 200, "names_the_study": True, "without_token": 401,
            "write": 405, "foreign_host": 403}  # fmt: skip
    right = {
        "workers": WORKERS,
        "trained": TRAININGS,
        "trained_different": TRAININGS,
        "killed_code": 137,
        "other_codes": [0] * (WORKERS - 1),
        "crashed_restarts": 1,
        "dashboard": page,
        "exposed": [f"127.0.0.1:{port}"],
        "secrets_seen": [],
    }
    faults = [f"{key}: {result[key]}, not {value}" for key, value in right.items()
              if result[key] != value]  # fmt: skip
    faults += [] if result["front"] else ["front: empty"]
    faults += [] if result["retried"] else ["retried: no lost trial was trained again"]
    return faults + [f"leases: {s}" for s in result["leases"] if s not in ("reported",)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--base", default="python:3.11-slim", help="the Dockerfile's BASE")
    parser.add_argument("--postgres", default="postgres:15", help="image of the store")
    parser.add_argument("--wheels", default="", help="folder of the base with all packages")
    parser.add_argument("--port", type=int, default=8080, help="of the dashboard")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        trial = Trial(Path(folder), options.base, options.postgres, options.wheels, options.port)
        try:
            result = measured(trial)
        finally:
            trial.compose("down", "--volumes", "--timeout", "5")
    faults = wrong(result, options.port)
    if options.json:
        print(json.dumps({**result, "wrong": faults}, indent=2))
    else:
        for key, value in result.items():
            print(f"{key:18s} {value}")
    for fault in faults:
        print(f"wrong: {fault}", file=sys.stderr)
    raise SystemExit(bool(faults))


if __name__ == "__main__":
    main()
