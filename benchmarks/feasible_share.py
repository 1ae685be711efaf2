"""Which share of a study's space keeps its budgets: random candidates, costed and not trained.

python benchmarks/feasible_share.py studies/digits.toml --samples 1000
"""

import argparse
import json
import random
from pathlib import Path

import numpy as np

from nas_service.data import DATASETS
from nas_service.evaluation import profile_of
from nas_service.snn.trace import trace
from nas_service.study import load_spec


class Die:
    """A trial that throws dice."""

    def __init__(self, seed: int) -> None:
        self.throw = random.Random(seed)  # noqa: S311  no secret

    def suggest_categorical(self, name: str, choices: tuple[str, ...]) -> str:
        return self.throw.choice(choices)

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        return self.throw.randrange(low, high + 1, step)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", type=Path)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    spec = load_spec(args.study)
    task, chip, space = DATASETS[spec.data.name].task, profile_of(spec), spec.space.build()
    found = [space.draw(Die(args.seed + i)) for i in range(args.samples)]
    workloads = [trace(a, task, spec.network.votes).at_rate(0) for a in found]
    costs = [chip.estimate(w).metrics() for w in workloads]
    bounds = [c for c in spec.constraints if c.metric in costs[0]]
    kept = {spec.constraint_name(c): [c.violation(x[c.metric]) <= 0 for x in costs] for c in bounds}
    connected = [a.connected for a in found]
    document = {
        "study": spec.name,
        "samples": args.samples,
        "seed": args.seed,
        "connected": float(np.mean(connected)),
        "within": {name: float(np.mean(ok)) for name, ok in kept.items()},
        "feasible": float(np.mean(np.all([connected, *kept.values()], axis=0))),
        "quantiles_10_50_90": {
            c.metric: np.quantile([x[c.metric] for x in costs], [0.1, 0.5, 0.9]).round(4).tolist()
            for c in bounds
        },
    }
    if args.json:
        print(json.dumps(document, indent=2))
        return
    for key, value in document.items():
        print(f"{key:20s} {value}")


if __name__ == "__main__":
    main()
