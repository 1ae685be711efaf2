"""What a process of its own costs a training: seconds beside the same training in the worker.

    python benchmarks/child.py --rounds 9

One candidate is trained for an epoch of studies/digits.toml, in this process and in a child, in
turns; all ends must be the same bits. Memory is what a process shares with no other (Linux).
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from nas_service.child import Job, Trainer
from nas_service.child.trainer import WORKER_ENVIRONMENT

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

    def __init__(self, trainer: Trainer) -> None:
        self.trainer, self.child, self.server = trainer, 0.0, 0.0

    def look(self) -> None:
        if self.trainer._server is not None:
            server = self.trainer._server.process.pid
            self.server = max(self.server, own_MiB(server))
            self.child = max([self.child, *map(own_MiB, children(server))])


def timed(train: Callable[[], object], weights: Path) -> tuple[float, bytes]:
    """Wall-clock seconds of a training from its first epoch on, and the weights it leaves."""
    weights.with_suffix(".training.safetensors").unlink(missing_ok=True)
    start = time.perf_counter()
    train()
    return time.perf_counter() - start, weights.read_bytes()


def measure(study: Path, rounds: int, folder: Path) -> dict[str, object]:
    import torch

    from nas_service.evaluation import Bench
    from nas_service.spaces.architecture import Architecture, Cell
    from nas_service.study import load_spec

    torch.set_num_threads(1)
    spec = load_spec(study).further(1)
    bench, weights = Bench.open(spec, Path()), folder / "w.safetensors"
    cell = Cell(("conv3x3", "zeroize", "skip", "zeroize", "skip", "zeroize"))
    screened = bench.screen(Architecture((cell, cell), 16, 1, 96, 3, 8), 1)
    job, own, others, around, bits = Job(spec, Path(), screened, weights), [], [], [], set()
    with Trainer() as trainer:
        memory = Memory(trainer)
        bench.train(screened, weights)  # warm
        within: list[float] = []
        first, _ = timed(lambda: trainer.run(job), weights)
        for _ in range(rounds):
            spent, left = timed(lambda: bench.train(screened, weights), weights)
            own.append(spent)
            bits.add(left)
            spent, left = timed(lambda: within.append(trainer.run(job).seconds), weights)
            others.append(spent)
            bits.add(left)
            around.append(spent - within[-1])
        trainer.run(job, memory.look)
    more = [theirs - ours for ours, theirs in zip(own, others, strict=True)]
    return {
        "rounds": rounds,
        "training_s": statistics.median(own),
        "in_a_child_s": statistics.median(others),
        "overhead_s": [statistics.median(more), min(more), max(more)],
        "around_s": statistics.median(around),
        "first_s": first,
        "same_bits": len(bits) == 1,
        "server_own_MiB": memory.server,
        "child_own_MiB": memory.child,
    }


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
    middle, low, high = found["overhead_s"]
    print(f"medians of {args.rounds} rounds, one epoch of the digits")
    print(f"in the worker         {found['training_s']:.3f} s")
    print(f"in a child            {found['in_a_child_s']:.3f} s")
    print(f"a child costs         {middle:.3f} s ({low:.3f} .. {high:.3f})")
    print(f"of it around the training  {found['around_s']:.3f} s")
    print(f"the first, with its server's start  {found['first_s']:.2f} s")
    print(f"same bits             {'yes' if found['same_bits'] else 'NO'}")
    print(f"memory of their own   server {found['server_own_MiB']:.0f} MiB, ", end="")
    print(f"child {found['child_own_MiB']:.0f} MiB")


if __name__ == "__main__":
    main()
