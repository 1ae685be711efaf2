"""What imperfect chips cost a trained network: accuracy over simulated chips, fault by fault.

python benchmarks/on_chip.py --chips 8
"""

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import torch
from digits_network import ARCHITECTURE, add_study

from hw_models import load_profile
from nas_service.data.batches import ImageTensors, all_images
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.networks import recipe_of
from nas_service.snn.analog import accuracy_on_chip
from nas_service.snn.network import Network
from nas_service.snn.training import accuracy, firing_rate, fit
from nas_service.study.loading import load_spec

FAULTS: tuple[dict[str, float], ...] = (
    {},
    {"conductance_spread": 0},
    {"conductance_spread": 0.3},
    {"conductance_spread": 0.6},
    {"stuck_off": 0.05},
    {"stuck_on": 0.05},
    {"wire_resistance": 0.1},
    {"drift_exponent": 0.05, "drift_seconds": 1e6},
    {"adc_bits": 2},
    {"adc_bits": 3},
    {"adc_bits": 6},
)


def trained(evaluator: Evaluator, seed: int) -> Network:
    """The network of the digits after the recipe of the study."""
    torch.manual_seed(seed)
    network = Network(ARCHITECTURE, evaluator.images.source.task)
    train = ImageTensors(*all_images(evaluator.images.data.train))
    for _ in fit(network, train, recipe_of(evaluator.spec), seed):
        pass
    return network


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Validation accuracy of the network itself, and on chips with each fault."""
    evaluator = Evaluator.open(load_spec(args.study), Path())
    network = trained(evaluator, args.seed)
    held_out = ImageTensors(*all_images(evaluator.images.data.validation))
    digital, profile = accuracy(network, held_out), load_profile(args.profile)
    assert 0.01 < firing_rate(network, all_images(evaluator.images.data.validation)[0]) < 0.9
    rows = []
    for changes in FAULTS:
        start, chip = time.process_time(), profile.with_values(changes).chip
        scores = accuracy_on_chip(network, held_out, chip, args.chips, args.seed)
        spent = time.process_time() - start
        rows.append({"changes": changes, **summary(scores), "cpu_s_per_chip": spent / args.chips})
    return {"digital": digital, "chips": args.chips, "rows": rows}


def summary(scores: list[float]) -> dict[str, float]:
    """Mean, deviation and least of the accuracies of all chips."""
    return {
        "accuracy": statistics.fmean(scores),
        "spread": statistics.stdev(scores),
        "worst": min(scores),
    }


def lines(document: dict[str, Any], profile: str) -> list[str]:
    """The document for people."""
    rows = [["digital", f"{document['digital']:.4f}", "", "", ""]]
    for row in document["rows"]:
        changes = ", ".join(f"{key} = {value:g}" for key, value in row["changes"].items())
        accuracies = (f"{row[key]:.4f}" for key in ("accuracy", "spread", "worst"))
        rows.append([changes or profile, *accuracies, f"{row['cpu_s_per_chip']:.2f}"])
    return harness.table(["", "accuracy", "+-", "worst", "CPU s a chip"], rows)


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--chips", type=int, default=8)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--profile", default="corrected")
    add_study(options)
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    document = measure(args)
    harness.show(document, args.json, lambda: lines(document, args.profile))


if __name__ == "__main__":
    main()
