"""SNASNet's search without training, its own way and ours: seconds for all samples, same winner?

    python benchmarks/snasnet_search.py --samples 5000 --images cifar10_jpeg.zip

Cells are drawn as SNASNet draws them (forward edges, an operation on edge 03 demanded, dead edges
zeroized), both cells of a network alike, and scored by SAHD (alpha 0.5) on two batches; the best
wins. Batch norms see each time step by itself, weights are one set for each edge and operation.

- Its own way (`naive`): every sample is scored, step by step, stem included; each layer's kernel
  is made of two products. Timed on some samples between ours, and extrapolated by their mean.
- Ours: each function is scored once; time is folded; neurons that are alike and read one node
  fire once; one product a kernel; what first cells have in common is computed once.

Both score the same member of each function. `same_winner` compares them where both were run: on
the timed samples and on our best ten functions. Maps are many megabytes: run it with the
environment of the service's workers (`WORKER_ENVIRONMENT` in nas_service/child), where the
allocator keeps freed memory.
"""

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
import torch
from norse.torch.functional.lif_box import LIFBoxFeedForwardState
from proxies import read_images
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nas_service.snn.network import Network
from nas_service.snn.neurons import LIF
from nas_service.snn.operations import Style, build
from nas_service.snn.proxies.kernels import log_determinant, sparsity_aware_kernels
from nas_service.snn.proxies.scoring import BATCHES
from nas_service.snn.quantization import Rounding
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGE_NAMES, EDGES, OUTPUT, Cell
from nas_service.spaces.operations import OPERATIONS, PRESETS
from nas_service.spaces.task import Task

TIME_STEPS = 5
ALPHA = 0.5
NAMES = PRESETS["snasnet5"]
EVERYWHERE = Cell(("skip",) * len(EDGES))


def draw(samples: int, seed: int) -> list[Cell]:
    """Cells as SNASNet samples them, dead edges zeroized."""
    die, found = np.random.default_rng(seed), []
    while len(found) < samples:
        cell = Cell(tuple(NAMES[i] for i in die.integers(len(NAMES), size=len(EDGES))))
        if cell.operations[EDGES.index((0, OUTPUT))] != "zeroize":
            found.append(cell.live())
    return found


class Weights(nn.Module):
    """One set of weights for every edge and operation, and all that surrounds the cells."""

    def __init__(self, channels: int, seed: int, time_steps: int = TIME_STEPS) -> None:
        super().__init__()
        torch.manual_seed(seed)
        a = Architecture((EVERYWHERE,) * 2, channels, 2, 1024, time_steps, 8)
        self.around = Network(a, Task(3, 32, 10), votes=10, norm_each_step=True)
        style = Style(time_steps, Rounding(a.weight_bits), norm_each_step=True)
        self.edges = nn.ModuleList(
            nn.ModuleDict(
                {
                    edge + name: build(OPERATIONS[name], channels * 2**k, style)
                    for edge, name in itertools.product(EDGE_NAMES, NAMES[1:])
                }
            )
            for k in range(2)
        )
        for module in list(self.modules()):
            if parametrize.is_parametrized(module, "weight"):  # from now on as rounded
                parametrize.remove_parametrizations(module, "weight")


# --- its own way -----------------------------------------------------------------------------


def naive_score(weights: Weights, cell: Cell, batches: list[Tensor]) -> float:
    return statistics.fmean(log_determinant(naive_kernel(weights, cell, x)) for x in batches)


