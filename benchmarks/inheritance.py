"""Inherited weights: do brief trainings rank candidates better, or cost less, with them?

    python benchmarks/inheritance.py --architectures 24

Random connected cell pairs of one size on the digits. Truth is the accuracy after the whole
recipe of benchmarks/studies/digits.toml from scratch, as the mean of two seeds used for nothing
else. How well one of these seeds ranks like the other bounds what any ranking can reach. Compared
with the truth are 1 and 2 epochs of the same schedule, from scratch and with `[training] inherit =
true`, where each candidate starts from the pool that earlier ones have filled. Batch norms are
recalibrated before scoring.
"""

import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from digits_network import add_study, architecture
from proxies import interval
from scipy.stats import spearmanr

from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import Evaluation
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.study.loading import load_spec
from nas_service.study.spec import StudySpec

TRUTH = 1000  # first seed of the truth, apart from that of the brief trainings
ROUNDS = 2000


def drawn(count: int, operations: tuple[str, ...], seed: int) -> list[Architecture]:
    """Different connected networks of one size."""
    rng, networks = np.random.default_rng(seed), {}
    while len(networks) < count:
        names = np.array(operations)[rng.integers(len(operations), size=(2, 6))]
        a = architecture(*(Cell(tuple(map(str, row))) for row in names))
        if a.connected:
            networks[a.digest] = a
    return list(networks.values())


def evaluator_of(spec: StudySpec, until: int, inherit: bool) -> Evaluator:
    """The study without constraints, trained for some epochs."""
    training = spec.training.model_copy(update={"until": until, "inherit": inherit})
    budgets = {"training": training, "constraints": ()}
    return Evaluator.open(spec.model_copy(update=budgets), Path())


def train(
    spec: StudySpec, architectures: list[Architecture], seed: int, until: int, inherit: bool
) -> tuple[list[Evaluation], float]:
    """Evaluations of all candidates in order, and the CPU seconds of one."""
    evaluator = evaluator_of(spec, until, inherit)
    with tempfile.TemporaryDirectory() as folder:
        start, done = time.process_time(), []
        for a in architectures:
            weights = Path(folder) / f"{a.digest}.safetensors" if inherit else None
            done.append(evaluator.train(evaluator.screen(a, seed), weights))
        return done, (time.process_time() - start) / len(architectures)


def row(done: list[Evaluation], seconds: float, truth: list[float], seed: int) -> dict[str, float]:
    """Rank correlation with the truth, its interval, and means."""
    scores = [e.accuracy or 0.0 for e in done]  # diverged ones count as 0
    low, high = interval(np.array(scores), np.array(truth), ROUNDS, seed)
    return {
        "spearman": float(spearmanr(scores, truth).statistic),
        "low": low,
        "high": high,
        "accuracy": float(np.mean(scores)),
        "inherited": float(np.mean([e.inherited for e in done])),
        "cpu_s": seconds,
    }


def measure(spec: StudySpec, count: int, seed: int) -> dict[str, Any]:
    """Brief trainings against the truth, and the truth against itself."""
    epochs = spec.training.epochs
    architectures = drawn(count, spec.build_space().operations, seed)
    train(spec, architectures[:1], seed, 1, False)  # warm
    one, other = (train(spec, architectures, TRUTH + k, epochs, False) for k in range(2))
    both = [[e.accuracy or 0.0 for e in done] for done, _ in (one, other)]
    truth = [(a + b) / 2 for a, b in zip(*both, strict=True)]
    rows = {f"{epochs} epochs, seed against seed": row(*one, both[1], seed)}
    for until in (1, 2):
        for inherit in (False, True):
            how = "inherited" if inherit else "from scratch"
            brief = train(spec, architectures, seed, until, inherit)
            rows[f"{until} {how}"] = row(*brief, truth, seed)
    spread = {"deviation": float(np.std(truth)), "lowest": min(truth), "highest": max(truth)}
    return {"architectures": count, "seed": seed, "truth": spread, "rows": rows}


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people."""
    truth, rows = document["truth"], []
    for name, r in document["rows"].items():
        shares = (f"{r[key]:.3f}" for key in ("accuracy", "inherited", "cpu_s"))
        rows.append([name, harness.span((r["spearman"], r["low"], r["high"])), *shares])
    title = "{architectures} architectures, seed {seed}; truth ".format_map(document)
    headings = ("epochs", "spearman [95 % interval]", "accuracy", "inherited", "CPU s each")
    ends = f"{truth['lowest']:.3f} .. {truth['highest']:.3f}"
    return [title + ends, *harness.table(headings, rows)]


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--architectures", type=int, default=24)
    options.add_argument("--seed", type=int, default=0)
    add_study(options)
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    document = measure(load_spec(args.study), args.architectures, args.seed)
    harness.show(document, args.json, lambda: lines(document))


if __name__ == "__main__":
    main()
