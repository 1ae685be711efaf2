"""CPU seconds until a network reads 95 % of the digits, on one core, over several seeds.

    python benchmarks/digits.py --seeds 5

One fixed cell pair is trained by the recipe of studies/digits.toml. After each epoch the
validation accuracy is taken; the accuracy reported is that of the test images, at the end.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch

from nas_service.data.batches import ImageTensors, all_images
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.networks import recipe_of
from nas_service.snn.training import accuracy, fit
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.study.loading import load_spec

STUDY = Path(__file__).parents[1] / "studies" / "digits.toml"
CELL = Cell(("conv3x3", "zeroize", "skip", "zeroize", "skip", "zeroize"))
ARCHITECTURE = Architecture((CELL, CELL), 16, head_pool=1, hidden=96, time_steps=3, weight_bits=8)
TARGET = 0.95


def measure(bench: Evaluator, seed: int) -> dict[str, float | None]:
    torch.manual_seed(seed)
    network = bench.network(ARCHITECTURE)
    start, reached = time.process_time(), None
    for _ in fit(
        network, ImageTensors(*all_images(bench.images.data.train)), recipe_of(bench.spec), seed
    ):
        score = accuracy(network, ImageTensors(*all_images(bench.images.data.validation)))
        if reached is None and score >= TARGET:
            reached = time.process_time() - start
    seconds = time.process_time() - start
    test = bench.images.source.read_test(bench.folder).scaled(
        bench.images.data.mean, bench.images.data.deviation
    )
    score = accuracy(network, ImageTensors(*all_images(test)))
    return {"cpu_s_to_95": reached, "cpu_s": seconds, "accuracy": score}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--study", type=Path, default=STUDY, help="recipe and split of the digits")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    bench = Evaluator.open(load_spec(args.study), Path())
    measure(bench, 0)  # warm
    rows = [measure(bench, seed) for seed in range(args.seeds)]
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    if args.json:
        print(json.dumps(columns, indent=2))
        return
    print("seed  CPU s to 95 %  CPU s in all  test accuracy")
    for seed, row in enumerate(rows):
        reached = "never" if row["cpu_s_to_95"] is None else f"{row['cpu_s_to_95']:.2f}"
        print(f"{seed:4d}  {reached:>13s}  {row['cpu_s']:12.2f}  {row['accuracy']:13.4f}")
    print(f"median of {len(rows)} seeds: {np.median(columns['cpu_s']):.2f} CPU s, ", end="")
    print(f"test accuracy {np.median(columns['accuracy']):.4f}")


if __name__ == "__main__":
    main()
