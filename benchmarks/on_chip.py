"""What imperfect chips cost a trained network: accuracy over simulated chips, fault by fault.

python benchmarks/on_chip.py --chips 8
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import torch

from hw_models import load_profile
from nas_service.data.batches import ImageTensors, all_images
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.networks import recipe_of
from nas_service.snn.analog import accuracy_on_chip
from nas_service.snn.network import Network
from nas_service.snn.training import accuracy, firing_rate, fit
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.study.loading import load_spec

STUDY = Path(__file__).parents[1] / "studies" / "digits.toml"
CELL = Cell(("conv3x3", "zeroize", "skip", "zeroize", "skip", "zeroize"))
ARCHITECTURE = Architecture((CELL, CELL), 16, head_pool=1, hidden=96, time_steps=3, weight_bits=8)
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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chips", type=int, default=8)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--profile", default="corrected")
    parser.add_argument("--study", type=Path, default=STUDY, help="recipe and split of the digits")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(args.seed)
    bench = Evaluator.open(load_spec(args.study), Path())
    network = Network(ARCHITECTURE, bench.images.source.task)
    train, held_out = (
        all_images(part) for part in (bench.images.data.train, bench.images.data.validation)
    )
    for _ in fit(network, ImageTensors(*train), recipe_of(bench.spec), args.seed):
        pass
    digital, chip = accuracy(network, ImageTensors(*held_out)), load_profile(args.profile)
    assert 0.01 < firing_rate(network, held_out[0]) < 0.9
    rows = []
    for changes in FAULTS:
        start = time.process_time()
        found = accuracy_on_chip(
            network, ImageTensors(*held_out), chip.with_values(changes).chip, args.chips, args.seed
        )
        rows.append(
            {
                "changes": changes,
                "accuracy": statistics.fmean(found),
                "spread": statistics.stdev(found),
                "worst": min(found),
                "cpu_s_per_chip": (time.process_time() - start) / args.chips,
            }
        )
    if args.json:
        print(json.dumps({"digital": digital, "chips": args.chips, "rows": rows}, indent=2))
        return
    print(f"{'digital':52s} {digital:.4f}")
    for row in rows:
        said = ", ".join(f"{k} = {v:g}" for k, v in row["changes"].items()) or args.profile  # type: ignore[attr-defined]
        print(
            f"{said:52s} {row['accuracy']:.4f} +- {row['spread']:.4f}, worst {row['worst']:.4f}, "
            f"{row['cpu_s_per_chip']:.2f} CPU s a chip"
        )


if __name__ == "__main__":
    main()
