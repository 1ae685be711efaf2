"""How many candidates the cost model costs: one by one with every breakdown, and as one batch.

python benchmarks/cost_model.py --profile corrected --layers 16 --candidates 10000
"""

import argparse
import json
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable

from hw_models import Layer, LayerTable, Workload, load_profile

WIDTHS = (16, 32, 64, 128)


def network(dice: random.Random, layers: int, time_steps: int = 5) -> Workload:
    """A random chain of convolutions with a classifier behind it."""
    channels, size, found = 3, 32, []
    for i in range(layers - 1):
        pool = 2 if size > 4 and dice.random() < 0.2 else 1
        width = dice.choice(WIDTHS)
        found.append(
            Layer(
                f"conv{i}",
                "conv",
                channels,
                width,
                kernel=dice.choice((1, 3, 5)),
                in_size=size,
                out_size=size,
                pool=pool,
                weight_bits=dice.choice((4, 6, 8)),
                input_bits=1 if i else 8,
                once=i == 0,
                spike_rate=round(dice.uniform(0.02, 0.4), 3),
            )
        )
        channels, size = width, size // pool
    found.append(Layer("classifier", "linear", channels * size**2, 10, spike_rate=0.1))
    return Workload(tuple(found), time_steps)


def seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--profile", default="corrected")
    parser.add_argument("--layers", type=int, default=16)
    parser.add_argument("--candidates", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    dice, chip = random.Random(args.seed), load_profile(args.profile)  # noqa: S311  no secret
    distinct = [network(dice, args.layers) for _ in range(min(args.candidates, 1000))]
    table = LayerTable.stack((distinct * (args.candidates // len(distinct) + 1))[: args.candidates])
    some = distinct[:100]
    chip.estimate_batch(table)  # warm
    batch, scalar = [], []
    for _ in range(args.rounds):  # interleaved: the machine is shared
        batch.append(seconds(lambda: chip.estimate_batch(table)) / len(table))
        scalar.append(seconds(lambda: [chip.estimate(w) for w in some]) / len(some))
    costed = chip.estimate_batch(table).metrics()
    alone = [chip.estimate(w).metrics() for w in distinct]
    worst = max(
        abs(costed[name][i] - value) / abs(value)
        for i, metrics in enumerate(alone)
        for name, value in metrics.items()
    )
    tracemalloc.start()
    chip.estimate_batch(table)
    peak = tracemalloc.get_traced_memory()[1]
    document = {
        "profile": args.profile,
        "digest": chip.digest,
        "layers": args.layers,
        "candidates": len(table),
        "rounds": args.rounds,
        "seed": args.seed,
        "batch_candidates_per_s": round(1 / statistics.median(batch)),
        "scalar_candidates_per_s": round(1 / statistics.median(scalar)),
        "scalar_ms": round(1e3 * statistics.median(scalar), 3),
        "batch_over_scalar": round(statistics.median(scalar) / statistics.median(batch), 1),
        "max_relative_difference": worst,
        "batch_peak_MB": round(peak / 1e6, 1),
        "table_MB": round(sum(x.nbytes for x in vars(table).values()) / 1e6, 1),
    }
    if args.json:
        print(json.dumps(document, indent=2))
        return
    for key, value in document.items():
        print(f"{key:26s} {value}")


if __name__ == "__main__":
    main()
