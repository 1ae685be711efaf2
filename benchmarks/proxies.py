"""How proxies rank spiking cells: against the test accuracies of a table of trained networks.

    python benchmarks/proxies.py --table spikenas_bench_cifar10.csv --images cifar10_jpeg.zip
    python benchmarks/proxies.py --table spikenas_bench_cifar10.csv --ceiling

The table is SpikeNAS-Bench's CIFAR-10 part as CSV: a row a cell, columns e01 .. e23 with the digits
of the preset `bench-threshold`, `test` (accuracy in per cent after 100 epochs) and `n_epochs`;
the data set is its authors' (IEEE TAI 2025). Networks trained for another number of epochs, and
cells without a path, are left out. Images are those of `train/<class>/*.jpg|png` in a zip file;
without such a file they are noise.

The sample is drawn among genotypes, where simple cells are many, or with `--distinct` among
functions, which is harder. `--part` takes those of one half of the functions (by the hash
of a cell's canonical form): `threshold_depth` was chosen on the half `chosen`, never on `held-out`.
`a+b` is the mean of the ranks by a and by b within the sample. `--whole` builds dead edges too, as
SNASNet's code runs them. Intervals are of a bootstrap over the sample. `recall_at_25`: share of the
sample's best tenth among the quarter with the best scores; ties are broken at random by a seed.
`--ceiling`: how far networks of one function, trained several times, agree in rank; the root of it
is the rank correlation that a perfect proxy would have.
"""

import argparse
import csv
import hashlib
import io
import math
import time
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import harness
import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import rankdata, spearmanr

from nas_service.metrics import PROXIES
from nas_service.snn.network import CellNetwork, Network
from nas_service.snn.neurons import Neuron
from nas_service.snn.operations import Style, build
from nas_service.snn.proxies.scoring import BATCHES, score
from nas_service.snn.quantization import Rounding
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGE_NAMES, OUTPUT, Cell
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

    @property
    def part(self) -> str:
        """One of two halves of the functions."""
        digest = hashlib.sha256(self.cell.canonical().encode()).digest()
        return ("chosen", "held-out")[digest[-1] % 2]


def read_table(path: Path) -> list[Trained]:
    """The connected cells of a CSV file that were trained for `EPOCHS`."""
    digits = PRESETS["bench-threshold"]
    table = []
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            cell = Cell(tuple(digits[int(row[f"e{edge}"])] for edge in EDGE_NAMES))
            if row["n_epochs"] == EPOCHS and cell.connected:
                table.append(Trained(cell, float(row["test"])))
    return table


def distinct(table: list[Trained]) -> list[Trained]:
    """Each function once, with the mean accuracy of its networks."""
    functions = defaultdict(list)
    for trained in table:
        functions[trained.cell.canonical()].append(trained)
    return [
        Trained(alike[0].cell, float(np.mean([trained.accuracy for trained in alike])))
        for alike in functions.values()
    ]


def read_images(path: Path | None, count: int, seed: int) -> torch.Tensor:
    """Images [count, 3, 32, 32], scaled to mean 0 and deviation 1 in each channel."""
    rng = np.random.default_rng(seed)
    if path is None:
        return torch.from_numpy(rng.normal(size=(count, 3, 32, 32))).float()
    with zipfile.ZipFile(path) as archive:
        names = sorted(n for n in archive.namelist() if n.startswith("train/") and "." in n)
        chosen = [names[i] for i in rng.choice(len(names), count, replace=False)]
        opened = [Image.open(io.BytesIO(archive.read(name))).convert("RGB") for name in chosen]
    pixels = np.stack([np.asarray(image, dtype=np.float32) for image in opened])
    pixels = (pixels - pixels.mean((0, 1, 2))) / pixels.std((0, 1, 2))
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous()


class WholeCell(CellNetwork):
    """A cell with its dead edges; nodes that nothing reaches are 0."""

    def __init__(self, cell: Cell, channels: int, style: Style) -> None:
        super().__init__(cell, channels, style, {edge.name: 8 for edge in cell.edges})
        self.ordered_edges = tuple(sorted(cell.edges, key=lambda e: e.target))
        for edge in self.ordered_edges:
            if f"edge{edge.name}" not in self.edges:
                self.edges[f"edge{edge.name}"] = build(edge.operation, channels, style)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        nodes = [x, *(torch.zeros_like(x) for _ in range(OUTPUT))]
        fired: dict[tuple[int, Neuron], torch.Tensor] = {}
        for edge in self.ordered_edges:
            sent = self._send(edge, nodes[edge.source], fired)
            nodes[edge.target] = nodes[edge.target] + sent
        return nodes[OUTPUT]


