"""What reading data costs: the first time, from the cache, batch by batch, and in memory.

    python benchmarks/data.py --data ../shared/data

Each set that lies in the data folder is read into an empty cache, opened again in a process of its
own, and gone through in shuffled batches; an epoch over a float copy of all pixels is beside it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

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


def in_a_process_of_its_own(number: int, folder: Path, rounds: int) -> dict[str, float]:
    """Seconds and MiB of opening the cache, of epochs from it, and of a float copy."""
    images, opened_s = read(SETS[number], folder)
    start = time.perf_counter()
    train = split(images, None, len(images) // 10, seed=0).train
    split_s = time.perf_counter() - start
    before, mapped, copied = resident_MiB("RssAnon"), [], []
    generator = np.random.default_rng(0)
    for _ in range(rounds):
        mapped.append(epoch(lambda some: batch(train, some), generator.permutation(len(train))))
    shared = resident_MiB("RssAnon") - before
    pixels, labels = all_images(train)
    for _ in range(rounds):
        order = generator.permutation(len(train))
        copied.append(epoch(lambda some: (pixels[some], labels[some]), order))
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
    words = [sys.executable, __file__, "--data", str(folder), "--rounds", str(rounds)]
    done = subprocess.run(
        [*words, "--only", str(number)], stdout=subprocess.PIPE, text=True, check=True
    )
    name = SETS[number].archive or SETS[number].name
    facts = {"name": name, "images": float(len(images)), "first_s": first_s}
    return facts | json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--only", type=int, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(1)
    if args.only is not None:
        return print(json.dumps(in_a_process_of_its_own(args.only, args.data, args.rounds)))
    rows = []
    with tempfile.TemporaryDirectory() as cache:
        os.environ["NAS_CACHE"] = cache
        for number in range(len(SETS)):
            try:
                rows.append(measure(number, args.data, args.rounds))
            except DataError as error:
                print(f"left out: {error}", file=sys.stderr)
    if args.json:
        return print(json.dumps({"rounds": args.rounds, "rows": rows}, indent=2))
    print(f"{'':36s} images  first s  opened s  epoch s  of a copy s  own MiB  of a copy MiB")
    for r in rows:
        print(
            f"{r['name']:36s} {r['images']:6.0f} {r['first_s']:8.2f} {r['opened_s']:9.4f} "
            f"{r['epoch_s']:8.3f} {r['epoch_of_a_copy_s']:12.3f} {r['own_MiB']:8.0f} "
            f"{r['own_MiB_of_a_copy']:14.0f}"
        )
    print(f"epochs in batches of {BATCH}, median of {args.rounds}; own: memory that is not shared")


if __name__ == "__main__":
    main()
