"""CPU seconds until a network reads 95 % of the digits, on one core, over several seeds.

    python benchmarks/digits.py --seeds 5

One fixed cell pair is trained by the recipe of benchmarks/studies/digits.toml. After each epoch the
validation accuracy is taken; the accuracy reported is that of the test images, at the end.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import torch
from digits_network import ARCHITECTURE, add_study

from nas_service.data.batches import ImageTensors, all_images
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.networks import recipe_of
from nas_service.snn.training import accuracy, fit
from nas_service.study.loading import load_spec

TARGET = 0.95


def measure(evaluator: Evaluator, seed: int) -> dict[str, float | None]:
    """CPU seconds to the target and of the whole training, and the test accuracy."""
    torch.manual_seed(seed)
    network, data = evaluator.network(ARCHITECTURE), evaluator.images.data
    start, reached = time.process_time(), None
    train = ImageTensors(*all_images(data.train))
    for _ in fit(network, train, recipe_of(evaluator.spec), seed):
        score = accuracy(network, ImageTensors(*all_images(data.validation)))
        if reached is None and score >= TARGET:
            reached = time.process_time() - start
    spent = time.process_time() - start
    test = evaluator.images.source.read_test(evaluator.folder).scaled(data.mean, data.deviation)
    score = accuracy(network, ImageTensors(*all_images(test)))
    return {"cpu_s_to_95": reached, "cpu_s": spent, "accuracy": score}


def lines(document: dict[str, list[Any]]) -> list[str]:
    """The document for people: a row for each seed, and the medians."""
    rows = []
    for seed, (reached, spent, score) in enumerate(zip(*document.values(), strict=True)):
        soon = "never" if reached is None else f"{reached:.2f}"
        rows.append([str(seed), soon, f"{spent:.2f}", f"{score:.4f}"])
    totals = harness.median(document["cpu_s"], 2), harness.median(document["accuracy"], 4)
    medians = "medians [least .. most]: {} CPU s, test accuracy {}".format(*totals)
    headings = ("seed", "CPU s to 95 %", "CPU s in all", "test accuracy")
    return [*harness.table(headings, rows), medians]


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--seeds", type=int, default=5)
    add_study(options)
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    evaluator = Evaluator.open(load_spec(args.study), Path())
    measure(evaluator, 0)  # warm
    rows = [measure(evaluator, seed) for seed in range(args.seeds)]
    document = {key: [row[key] for row in rows] for key in rows[0]}
    harness.show(document, args.json, lambda: lines(document))


if __name__ == "__main__":
    main()
