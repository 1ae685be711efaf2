"""What a separate process costs a training: seconds beside the same training in the worker.

    python benchmarks/child.py --rounds 9

One candidate is trained for an epoch of benchmarks/studies/digits.toml, in this process and in a
child, in turns; all weights must be the same bits. Memory is what a process shares with no other.
CPU seconds and memory of processes are read from /proc, so the script needs Linux.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import harness
from digits_network import ARCHITECTURE, add_study

from nas_service.worker.training_process import Job, TrainingClient

if TYPE_CHECKING:
    from nas_service.evaluation.evaluator import Evaluator


def own_MiB(pid: int) -> float:
    """Memory that ends with the process; 0 when it has ended or cannot be read."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_")) / 1024


def children(pid: int) -> list[int]:
    """Processes that a process has started; none when it has ended."""
    try:
        return [int(x) for x in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


class Memory:
    """The largest memory seen of a client's server and of the children of that server."""

    def __init__(self, client: TrainingClient) -> None:
        self.client, self.child, self.server = client, 0.0, 0.0

    def look(self) -> None:
        if self.client._server is not None:
            server = self.client._server.process.pid
            self.server = max(self.server, own_MiB(server))
            self.child = max([self.child, *map(own_MiB, children(server))])


def cpu_s(pid: int) -> float:
    """CPU seconds of a process and of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")


def timed(train: Callable[[], object], weights: Path) -> tuple[float, bytes]:
    """Wall-clock seconds of a training from its first epoch on, and the bytes of its weights."""
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


def one_round(evaluator: "Evaluator", job: Job, client: TrainingClient) -> Round:
    """Trains in this process, then in a child."""
    assert client._server is not None
    server, within, clock = client._server.process.pid, [], time.process_time
    start = clock()
    own_s, own = timed(lambda: evaluator.train(job.candidate, job.weights), job.weights)
    own_cpu_s = clock() - start
    start = clock() + cpu_s(server)
    child_s, child = timed(lambda: within.append(client.run(job).seconds), job.weights)
    child_cpu_s = clock() + cpu_s(server) - start
    return Round(own_s, own_cpu_s, child_s, child_cpu_s, within[0], own == child)


def measure(study: Path, rounds: int, folder: Path) -> dict[str, Any]:
    """Figures of all rounds, of the first training and of the memory."""
    import torch

    from nas_service.evaluation.evaluator import Evaluator
    from nas_service.study.loading import load_spec, with_until

    torch.set_num_threads(1)
    spec = with_until(load_spec(study), 1)
    evaluator, weights = Evaluator.open(spec, Path()), folder / "w.safetensors"
    job = Job(spec, Path(), evaluator.screen(ARCHITECTURE, 1), weights)
    with TrainingClient() as client:
        memory = Memory(client)
        evaluator.train(job.candidate, weights)  # warm
        first_s, _ = timed(lambda: client.run(job), weights)
        done = [one_round(evaluator, job, client) for _ in range(rounds)]
        timed(lambda: client.run(job, memory.look), weights)
    return {
        **figures(done),
        "first_s": first_s,
        "server_own_MiB": memory.server,
        "child_own_MiB": memory.child,
    }


def figures(done: list[Round]) -> dict[str, Any]:
    """Medians of the rounds; of differences also the least and the most."""
    return {
        "rounds": len(done),
        "training_s": statistics.median(r.own_s for r in done),
        "in_a_child_s": statistics.median(r.child_s for r in done),
        "overhead_s": harness.extremes(r.child_s - r.own_s for r in done),
        "overhead_cpu_s": harness.extremes(r.child_cpu_s - r.own_cpu_s for r in done),
        "around_s": harness.extremes(r.child_s - r.within_s for r in done),
        "same_bits": all(r.same_bits for r in done),
    }


ROWS = {
    "training_s": "in the worker, s",
    "in_a_child_s": "in a child, s",
    "overhead_s": "a child costs, s",
    "around_s": "of it around the training, s",
    "overhead_cpu_s": "a child costs, CPU s",
    "first_s": "the first, with the start of its server, s",
    "same_bits": "same bits",
    "server_own_MiB": "memory of the server alone, MiB",
    "child_own_MiB": "memory of the child alone, MiB",
}


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people."""
    shown = {}
    for key, label in ROWS.items():
        value = document[key]
        shown[label] = harness.span(value) if isinstance(value, list) else value
    title = f"medians [least .. most] of {document['rounds']} rounds, one epoch of the digits"
    return [title, *harness.pairs(shown)]


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--rounds", type=int, default=9)
    add_study(options)
    args = options.parse_args(argv)
    harness.use_worker_environment()
    with tempfile.TemporaryDirectory() as folder:
        document = measure(args.study, args.rounds, Path(folder))
    harness.show(document, args.json, lambda: lines(document))


if __name__ == "__main__":
    main()
