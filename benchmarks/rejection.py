"""What a rejection costs: its cheapest repair, and counting what keeps budgets without costing it.

python benchmarks/rejection.py --study studies/digits.toml --study studies/cifar10.toml
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import harness
import numpy as np

from nas_service.evaluation.feasible_set import counted
from nas_service.evaluation.repair import repair
from nas_service.evaluation.screening import Budgets
from nas_service.spaces.batch import batch_of_numbers, sample_batch
from nas_service.study.loading import load_spec


def ms(work: Callable[[], Any]) -> tuple[float, Any]:
    """CPU milliseconds of a call, and its result."""
    start = time.process_time()
    result = work()
    return 1e3 * (time.process_time() - start), result


def repairs(budgets: Budgets, candidates: int, seed: int) -> dict[str, Any]:
    """Time and number of changes of the cheapest repair of each rejected random candidate."""
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
        "changes": {str(n): changes[n] for n in sorted(changes)},  # 0: there is none
    }


def one_size(budgets: Budgets, rounds: int) -> dict[str, Any]:
    """Cells of the middle sizes: counted by classes, and by costing batches of candidates.

    The time to cost all of them is extrapolated from a batch of 15 625.
    """
    space = budgets.workloads.space
    counts = [len(v) for v in list(space.choices.values())[6 * space.drawn_cells :]]
    middle = np.array([[n // 2 for n in counts]])
    stride = space.size // space.cell_count**space.drawn_cells
    cells = np.linspace(0, space.cell_count**space.drawn_cells - 1, 15_625).astype(np.int64)
    batch = batch_of_numbers(space, cells * stride)
    budgets.costed(batch)
    counting, costing = [], []
    for _ in range(rounds):
        t, tree = ms(lambda: counted(budgets, middle))
        counting.append(t)
        costing.append(ms(lambda: budgets.costed(batch))[0])
    assert tree is not None
    pairs = space.cell_count**space.drawn_cells
    return {
        "cells": pairs,
        "kept": tree.count,
        "count_ms": statistics.median(counting),
        "cost_15625_ms": statistics.median(costing),
        "cost_all_s": statistics.median(costing) / 1e3 * pairs / len(batch.chips),
    }


def whole(budgets: Budgets) -> dict[str, Any]:
    """How many candidates of the whole space keep the budgets, where they can be counted."""
    t, tree = ms(lambda: counted(budgets))
    if tree is None:
        return {"counted": None}
    size = budgets.workloads.space.size
    return {"space": size, "kept": tree.count, "share": tree.count / size, "count_s": t / 1e3}


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people: a row for each study and part of it."""
    rows = []
    for study, parts in document.items():
        for part, numbers in parts.items():
            shown = ", ".join(f"{key} {harness.rounded(n)}" for key, n in numbers.items())
            rows.append(f"{study}, {part}: {shown}")
    return rows


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--study", type=Path, action="append", required=True)
    options.add_argument("--candidates", type=int, default=400)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args(argv)
    document = {}
    for path in args.study:
        budgets = Budgets.of(load_spec(path))
        document[path.stem] = {
            "repair": repairs(budgets, args.candidates, args.seed),
            "one_size": one_size(budgets, args.rounds),
            "whole": whole(budgets),
        }
    harness.show(document, args.json, lambda: lines(document))


if __name__ == "__main__":
    main()
