"""Inherited weights: do brief trainings rank candidates better, or cost less, with them?

    python benchmarks/inheritance.py --architectures 24

Random connected cell pairs of one size on the digits. Truth is the accuracy after the whole
recipe of studies/digits.toml from scratch, as mean over seeds of its own; its own repeatability,
one seed against another, bounds what any ranking can reach. Against it stand 1 and 2 epochs of
the same schedule, from scratch and with `[training] inherit = true`, where each candidate starts
from the pool that those before it have filled. Batch norms are recalibrated before scoring.
"""

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from proxies import interval
from scipy.stats import spearmanr

from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import Evaluation
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.study.loading import load_spec
from nas_service.study.spec import StudySpec

STUDY = Path(__file__).parents[1] / "studies" / "digits.toml"
TRUTH = 1000  # first seed of the truth, apart from that of the brief trainings
ROUNDS = 2000


def drawn(count: int, operations: tuple[str, ...], seed: int) -> list[Architecture]:
    """Different connected networks of one size."""
    die, found = np.random.default_rng(seed), {}
    while len(found) < count:
        names = np.array(operations)[die.integers(len(operations), size=(2, 6))]
        cells = tuple(Cell(tuple(map(str, row))) for row in names)
        a = Architecture(cells, 16, head_pool=1, hidden=96, time_steps=3, weight_bits=8)
        if a.connected:
            found[a.digest] = a
    return list(found.values())


def bench_of(spec: StudySpec, until: int, inherit: bool) -> Evaluator:
    training = spec.training.model_copy(update={"until": until, "inherit": inherit})
    budgets = {"training": training, "constraints": ()}
    return Evaluator.open(spec.model_copy(update=budgets), Path())


def train(
    spec: StudySpec, architectures: list[Architecture], seed: int, until: int, inherit: bool
) -> tuple[list[Evaluation], float]:
    """All of them in order, and the CPU seconds of one."""
    bench = bench_of(spec, until, inherit)
    with tempfile.TemporaryDirectory() as folder:
        start, found = time.process_time(), []
        for a in architectures:
            weights = Path(folder) / f"{a.digest}.safetensors" if inherit else None
            found.append(bench.train(bench.screen(a, seed), weights))
        return found, (time.process_time() - start) / len(architectures)


def row(found: list[Evaluation], seconds: float, truth: list[float], seed: int) -> dict[str, float]:
    scores = [e.accuracy or 0.0 for e in found]  # diverged ones count as 0
    low, high = interval(np.array(scores), np.array(truth), ROUNDS, seed)
    return {
        "spearman": float(spearmanr(scores, truth).statistic),
        "low": low,
        "high": high,
        "accuracy": float(np.mean(scores)),
        "inherited": float(np.mean([e.inherited for e in found])),
        "cpu_s": seconds,
    }


def measure(spec: StudySpec, count: int, seed: int) -> dict[str, Any]:
    whole = spec.training.epochs
    architectures = drawn(count, spec.build_space().operations, seed)
    train(spec, architectures[:1], seed, 1, False)  # warm
    first, other = (train(spec, architectures, TRUTH + k, whole, False) for k in range(2))
    both = [[e.accuracy or 0.0 for e in found] for found, _ in (first, other)]
    truth = [(a + b) / 2 for a, b in zip(*both, strict=True)]
    rows = {f"{whole} epochs, seed against seed": row(*first, both[1], seed)}
    for until in (1, 2):
        for inherit in (False, True):
            how = "inherited" if inherit else "from scratch"
            brief = train(spec, architectures, seed, until, inherit)
            rows[f"{until} {how}"] = row(*brief, truth, seed)
    spread = {"deviation": float(np.std(truth)), "lowest": min(truth), "highest": max(truth)}
    return {"architectures": count, "seed": seed, "truth": spread, "rows": rows}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architectures", type=int, default=24)
    parser.add_argument("--study", type=Path, default=STUDY, help="recipe and split of the digits")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    found = measure(load_spec(args.study), args.architectures, args.seed)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    truth = found["truth"]
    print(
        f"{args.architectures} architectures, seed {args.seed}; "
        f"truth {truth['lowest']:.3f} .. {truth['highest']:.3f}"
    )
    print(f"{'epochs':28s} spearman  95 % interval    accuracy  inherited  CPU s each")
    for name, r in found["rows"].items():
        print(
            f"{name:28s} {r['spearman']:8.3f}  {r['low']:6.3f} .. {r['high']:.3f}  "
            f"{r['accuracy']:8.3f}  {r['inherited']:9.2f}  {r['cpu_s']:10.2f}"
        )


if __name__ == "__main__":
    main()
