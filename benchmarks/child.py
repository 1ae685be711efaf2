"""What a process of its own costs a training: seconds beside the same training in the worker.

    python benchmarks/child.py --rounds 9

One candidate is trained for an epoch of studies/digits.toml, in this process and in a child, in
turns; all ends must be the same bits. Memory is what a process shares with no other. For Linux,
which tells CPU seconds and memory of processes.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from nas_service.worker.training_process import Job, TrainingClient
from nas_service.worker.training_process.client import WORKER_ENVIRONMENT

if TYPE_CHECKING:
    from nas_service.evaluation.evaluator import Evaluator

STUDY = Path(__file__).parents[1] / "studies" / "digits.toml"


def own_MiB(pid: int) -> float:
    """Memory that ends with the process; 0 when it has ended, or where nothing tells."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def children(pid: int) -> list[int]:
    try:
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Memory:
    """The most that a trainer's child was seen to have for itself, and its server."""

    def __init__(self, trainer: TrainingClient) -> None:
        self.trainer, self.child, self.server = trainer, 0.0, 0.0

    def look(self) -> None:
        if self.trainer._server is not None:
            server = self.trainer._server.process.pid
            self.server = max(self.server, own_MiB(server))
            self.child = max([self.child, *map(own_MiB, children(server))])


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended."""
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, words[11:15])) / os.sysconf("SC_CLK_TCK")


def timed(train: Callable[[], object], weights: Path) -> tuple[float, bytes]:
    """Wall-clock seconds of a training from its first epoch on, and the weights it leaves."""
    weights.with_suffix(".training.safetensors").unlink(missing_ok=True)
    start = time.perf_counter()
    train()
    return time.perf_counter() - start, weights.read_bytes()


@dataclass
class Round:
    """One training in the worker and the same in a child."""

    own_s: float
    own_cpu_s: float
    child_s: float
    child_cpu_s: float  # of the child, its server and what the worker does for them
    within_s: float  # of child_s, in the training itself
    same_bits: bool


def one_round(bench: "Evaluator", job: Job, trainer: TrainingClient) -> Round:
    assert trainer._server is not None
    server, found, clock = trainer._server.process.pid, [], time.process_time
    start = clock()
    own_s, here = timed(lambda: bench.train(job.candidate, job.weights), job.weights)
    own_cpu_s = clock() - start
    start = clock() + cpu_s(server)
    child_s, there = timed(lambda: found.append(trainer.run(job).seconds), job.weights)
    child_cpu_s = clock() + cpu_s(server) - start
    return Round(own_s, own_cpu_s, child_s, child_cpu_s, found[0], here == there)


def measure(study: Path, rounds: int, folder: Path) -> dict[str, object]:
    import torch

    from nas_service.evaluation.evaluator import Evaluator
    from nas_service.spaces.architecture import Architecture
    from nas_service.spaces.cell import Cell
    from nas_service.study.loading import load_spec, with_until

    torch.set_num_threads(1)
    spec = with_until(load_spec(study), 1)
    bench, weights = Evaluator.open(spec, Path()), folder / "w.safetensors"
    cell = Cell(("conv3x3", "zeroize", "skip", "zeroize", "skip", "zeroize"))
    screened = bench.screen(Architecture((cell, cell), 16, 1, 96, 3, 8), 1)
    job = Job(spec, Path(), screened, weights)
    with TrainingClient() as trainer:
        memory = Memory(trainer)
        bench.train(screened, weights)  # warm
        first_s, _ = timed(lambda: trainer.run(job), weights)
        done = [one_round(bench, job, trainer) for _ in range(rounds)]
        timed(lambda: trainer.run(job, memory.look), weights)
    return {
        "rounds": rounds,
        "training_s": statistics.median(r.own_s for r in done),
        "in_a_child_s": statistics.median(r.child_s for r in done),
        "overhead_s": spread([r.child_s - r.own_s for r in done]),
        "overhead_cpu_s": spread([r.child_cpu_s - r.own_cpu_s for r in done]),
        "around_s": spread([r.child_s - r.within_s for r in done]),
        "first_s": first_s,
        "same_bits": all(r.same_bits for r in done),
        "server_own_MiB": memory.server,
        "child_own_MiB": memory.child,
    }


def spread(values: list[float]) -> list[float]:
    """Median, lowest, highest."""
    return [statistics.median(values), min(values), max(values)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--study", type=Path, default=STUDY, help="recipe and split of the digits")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    if any(os.environ.get(k) != v for k, v in WORKER_ENVIRONMENT.items()):  # as workers run
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **WORKER_ENVIRONMENT})  # noqa: S606
    with tempfile.TemporaryDirectory() as folder:
        found = measure(args.study, args.rounds, Path(folder))
    if args.json:
        return print(json.dumps(found, indent=2))
    print(f"medians (lowest .. highest) of {args.rounds} rounds, one epoch of the digits")
    print(f"in the worker           {found['training_s']:.3f} s")
    print(f"in a child              {found['in_a_child_s']:.3f} s")
    said = {
        "overhead_s": "a child costs",
        "around_s": "of it around training",
        "overhead_cpu_s": "a child costs, CPU",
    }
    for key, words in said.items():
        middle, low, high = found[key]
        print(f"{words:22s}  {middle:.3f} s ({low:.3f} .. {high:.3f})")
    print(f"the first, with its server's start  {found['first_s']:.2f} s")
    print(f"same bits               {'yes' if found['same_bits'] else 'NO'}")
    print(f"memory of their own     server {found['server_own_MiB']:.0f} MiB, ", end="")
    print(f"child {found['child_own_MiB']:.0f} MiB")


if __name__ == "__main__":
    main()