def naive_kernel(weights: Weights, cell: Cell, images: Tensor) -> Tensor:
    """Every module in every time step, every layer's kernel by itself."""
    states: dict[tuple[nn.Module, int], LIFBoxFeedForwardState] = {}
    kernels: list[Tensor] = []

    def run(module: nn.Module, x: Tensor) -> Tensor:
        for part in module if isinstance(module, nn.Sequential) else [module]:
            if isinstance(part, LIF):
                state = states.get(part) or LIFBoxFeedForwardState(v=torch.zeros_like(x))
                x, states[part] = part.activation(x, state, part.p, part.dt)
                kernels.append(two_products(x.flatten(1)))
            elif isinstance(part, nn.AvgPool2d):  # as torch has it
                x = nn.AvgPool2d.forward(part, x)
            else:
                x = part(x)
        return x

    for _ in range(TIME_STEPS):
        x = run(weights.around.stem, images)
        for k, edges in enumerate(weights.edges):
            nodes = [x, *(torch.zeros_like(x) for _ in range(OUTPUT))]
            for (source, target), edge, name in zip(
                EDGES, EDGE_NAMES, cell.operations, strict=True
            ):
                if name != "zeroize":
                    nodes[target] = nodes[target] + run(edges[edge + name], nodes[source])
            x = nodes[OUTPUT] if k else run(weights.around.body[1], nodes[OUTPUT])
        run(weights.around.readout, run(weights.around.hidden, x))
    return torch.stack(kernels).mean(0)


def two_products(codes: Tensor) -> Tensor:
    """The kernel of codes [B, N], from spikes against silence and silence against spikes."""
    n, silent = codes.shape[1], (1 - codes).mean(1).double()
    distance = (codes @ (1 - codes).T + (1 - codes) @ codes.T).double()
    expected = n * (torch.outer(silent, 1 - silent) + torch.outer(1 - silent, silent))
    return n - ALPHA * torch.where(expected > 0, distance / expected, 0.0)


# --- ours ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Seen:
    """A map [T*B, C, H, W] and the sum of all kernels on the way to it, with their number."""

    value: Tensor
    kernel: Tensor | float = 0.0
    layers: int = 0


def search(
    weights: Weights, cells: list[Cell], batches: list[Tensor]
) -> Iterator[tuple[Cell, float]]:
    """Cells and their scores, in an order in which neighbours have most in common."""
    firsts = [Walk(weights.edges[0], folded(weights, images)) for images in batches]
    for cell in sorted(cells, key=lambda c: [c.operations[e] for e in WALK]):
        found = [log_determinant(folded_kernel(weights, cell, first)) for first in firsts]
        yield cell, statistics.fmean(found)


WALK = tuple(EDGES.index(edge) for edge in ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)))


def folded(weights: Weights, images: Tensor) -> Seen:
    """The input of the first cell."""
    return Seen(torch.cat([weights.around.stem(images)] * TIME_STEPS))


def folded_kernel(weights: Weights, cell: Cell, first: "Walk") -> Tensor:
    around = weights.around
    seen = through(around.body[1], first.output(cell))
    seen = Walk(weights.edges[1], seen).output(cell)
    seen = through(around.readout, through(around.hidden, seen))
    return torch.as_tensor(seen.kernel) / (seen.layers * TIME_STEPS)


def through(block: nn.Sequential, seen: Seen) -> Seen:
    """A block of modules with one layer of neurons."""
    parts = list(block)
    at = next(n for n, part in enumerate(parts) if isinstance(part, LIF))
    spikes = nn.Sequential(*parts[: at + 1])(seen.value)
    kernel = seen.kernel + one_product(spikes)
    return Seen(nn.Sequential(*parts[at + 1 :])(spikes), kernel, seen.layers + 1)


