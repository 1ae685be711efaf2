"""How many candidates the cost model costs: one by one with every breakdown, and as one batch.

python benchmarks/cost_model.py --profile corrected --layers 16 --candidates 10000
python benchmarks/cost_model.py --same-rate  # as before a training: fewer layers differ
"""

import argparse
import random
import statistics
import tracemalloc
from collections.abc import Sequence
from functools import partial
from typing import Any

import harness
import numpy as np

from hw_models import Layer, LayerIndex, LayerTable, Workload, load_profile

WIDTHS = (16, 32, 64, 128)
RATE = 0.1  # of all spikes, where layers have none of their own


def network(rng: random.Random, layers: int, time_steps: int = 5) -> Workload:
    """A random chain of convolutions, and a classifier."""
    channels, size, chain = 3, 32, []
    for i in range(layers - 1):
        pool = 2 if size > 4 and rng.random() < 0.2 else 1
        chain.append(convolution(rng, i, channels, size, pool))
        channels, size = chain[-1].out_channels, size // pool
    chain.append(Layer("classifier", "linear", channels * size**2, 10, spike_rate=0.1))
    return Workload(tuple(chain), time_steps)


def convolution(rng: random.Random, i: int, channels: int, size: int, pool: int) -> Layer:
    """A convolution of random width, kernel, bits and spike rate; the first one reads the image."""
    return Layer(
        f"conv{i}",
        "conv",
        channels,
        rng.choice(WIDTHS),
        kernel=rng.choice((1, 3, 5)),
        in_size=size,
        out_size=size,
        pool=pool,
        weight_bits=rng.choice((4, 6, 8)),
        input_bits=1 if i else 8,
        once=i == 0,
        spike_rate=round(rng.uniform(0.02, 0.4), 3),
    )


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Rates of both ways, their difference, and the memory that a batch takes."""
    rng, chip = random.Random(args.seed), load_profile(args.profile)  # noqa: S311  no secret
    distinct = [network(rng, args.layers) for _ in range(min(args.candidates, 1000))]
    if args.same_rate:
        distinct = [workload.at_rate(RATE) for workload in distinct]
    table = LayerTable.stack((distinct * (args.candidates // len(distinct) + 1))[: args.candidates])
    index = LayerIndex.of(table)
    batch, computed, scalar = rounds(chip, index, table, distinct[:100], args.rounds)
    return {
        "profile": args.profile,
        "digest": chip.digest,
        "layers": args.layers,
        "candidates": len(table),
        "rounds": args.rounds,
        "same_rate": args.same_rate,
        "seed": args.seed,
        "distinct_layers": len(index.distinct),
        "batch_candidates_per_s": round(1 / batch),
        "without_lookup_candidates_per_s": round(1 / computed),
        "scalar_candidates_per_s": round(1 / scalar),
        "scalar_ms": round(1e3 * scalar, 3),
        "batch_over_scalar": round(scalar / batch, 1),
        "max_relative_difference": largest_difference(chip, index, distinct),
        "batch_peak_MB": round(peak_bytes(partial(chip.estimate_batch, index)) / 1e6, 1),
        "index_MB": round(megabytes(index, index.distinct), 1),
        "table_MB": round(megabytes(table), 1),
    }


def rounds(
    chip: Any, index: LayerIndex, table: LayerTable, some: list[Workload], count: int
) -> tuple[float, float, float]:
    """Median CPU seconds of a candidate: looked up, computed in a batch, and by itself."""
    chip.estimate_batch(index)  # warm
    batch, computed, scalar = [], [], []
    for _ in range(count):
        batch.append(harness.seconds(lambda: chip.estimate_batch(index)) / len(table))
        computed.append(harness.seconds(lambda: chip.estimate_batch(table)) / len(table))
        scalar.append(harness.seconds(lambda: [chip.estimate(w) for w in some]) / len(some))
    return statistics.median(batch), statistics.median(computed), statistics.median(scalar)


def megabytes(*tables: LayerIndex | LayerTable) -> float:
    """Size of the arrays of tables."""
    arrays = (x for table in tables for x in vars(table).values() if isinstance(x, np.ndarray))
    return sum(x.nbytes for x in arrays) / 1e6


def largest_difference(chip: Any, layers: LayerIndex, distinct: list[Workload]) -> float:
    """The largest relative difference of any metric between the two ways."""
    costed = chip.estimate_batch(layers).metrics()
    return max(
        abs(costed[name][i] - value) / abs(value)
        for i, workload in enumerate(distinct)
        for name, value in chip.estimate(workload).metrics().items()
    )


def peak_bytes(act: Any) -> int:
    """The most memory that a call holds at a time."""
    tracemalloc.start()
    try:
        act()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def main(argv: Sequence[str] | None = None) -> None:
    options = harness.parser(__doc__)
    options.add_argument("--profile", default="corrected")
    options.add_argument("--layers", type=int, default=16)
    options.add_argument("--candidates", type=int, default=10_000)
    options.add_argument("--same-rate", action="store_true", help="one spike rate for all layers")
    options.add_argument("--rounds", type=int, default=7)
    options.add_argument("--seed", type=int, default=0)
    args = options.parse_args(argv)
    document = measure(args)
    harness.show(document, args.json, lambda: harness.pairs(document))


if __name__ == "__main__":
    main()
