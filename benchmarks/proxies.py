"""How proxies rank spiking cells: against the test accuracies of a table of trained networks.

    python benchmarks/proxies.py --table spikenas_bench_cifar10.csv --images cifar10_jpeg.zip

The table is SpikeNAS-Bench's CIFAR-10 part as CSV: a row a cell, columns e01 .. e23 with the digits
of the preset `bench-threshold`, `test` (accuracy in per cent after 100 epochs) and `n_epochs`;
the data set is its authors' (IEEE TAI 2025). Networks trained for another number of epochs, and
cells without a path, are left out. Images are those of `train/<class>/*.jpg|png` in a zip file;
without one they are noise.

Each sample of cells is drawn by its seed among all genotypes. Intervals are of a bootstrap over
the cells of a sample. `recall_at_25`: share of the sample's best tenth that is kept where the
quarter with the best scores is kept; ties are broken by a seeded die.
"""

import argparse
import csv
import io
import json
import statistics
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import spearmanr

from nas_service.snn.network import Network
from nas_service.snn.proxies import PROXIES, score
from nas_service.spaces.architecture import EDGE_NAMES, Architecture, Cell
from nas_service.spaces.operations import PRESETS
from nas_service.spaces.task import Task

Floats = NDArray[np.float64]
TASK = Task(3, 32, 10)
EPOCHS = "100"  # of almost all rows


@dataclass(frozen=True)
class Trained:
    """A connected cell and the test accuracy of its network, in per cent."""

    cell: Cell
    accuracy: float


def read_table(path: Path) -> list[Trained]:
    digits = PRESETS["bench-threshold"]
    found = []
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            cell = Cell(tuple(digits[int(row[f"e{edge}"])] for edge in EDGE_NAMES))
            if row["n_epochs"] == EPOCHS and cell.connected:
                found.append(Trained(cell, float(row["test"])))
    return found


def read_images(path: Path | None, count: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images [count, 3, 32, 32], scaled to mean 0 and deviation 1 in each channel, and labels."""
    die = np.random.default_rng(seed)
    if path is None:
        pixels = die.normal(size=(count, 3, 32, 32))
        return torch.from_numpy(pixels).float(), torch.from_numpy(die.integers(10, size=count))
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("train/") and "." in n)
        classes = sorted({name.split("/")[1] for name in names})
        chosen = [names[i] for i in die.choice(len(names), count, replace=False)]
        opened = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in chosen]
    pixels = np.stack([np.asarray(image, dtype=np.float32) for image in opened])
    pixels = (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))
    labels = [classes.index(name.split("/")[1]) for name in chosen]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def recall(scores: Floats, truth: Floats, keep: float, seed: int) -> float:
    """Share of the best tenth in truth that is among the best `keep` by score."""
    ties = np.random.default_rng(seed).random(len(scores))
    kept = np.lexsort((ties, -scores))[: round(keep * len(scores))]
    best = np.argsort(-truth)[: len(truth) // 10]
    return float(np.isin(best, kept).mean())


def interval(scores: Floats, truth: Floats, rounds: int, seed: int) -> tuple[float, float]:
    """95 % of the rank correlations of cells drawn with replacement."""
    die = np.random.default_rng(seed)
    drawn = [die.integers(len(truth), size=len(truth)) for _ in range(rounds)]
    low, high = np.percentile(
        [spearmanr(scores[d], truth[d]).statistic for d in drawn], (2.5, 97.5)
    )
    return float(low), float(high)


def summary(scores: Floats, truth: Floats, seconds: list[float], seed: int) -> dict[str, float]:
    low, high = interval(scores, truth, 2000, seed)
    return {
        "spearman": float(spearmanr(scores, truth).statistic),
        "low": low,
        "high": high,
        "recall_at_25": recall(scores, truth, 0.25, seed),
        "recall_at_50": recall(scores, truth, 0.5, seed),
        "cpu_s": statistics.median(seconds),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="zip file; noise without")
    parser.add_argument("--proxies", default=",".join(PROXIES))
    parser.add_argument("--cells", type=int, default=300)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32, help="images of each of two batches")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = read_table(args.table)
    die = np.random.default_rng(args.seed)
    sample = [table[i] for i in die.choice(len(table), args.cells, replace=False)]
    images, labels = read_images(args.images, 2 * args.batch, args.seed)
    names = args.proxies.split(",")
    scores: dict[str, list[float]] = {name: [] for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for trained in sample:
        torch.manual_seed(args.seed)
        a = Architecture((trained.cell,) * 2, args.channels, 2, 1024, 5, 8)
        network = Network(a, TASK, votes=10).to(memory_format=torch.channels_last)
        for name in names:
            start = time.process_time()
            scores[name].append(score(name, network, images, labels, args.seed).value)
            seconds[name].append(time.process_time() - start)
    truth = np.array([trained.accuracy for trained in sample])
    found = {n: summary(np.array(scores[n]), truth, seconds[n], args.seed) for n in names}
    if args.json:
        print(json.dumps(found, indent=2))
        return
    source = args.images.name if args.images else "noise"
    print(f"{args.cells} of {len(table)} cells, {2 * args.batch} images ({source})")
    print(f"{'proxy':16s} spearman  95 % interval    best tenth kept in 25 / 50 %  CPU s")
    for name, row in found.items():
        print(
            f"{name:16s} {row['spearman']:8.3f}  {row['low']:.3f} .. {row['high']:.3f}"
            f"  {row['recall_at_25']:13.2f} / {row['recall_at_50']:.2f}  {row['cpu_s']:15.4f}"
        )


if __name__ == "__main__":
    main()
