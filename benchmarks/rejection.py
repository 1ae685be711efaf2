"""What a rejection costs: its cheapest repair, and counting what keeps budgets without costing it.

python benchmarks/rejection.py --study studies/digits.toml --study studies/cifar10.toml
"""

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from nas_service.evaluation.feasible_set import counted
from nas_service.evaluation.repair import repair
from nas_service.evaluation.screening import Budgets
from nas_service.spaces.batch import batch_of_numbers, sample_batch
from nas_service.study.loading import load_spec


def ms(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU time, and what came of it."""
    start = time.process_time()
    found = work()
    return 1e3 * (time.process_time() - start), found


def repairs(budgets: Budgets, candidates: int, seed: int) -> dict[str, Any]:
    """Of the rejected among random candidates."""
    space = budgets.workloads.space
    drawn = sample_batch(space, candidates, seed)
    rejected = np.flatnonzero(budgets.excess(budgets.costed(drawn)) > 0).tolist()
    done = [ms(lambda n=n: repair(budgets, drawn.architecture(space, n))) for n in rejected]
    times = sorted(t for t, _ in done)
    changes = Counter(len(r.changes) if r else 0 for _, r in done)
    return {
        "candidates": candidates,
        "rejected": len(rejected),
        "median_ms": statistics.median(times),
        "p95_ms": float(np.quantile(times, 0.95)),
        "most_ms": times[-1],
        "changes": {str(n): changes[n] for n in sorted(changes)},  # 0: none was found
    }


def one_size(budgets: Budgets, rounds: int) -> dict[str, Any]:
    """Cells of the middle sizes: counted by classes, against costing candidates one batch after
    another, of which 15 625 stand for all."""
    space = budgets.workloads.space
    counts = [len(v) for v in list(space.choices.values())[6 * space.drawn_cells :]]
    middle = np.array([[n // 2 for n in counts]])
    stride = space.size // space.cell_count**space.drawn_cells
    cells = np.linspace(0, space.cell_count**space.drawn_cells - 1, 15_625).astype(np.int64)
    batch = batch_of_numbers(space, cells * stride)
    budgets.costed(batch)
    found, costed = [], []
    for _ in range(rounds):
        t, tree = ms(lambda: counted(budgets, middle))
        found.append(t)
        costed.append(ms(lambda: budgets.costed(batch))[0])
    assert tree is not None
    pairs = space.cell_count**space.drawn_cells
    return {
        "cells": pairs,
        "kept": tree.count,
        "count_ms": statistics.median(found),
        "cost_15625_ms": statistics.median(costed),
        "cost_all_s": statistics.median(costed) / 1e3 * pairs / len(batch.chips),
    }


def whole(budgets: Budgets) -> dict[str, Any]:
    t, found = ms(lambda: counted(budgets))
    if found is None:
        return {"counted": None}
    size = budgets.workloads.space.size
    return {"space": size, "kept": found.count, "share": found.count / size, "count_s": t / 1e3}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--study", type=Path, action="append", required=True)
    parser.add_argument("--candidates", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    document = {}
    for path in args.study:
        budgets = Budgets.of(load_spec(path))
        document[path.stem] = {
            "repair": repairs(budgets, args.candidates, args.seed),
            "one_size": one_size(budgets, args.rounds),
            "whole": whole(budgets),
        }
    if args.json:
        print(json.dumps(document, indent=2))
        return
    for name, found in document.items():
        for part, numbers in found.items():
            shown = ", ".join(
                f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in numbers.items()
            )
            print(f"{name:10s} {part:9s} {shown}")


if __name__ == "__main__":
    main()
