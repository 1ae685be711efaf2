"""Accuracy of one fixed network on real images, by the recipes of the study files.

    python benchmarks/real_data.py --data FOLDER [--studies fashion_mnist cifar10] [--seeds 2]

Trains what studies/NAME.toml would, on as many images and for as many epochs, and prints the
accuracy on the validation and on the test images. Where the official files are not in the folder,
a copy of CIFAR-10 as pictures is read, or the first 1100 recordings of N-MNIST, and named.
"""

import argparse
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import torch

from nas_service.data.batches import StoredImages
from nas_service.errors import DataError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.networks import recipe_of
from nas_service.snn.training import accuracy, fit
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.operations import PRESETS
from nas_service.study.loading import load_spec
from nas_service.study.spec import StudySpec

STUDIES = Path(__file__).parents[1] / "studies"
CELL = Cell.from_text("0330 0001 0003 0000", PRESETS["snasnet5"])
# Side of the pixels of the last map that one feature is a mean of.
POOLS = {"fashion_mnist": 7, "cifar10": 8, "n_mnist": 2}
COPIES = {
    "cifar10": (
        "CIFAR-10 (JPEG copy)",
        {
            "name": "image_folder",
            "archive": "cifar10_jpeg_full_60000.zip",
            "size": 32,
            "classes": 10,
        },
    ),
    "n_mnist": (
        "N-MNIST (first 1100)",
        {
            "archive": "nmnist_subset_1000_100.zip",
            "train_samples": 800,
            "validation_samples": 200,
        },
    ),
}


def opened(study: Path, folder: Path) -> tuple[Evaluator, str]:
    """The study's data, and what they are called."""
    spec, name = load_spec(study), study.stem
    try:
        return Evaluator.open(spec, folder), name
    except DataError:
        if name not in COPIES:
            raise
    called, changes = COPIES[name]
    fields = {k: v for k, v in (spec.data.model_dump() | changes).items() if v is not None}
    data = type(spec.data).model_validate(fields)
    return Evaluator.open(spec.model_copy(update={"data": data}), folder), called


def architecture(spec: StudySpec, pool: int) -> Architecture:
    sizes = {"hidden": spec.space.hidden[-1], "time_steps": spec.space.time_steps[-1]}
    stride = spec.space.stem_stride
    return Architecture(
        (CELL, CELL), spec.space.channels[-1], pool, **sizes, weight_bits=8, stem_stride=stride
    )  # type: ignore[arg-type]


def measure(evaluator: Evaluator, a: Architecture, seed: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    images = evaluator.images.split(a.time_steps)
    network, start = evaluator.network(a), time.process_time()
    for _ in fit(network, StoredImages(images.train), recipe_of(evaluator.spec), seed):
        pass
    seconds = time.process_time() - start
    test = evaluator.images.source.read_test(evaluator.folder, a.time_steps)
    test = test.scaled(images.mean, images.deviation)
    return {
        "seed": seed,
        "validation": accuracy(network, StoredImages(images.validation)),
        "test": accuracy(network, StoredImages(test)),
        "cpu_s": seconds,
    }


def measured(args: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each study and seed."""
    document = []
    for study in args.studies:
        evaluator, name = opened(args.recipes / f"{study}.toml", args.data)
        a = architecture(evaluator.spec, POOLS[study])
        rows = [measure(evaluator, a, seed) for seed in range(args.seeds)]
        facts = {
            "data": name,
            "images": len(evaluator.images.data.train),
            "parameters": evaluator.workload(a).parameters,
            "epochs": evaluator.spec.training.epochs,
        }
        document += [facts | row for row in rows]
    return document


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--studies", nargs="+", choices=sorted(POOLS), default=sorted(POOLS))
    options.add_argument("--recipes", type=Path, default=STUDIES, help="folder of the study files")
    options.add_argument("--seeds", type=int, default=2)
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    rows = measured(args)
    shown = [[harness.rounded(value) for value in row.values()] for row in rows]
    harness.show(rows, args.json, lambda: harness.table(list(rows[0]), shown))


if __name__ == "__main__":
    main()
