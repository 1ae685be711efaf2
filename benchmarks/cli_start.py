"""CPU seconds of the commands that only read, each started as a user starts it.

    python benchmarks/cli_start.py [--rounds 5]

The commands read a small study that the benchmark first runs in a temporary folder. CPU seconds
are user and system time of the whole process, as medians of the rounds. `import optuna` is the
time of a Python process that does nothing else, for comparison.
"""

import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness

import nas_service

STUDY = """
name = "small"
[space]
operations = "light3"
channels = [4, 8]
hidden = [16, 32]
head_pool = 2
time_steps = 2
[data]
name = "digits"
train_samples = 128
validation_samples = 64
[training]
epochs = 1
[search]
sampler = "random"
trainings = {trainings}
[[objectives]]
metric = "accuracy"
direction = "maximize"
[[objectives]]
metric = "energy_uJ"
direction = "minimize"
reference = 10.0
"""
COMMANDS = {  # arguments, and the limit in CPU seconds
    "nas --help": ("--help", 0.4),
    "nas status": ("status small", 1.2),
    "nas front": ("front small", 1.2),
    "nas show": ("show small 0", 1.2),
    "nas studies": ("studies", 1.2),
    "nas report": ("report small", 1.2),
    "nas doctor": ("doctor", 2.5),
    "nas check": ("check digits.toml", 2.5),  # the default study
}
DIGITS = Path(__file__).parents[1] / "studies" / "digits.toml"
LIMITS_s = {name: limit for name, (_, limit) in COMMANDS.items()}
OPTUNA = "import optuna"


def cpu_s(command: list[str], folder: Path) -> float:
    """CPU seconds of a command that is run in a folder."""
    environment = os.environ | {"NAS_STORAGE": "sqlite:///nas.db"}
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=environment, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return (after.ru_utime - before.ru_utime) + (after.ru_stime - before.ru_stime)


def measure(rounds: int, trainings: int) -> dict[str, float]:
    """Median CPU seconds by command. The commands take turns in each round."""
    nas = [sys.executable, "-m", "nas_service"]
    commands = {name: [*nas, *arguments.split()] for name, (arguments, _) in COMMANDS.items()}
    commands[OPTUNA] = [sys.executable, "-c", OPTUNA]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "small.toml").write_text(STUDY.format(trainings=trainings))
        shutil.copy(DIGITS, folder / "digits.toml")
        nas_service.search(folder / "small.toml", f"sqlite:///{folder}/nas.db", workers=1)
        seconds = [{c: cpu_s(commands[c], folder) for c in commands} for _ in range(rounds)]
    return {c: statistics.median(row[c] for row in seconds) for c in commands}


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people."""
    limits = document["limits_s"]
    rows = [[c, f"{s:.2f}", limits.get(c, "")] for c, s in document["cpu_s"].items()]
    return harness.table(["command", "CPU s", "limit"], rows)


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--trainings", type=int, default=8, help="of the study that is read")
    args = options.parse_args(argv)
    seconds = measure(args.rounds, args.trainings)
    document = {"rounds": args.rounds, "cpu_s": seconds, "limits_s": LIMITS_s}
    harness.show(document, args.json, lambda: lines(document))


if __name__ == "__main__":
    main()
