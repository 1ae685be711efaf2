"""What reading data costs: the first time, from the cache, batch by batch, and in memory.

    python benchmarks/data.py --data ../shared/data

Each set that lies in the data folder is read into an empty cache, opened again in a new
process, and read in shuffled batches. An epoch over a float copy of all pixels is timed as well.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import harness
import numpy as np
import torch

from nas_service.data import source_of
from nas_service.data.batches import all_images, batch
from nas_service.data.images import Images, split
from nas_service.errors import DataError
from nas_service.study.sections import Data

SETS = (
    Data(name="fashion_mnist"),
    Data(name="image_folder", archive="cifar10_jpeg_full_60000.zip", size=32, classes=10),
    Data(name="image_folder", archive="tinyimagenet20_subset_8000_900.zip", size=64, classes=20),
    Data(name="n_mnist", archive="nmnist_subset_1000_100.zip"),
)
TIME_STEPS = 5
BATCH = 64


def resident_MiB(kind: str) -> float:
    """Memory of this process: RssAnon is its own, RssFile is shared with others."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{kind}:"))


def read(data: Data, folder: Path) -> tuple[Images, float]:
    start = time.perf_counter()
    images = source_of(data).read_train(folder, TIME_STEPS)
    return images, time.perf_counter() - start


def in_new_process(number: int, folder: Path, rounds: int) -> dict[str, float]:
    """Seconds and MiB of opening the cache, of epochs from it, and of a float copy."""
    images, opened_s = read(SETS[number], folder)
    start = time.perf_counter()
    train = split(images, None, len(images) // 10, seed=0).train
    split_s = time.perf_counter() - start
    before, mapped, copied = resident_MiB("RssAnon"), [], []
    generator = np.random.default_rng(0)
    for _ in range(rounds):
        mapped.append(epoch(lambda rows: batch(train, rows), generator.permutation(len(train))))
    shared = resident_MiB("RssAnon") - before
    pixels, labels = all_images(train)
    for _ in range(rounds):
        order = generator.permutation(len(train))
        copied.append(epoch(lambda rows: (pixels[rows], labels[rows]), order))
    return {
        "opened_s": opened_s,
        "split_s": split_s,
        "epoch_s": statistics.median(mapped),
        "epoch_of_a_copy_s": statistics.median(copied),
        "own_MiB": shared,
        "own_MiB_of_a_copy": resident_MiB("RssAnon") - before,
    }


def epoch(get, order: np.ndarray) -> float:  # type: ignore[no-untyped-def,type-arg]
    start = time.perf_counter()
    for first in range(0, len(order), BATCH):
        get(torch.from_numpy(order[first : first + BATCH]))
    return time.perf_counter() - start


def measure(number: int, folder: Path, rounds: int) -> dict[str, float | str]:
    images, first_s = read(SETS[number], folder)
    name = SETS[number].archive or SETS[number].name
    facts = {"name": name, "images": float(len(images)), "first_s": first_s}
    return facts | in_child(number, folder, rounds)


def in_child(number: int, folder: Path, rounds: int) -> dict[str, float]:
    """What `in_new_process` measures in a new process."""
    command = [sys.executable, __file__, "--data", str(folder), "--rounds", str(rounds)]
    done = subprocess.run(
        [*command, "--only", str(number)], stdout=subprocess.PIPE, text=True, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures


def measured(folder: Path, rounds: int) -> list[dict[str, float | str]]:
    """A row for each set that is in the folder."""
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NAS_CACHE"] = cache
        for number in range(len(SETS)):
            try:
                rows.append(measure(number, folder, rounds))
            except DataError as error:
                print(f"left out: {error}", file=sys.stderr)
    return rows


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people."""
    shown = [[harness.rounded(value) for value in row.values()] for row in document["rows"]]
    title = f"epochs in batches of {BATCH}, medians of {document['rounds']}; own: not shared"
    return [title, *harness.table(list(document["rows"][0]), shown)]


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--data", type=Path, required=True)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--only", type=int, help=argparse.SUPPRESS)
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    if args.only is not None:
        return print(json.dumps(in_new_process(args.only, args.data, args.rounds)))
    document = {"rounds": args.rounds, "rows": measured(args.data, args.rounds)}
    harness.show(document, args.json, lambda: lines(document))


if __name__ == "__main__":
    main()
