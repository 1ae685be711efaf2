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
the timed samples and on our best ten functions. Maps are many megabytes: for figures, run it with
the environment of the service's workers (`WORKER_ENVIRONMENT` in
nas_service/worker/training_process/client.py), where the allocator keeps freed memory.
"""

import itertools
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import harness
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
    rng, cells = np.random.default_rng(seed), []
    while len(cells) < samples:
        cell = Cell(tuple(NAMES[i] for i in rng.integers(len(NAMES), size=len(EDGES))))
        if cell.operations[EDGES.index((0, OUTPUT))] != "zeroize":
            cells.append(cell.live())
    return cells


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
class Signal:
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
        scores = [log_determinant(folded_kernel(weights, cell, first)) for first in firsts]
        yield cell, statistics.fmean(scores)


WALK = tuple(EDGES.index(edge) for edge in ((0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)))


def folded(weights: Weights, images: Tensor) -> Signal:
    """The input of the first cell."""
    return Signal(torch.cat([weights.around.stem(images)] * TIME_STEPS))


def folded_kernel(weights: Weights, cell: Cell, first: "Walk") -> Tensor:
    around = weights.around
    signal = through(around.body[1], first.output(cell))
    signal = Walk(weights.edges[1], signal).output(cell)
    signal = through(around.readout, through(around.hidden, signal))
    return torch.as_tensor(signal.kernel) / (signal.layers * TIME_STEPS)


def through(block: nn.Sequential, signal: Signal) -> Signal:
    """A block of modules with one layer of neurons."""
    parts = list(block)
    at = next(n for n, part in enumerate(parts) if isinstance(part, LIF))
    spikes = nn.Sequential(*parts[: at + 1])(signal.value)
    kernel = signal.kernel + one_product(spikes)
    return Signal(nn.Sequential(*parts[at + 1 :])(spikes), kernel, signal.layers + 1)


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
    entry: Signal
    # by edge: the operations before it, and what it sends by the operation it carries
    sent: dict[int, tuple[tuple[str, ...], dict[str, Tensor]]] = field(default_factory=dict)
    # by node: the operations before it, its spikes and their kernels
    fired: dict[int, tuple[tuple[str, ...], Tensor, Tensor]] = field(default_factory=dict)

    def output(self, cell: Cell) -> Signal:
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
        return Signal(nodes[OUTPUT], kernel, layers)

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
        """Spikes of the neurons that read a node: they are alike on all its edges."""
        if node not in self.fired or self.fired[node][0] != before:
            spikes = lif(x)
            self.fired[node] = before, spikes, one_product(spikes)
        return self.fired[node][1]


def upstream(cell: Cell, node: int) -> tuple[str, ...]:
    """The operations that a node's value depends on."""
    ends = {0: (), 1: ((0, 1),), 2: ((0, 1), (0, 2), (1, 2))}[node]
    return tuple(cell.operations[EDGES.index(edge)] for edge in ends)


# --- both ------------------------------------------------------------------------------------


@torch.no_grad()
def compare(
    samples: list[Cell], channels: int, images: Tensor, timed: int, seed: int
) -> dict[str, Any]:
    """Both ways over the samples: CPU seconds, and whether the same cell wins."""
    ours = Weights(channels, seed).to(memory_format=torch.channels_last)
    naive = Weights(channels, seed, time_steps=1)  # it runs one time step after the other
    batches = list(images.chunk(BATCHES))
    start = time.process_time()
    member: dict[str, Cell] = {}
    for cell in samples:
        member.setdefault(cell.canonical(), cell)
    spent = time.process_time() - start
    rng = np.random.default_rng(seed)
    chosen = [member[samples[i].canonical()] for i in rng.choice(len(samples), timed)]
    scores, naive_scores, taken = {}, {}, []
    results = search(ours, list(member.values()), batches)
    pause = max(1, len(member) // timed)

    def score_naively(cell: Cell) -> None:
        naive_scores[cell] = naive_score(naive, cell, batches)

    for n in itertools.count():
        start = time.process_time()
        scored = next(results, None)
        spent += time.process_time() - start
        if scored is None:
            break
        scores[scored[0]] = scored[1]
        if n % pause == 0 and len(taken) < timed:
            taken.append(harness.seconds(partial(score_naively, chosen[len(taken)])))
    best = sorted(scores, key=lambda cell: scores[cell])[-10:]
    for cell in best:
        score_naively(cell)
    return {
        "samples": len(samples),
        "functions": len(member),
        "ours_cpu_s": spent,
        "naive_cpu_s_per_sample": statistics.fmean(taken),
        "naive_samples_timed": len(taken),
        "speedup": statistics.fmean(taken) * len(samples) / spent,
        **agreement(scores, naive_scores, best),
    }


def agreement(
    scores: dict[Cell, float], naive_scores: dict[Cell, float], best: list[Cell]
) -> dict[str, Any]:
    """Whether both ways choose the same cell of those that both scored, and how they differ."""
    both = {cell: scores[cell] for cell in naive_scores}
    return {
        "same_winner": winner(naive_scores) == winner(both),
        "winner": winner(scores).operations,
        "lead": scores[best[-1]] - scores[best[-2]],
        "largest_difference": max(abs(naive_scores[cell] - both[cell]) for cell in both),
    }


def winner(scores: dict[Cell, float]) -> Cell:
    """The cell with the highest score."""
    return max(scores, key=lambda cell: scores[cell])


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--samples", type=int, default=5000)
    options.add_argument("--channels", type=int, default=16)
    options.add_argument("--batch", type=int, default=32)
    options.add_argument("--timed", type=int, default=40, help="samples scored naively")
    options.add_argument("--images", type=Path, help="zip file; noise without")
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args(argv)
    torch.set_num_threads(1)
    images = read_images(args.images, BATCHES * args.batch, args.seed)
    samples = draw(args.samples, args.seed)
    document = compare(samples, args.channels, images, args.timed, args.seed)
    harness.show(document, args.json, lambda: harness.pairs(document))


if __name__ == "__main__":
    main()