def network_of(cell: Cell, channels: int, seed: int, whole: bool) -> Network:
    """One cell twice, as the table has it, with SNASNet's classifier."""
    torch.manual_seed(seed)
    a = Architecture((cell, cell), channels, head_pool=2, hidden=1024, time_steps=5, weight_bits=8)
    network = Network(a, TASK, votes=10)
    if whole:
        style = Style(a.time_steps, Rounding(a.weight_bits))
        for k, part in enumerate(network.body):
            if isinstance(part, CellNetwork):
                network.body[k] = WholeCell(cell, channels * 2 ** (k // 2), style)
    return network.to(memory_format=torch.channels_last)


def recall(scores: Floats, truth: Floats, keep: float, seed: int) -> float:
    """Share of the best tenth in truth that is among the best `keep` by score."""
    ties = np.random.default_rng(seed).random(len(scores))
    kept = np.lexsort((ties, -scores))[: round(keep * len(scores))]
    best = np.argsort(-truth)[: len(truth) // 10]
    return float(np.isin(best, kept).mean())


def interval(scores: Floats, truth: Floats, rounds: int, seed: int) -> tuple[float, float]:
    """95 % interval of the rank correlation, by a bootstrap over the cells.

    Draws in which all cells have the same rank are left out.
    """
    rng, n = np.random.default_rng(seed), len(truth)
    drawn = np.array([rng.integers(n, size=n) for _ in range(rounds)])
    x, y = (rankdata(values[drawn], axis=1) - (n + 1) / 2 for values in (scores, truth))
    scale = np.sqrt((x**2).sum(1) * (y**2).sum(1))
    varied = scale > 0
    low, high = np.percentile((x * y).sum(1)[varied] / scale[varied], (2.5, 97.5))
    return float(low), float(high)


def summary(scores: Floats, truth: Floats, seconds: Floats, seed: int) -> dict[str, float]:
    """The figures of one proxy."""
    low, high = interval(scores, truth, 2000, seed)
    return {
        "spearman": float(spearmanr(scores, truth).statistic),
        "low": low,
        "high": high,
        "recall_at_25": recall(scores, truth, 0.25, seed),
        "recall_at_50": recall(scores, truth, 0.5, seed),
        "cpu_s": float(np.median(seconds)),
    }


def ceiling(table: list[Trained]) -> dict[str, float]:
    """Agreement in rank within functions trained at least twice, over the whole table."""
    ranks = rankdata([trained.accuracy for trained in table]) / len(table)
    functions = defaultdict(list)
    for trained, rank in zip(table, ranks, strict=True):
        functions[trained.cell.canonical()].append(rank)
    repeated = [np.array(alike) for alike in functions.values() if len(alike) > 1]
    squares = sum(float(((alike - alike.mean()) ** 2).sum()) for alike in repeated)
    networks = sum(map(len, repeated))
    agreement = 1 - squares / (networks - len(repeated)) / float(ranks.var())
    return {
        "functions": len(functions),
        "repeated_functions": len(repeated),
        "repeated_networks": networks,
        "agreement": agreement,
        "ceiling": math.sqrt(agreement),
    }


def measure(
    names: list[str], sample: list[Trained], images: torch.Tensor, args: argparse.Namespace
) -> dict[str, dict[str, float]]:
    """The figures of each proxy, and of each sum of proxies, on the sample."""
    parts = list(dict.fromkeys(part for name in names for part in name.split("+")))
    scores, seconds = scored(parts, sample, images, args)
    truth, rows = np.array([trained.accuracy for trained in sample]), {}
    for name in names:
        ranks = np.mean([rankdata(scores[part]) for part in name.split("+")], axis=0)
        spent = np.sum([seconds[part] for part in name.split("+")], axis=0)
        rows[name] = summary(ranks, truth, spent, args.seed)
    return rows


def scored(
    names: list[str], sample: list[Trained], images: torch.Tensor, args: argparse.Namespace
) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Scores and CPU seconds of each proxy on every cell of the sample."""
    scores: dict[str, list[float]] = {name: [] for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for trained in sample:
        network = network_of(trained.cell, args.channels, args.seed, args.whole)
        for name in names:
            start = time.process_time()
            scores[name].append(score(name, network, images).value)
            seconds[name].append(time.process_time() - start)
    return scores, seconds


def lines(rows: dict[str, dict[str, float]]) -> list[str]:
    """The figures for people."""
    headings = ("proxy", "spearman [95 % interval]", "best tenth in 25 %", "in 50 %", "CPU s")
    cells = []
    for name, row in rows.items():
        recalls = (f"{row[key]:.2f}" for key in ("recall_at_25", "recall_at_50"))
        correlation = harness.span((row["spearman"], row["low"], row["high"]))
        cells.append([name, correlation, *recalls, f"{row['cpu_s']:.5f}"])
    return harness.table(headings, cells)


def options() -> argparse.ArgumentParser:
    """The options of this script."""
    parser = harness.parser(__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--images", type=Path, help="zip file; noise without")
    parser.add_argument("--proxies", default=",".join([*PROXIES, "hamming+convolutions"]))
    parser.add_argument("--part", choices=("all", "chosen", "held-out"), default="all")
    parser.add_argument("--distinct", action="store_true", help="draw functions, not genotypes")
    parser.add_argument("--cells", type=int, default=300)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32, help="images of each of two batches")
    parser.add_argument("--whole", action="store_true", help="with dead edges")
    parser.add_argument("--ceiling", action="store_true", help="noise of the table, no proxies")
    parser.add_argument("--seed", type=int, default=0)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = (parser := options()).parse_args(argv)
    if args.cells < 20:
        parser.error(f"--cells {args.cells}: at least 20 are needed for a best tenth and ranks")
    torch.set_num_threads(1)
    table = read_table(args.table)
    if args.ceiling:
        noise = ceiling(table)
        return harness.show(noise, args.json, lambda: harness.pairs(noise))
    table = [trained for trained in table if args.part in ("all", trained.part)]
    table = distinct(table) if args.distinct else table
    rng = np.random.default_rng(args.seed)
    sample = [table[i] for i in rng.choice(len(table), args.cells, replace=False)]
    images = read_images(args.images, BATCHES * args.batch, args.seed)
    rows = measure(args.proxies.split(","), sample, images, args)
    source = args.images.name if args.images else "noise"
    drawn = "functions" if args.distinct else "cells"
    title = f"{args.cells} of {len(table)} {drawn} ({args.part}), {len(images)} images ({source})"
    harness.show(rows, args.json, lambda: [title, *lines(rows)])


if __name__ == "__main__":
    main()
