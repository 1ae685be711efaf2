"""Energy as screened over energy as trained: how far the assumed spike rate is from the measured.

    python benchmarks/screening.py --data FOLDER [--studies digits cifar10 n_mnist] [--candidates 5]

Of random candidates that a study would train, those of the least work are trained for one epoch on
a few images. Copies of the data are read as in `real_data`.
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch
from real_data import STUDIES, opened

from nas_service.evaluation.evaluator import Evaluator
from nas_service.metrics import Evaluation
from nas_service.spaces.batch import sample_batch

DRAWN = 500  # random candidates


def candidates(evaluator: Evaluator, count: int) -> list[Evaluation]:
    """Random candidates that the study would train, those of the least work."""
    space, budgets = evaluator.workloads.space, evaluator.budgets
    drawn = sample_batch(space, DRAWN, evaluator.spec.seed)
    costed = budgets.costed(drawn)
    fitting = np.flatnonzero(budgets.excess(costed) <= 0)
    least = fitting[np.argsort(costed.work[fitting], kind="stable")][:count].tolist()
    return [evaluator.screen(drawn.architecture(space, n), seed) for seed, n in enumerate(least)]


def shortened(evaluator: Evaluator, samples: int) -> Evaluator:
    """The evaluator, whose trainings are one epoch on a few images."""
    spec = evaluator.spec
    validation = min(spec.data.validation_samples or samples, samples)
    sizes = {"train_samples": samples, "validation_samples": validation}
    data = spec.data.model_copy(update=sizes)
    training = spec.training.model_copy(update={"epochs": 1})
    short = spec.model_copy(update={"data": data, "training": training})
    density = evaluator.density  # of all images, as in the study
    return Evaluator.open(short, evaluator.folder, density=density)


def measured(evaluator: Evaluator, name: str, count: int) -> dict[str, Any]:
    """Ratios of the trained candidates of one study."""
    start, ratios = time.process_time(), list[float]()
    for screened in candidates(evaluator, count):
        trained = evaluator.train(screened)
        energies = [e.hardware.metrics()["energy_uJ"] for e in (screened, trained)]
        ratios.append(energies[0] / energies[1])
    return {
        "data": name,
        "assumed_rate": evaluator.spec.hardware.assumed_rate,
        "trained": len(ratios),
        "least": min(ratios),
        "median": statistics.median(ratios),
        "most": max(ratios),
        "cpu_s": time.process_time() - start,
    }


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--studies", nargs="+", default=["digits", "cifar10", "n_mnist"])
    options.add_argument("--recipes", type=Path, default=STUDIES, help="folder of the study files")
    options.add_argument("--candidates", type=int, default=5)
    options.add_argument("--samples", type=int, default=400, help="images of a training")
    args: argparse.Namespace = options.parse_args(argv)
    torch.set_num_threads(1)
    rows = []
    for study in args.studies:
        evaluator, name = opened(args.recipes / f"{study}.toml", args.data)
        rows.append(measured(shortened(evaluator, args.samples), name, args.candidates))
    harness.show(rows, args.json, lambda: harness.figures(rows))


if __name__ == "__main__":
    main()
