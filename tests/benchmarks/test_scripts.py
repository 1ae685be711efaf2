"""Every benchmark is a script that a user can start, that a test runs and that the README names."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "benchmarks"
SCRIPTS = {path.stem for path in FOLDER.glob("*.py") if "__main__" in path.read_text()}


def test_every_benchmark_is_run_in_a_test():
    tests = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))
    assert set(re.findall(r'\w*document\(\s*"(\w+)"', tests)) == SCRIPTS


def test_the_readme_names_every_benchmark():
    named = re.findall(r"benchmarks/(\w+)\.py", (ROOT / "README.md").read_text())
    assert set(named) == SCRIPTS


@pytest.mark.process
def test_a_benchmark_starts_as_a_user_starts_it(environment, images, tmp_path):
    """Also the process that it starts itself."""
    words = [sys.executable, str(FOLDER / "data.py"), "--data", str(images.parent), "--rounds", "1"]
    command = [*words, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-2000:]
    (row,) = json.loads(done.stdout)["rows"]
    assert row["epoch_s"] > 0


@pytest.mark.process
def test_commands_are_started_and_timed(document, cold_start):
    result = document("cli_start", "--rounds", 1, "--trainings", 1)
    assert result["rounds"] == 1
    assert result["cpu_s"].keys() == {*result["limits_s"], "import optuna"}
    assert all(seconds > 0 for seconds in result["cpu_s"].values())