def one_product(spikes: Tensor) -> Tensor:
    """Sum of the kernels [B, B] of all time steps."""
    if spikes.dim() == 4:
        spikes = spikes.permute(0, 2, 3, 1)
    codes = spikes.reshape(TIME_STEPS, len(spikes) // TIME_STEPS, -1)
    return sparsity_aware_kernels(codes, ALPHA).sum(0)


@dataclass
class Walk:
    """A cell over one input. What an edge sends is kept while the operations before it stay."""

    edges: nn.ModuleDict
    entry: Seen
    # by edge: the operations before it, and what it sends by the operation it carries
    sent: dict[int, tuple[tuple[str, ...], dict[str, Tensor]]] = field(default_factory=dict)
    # by node: the operations before it, its spikes and their kernels
    fired: dict[int, tuple[tuple[str, ...], Tensor, Tensor]] = field(default_factory=dict)

    def output(self, cell: Cell) -> Seen:
        """Node 3, with the kernels of the cell's layers; every edge of `cell` is live."""
        nodes: list[Tensor | None] = [self.entry.value, None, None, None]
        kernel, layers = self.entry.kernel, self.entry.layers
        for at in WALK:
            (source, target), name = EDGES[at], cell.operations[at]
            if name == "zeroize":
                continue
            before = upstream(cell, source)
            value = self._send(at, name, before, nodes[source])
            nodes[target] = value if nodes[target] is None else nodes[target] + value
            if OPERATIONS[name].weighted:
                kernel, layers = kernel + self.fired[source][2], layers + 1
        return Seen(nodes[OUTPUT], kernel, layers)

    def _send(self, at: int, name: str, before: tuple[str, ...], x: Tensor) -> Tensor:
        """What edge `at` sends when it carries `name` and reads x, made by `before`."""
        edge, weighted = self.edges[EDGE_NAMES[at] + name], OPERATIONS[name].weighted
        spikes = self._spikes(EDGES[at][0], edge[0], before, x) if weighted else x
        known, values = self.sent.get(at, (None, {}))
        if known != before:
            self.sent[at] = before, (values := {})
        if name not in values:
            values[name] = edge[1:](spikes) if weighted else edge(x)
        return values[name]

    def _spikes(self, node: int, lif: LIF, before: tuple[str, ...], x: Tensor) -> Tensor:
        """What the neurons behind a node answer: they are alike on all its edges."""
        if node not in self.fired or self.fired[node][0] != before:
            spikes = lif(x)
            self.fired[node] = before, spikes, one_product(spikes)
        return self.fired[node][1]


def upstream(cell: Cell, node: int) -> tuple[str, ...]:
    """The operations that a node's value depends on."""
    ends = {0: (), 1: ((0, 1),), 2: ((0, 1), (0, 2), (1, 2))}[node]
    return tuple(cell.operations[EDGES.index(edge)] for edge in ends)


# --- both ------------------------------------------------------------------------------------


def seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


@torch.no_grad()
def compare(samples: list[Cell], channels: int, images: Tensor, timed: int, seed: int) -> dict:
    ours = Weights(channels, seed).to(memory_format=torch.channels_last)
    naive = Weights(channels, seed, time_steps=1)  # it sees one after the other
    batches = list(images.chunk(BATCHES))
    start = time.process_time()
    member = {}
    for cell in samples:
        member.setdefault(cell.canonical(), cell)
    spent = time.process_time() - start
    die = np.random.default_rng(seed)
    chosen = [member[samples[i].canonical()] for i in die.choice(len(samples), timed)]
    scores, theirs, taken = {}, {}, []
    found = search(ours, list(member.values()), batches)
    pause = max(1, len(member) // timed)

    def score_naively(cell: Cell) -> None:
        theirs[cell] = naive_score(naive, cell, batches)

    for n in itertools.count():
        start = time.process_time()
        scored = next(found, None)
        spent += time.process_time() - start
        if scored is None:
            break
        scores[scored[0]] = scored[1]
        if n % pause == 0 and len(taken) < timed:
            taken.append(seconds(partial(score_naively, chosen[len(taken)])))
    best = sorted(scores, key=scores.get)[-10:]
    for cell in best:
        score_naively(cell)
    both = {cell: scores[cell] for cell in theirs}
    return {
        "samples": len(samples),
        "functions": len(member),
        "ours_cpu_s": spent,
        "naive_cpu_s_per_sample": statistics.fmean(taken),
        "naive_samples_timed": len(taken),
        "speedup": statistics.fmean(taken) * len(samples) / spent,
        "same_winner": max(theirs, key=theirs.get) == max(both, key=both.get),
        "winner": max(scores, key=scores.get).operations,
        "lead": scores[best[-1]] - scores[best[-2]],
        "largest_difference": max(abs(theirs[cell] - scores[cell]) for cell in theirs),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--channels", type=int, default=16)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--timed", type=int, default=40, help="samples scored naively")
    parser.add_argument("--images", type=Path, help="zip file; noise without")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    images = read_images(args.images, BATCHES * args.batch, args.seed)
    samples = draw(args.samples, args.seed)
    found = compare(samples, args.channels, images, args.timed, args.seed)
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for key, value in found.items():
        print(f"{key:24s} {value:.4g}" if isinstance(value, float) else f"{key:24s} {value}")


if __name__ == "__main__":
    main()
