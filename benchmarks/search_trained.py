"""Samplers on real trainings: the feasible hypervolume that each has after equally many.

    python benchmarks/search_trained.py [--samplers greybox,tpe,nsga2,random] [--seeds 5]
    python benchmarks/search_trained.py --study studies/fashion_mnist.toml --data FOLDER

Runs a study as `nas run` does, with one worker, for every sampler and seed, one after the other.
The hypervolume is that of validation accuracies, scaled as the study says. Medians stand beside
the least and the most. `beside_first`: mean of a sampler's hypervolume less that of the first one's
with the same seed, with its 95 % interval (Student's t over the seeds).
"""

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import optuna

import nas_service
from nas_service.statistics import mean
from nas_service.study.loading import load_spec
from nas_service.study.spec import StudySpec

STUDY = Path(__file__).parents[1] / "studies" / "digits.toml"


def measured(spec: StudySpec, sampler: str, seed: int, data: Path) -> dict[str, float]:
    search = spec.search.model_copy(update={"sampler": sampler})
    own = spec.model_copy(update={"search": search, "seed": seed})
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        found = nas_service.search(own, f"sqlite:///{folder}/nas.db", workers=1, data=data)
        return {
            "hypervolume": found.hypervolume,
            "rejected": found.counts["rejected"],
            "feasible": sum(c.measured and c.feasible for c in found.candidates),
            "trained": found.counts["trained"],
            "seconds": time.perf_counter() - start,
        }


def compare(spec: StudySpec, samplers: list[str], seeds: int, data: Path) -> dict[str, Any]:
    rows: dict[str, list[dict[str, float]]] = {name: [] for name in samplers}
    for seed in range(seeds):
        for name in samplers:
            rows[name].append(measured(spec, name, seed, data))
    return {
        name: {"runs": found, **_beside(found, rows[samplers[0]])} for name, found in rows.items()
    }


def _beside(found: list[dict[str, float]], first: list[dict[str, float]]) -> dict[str, Any]:
    differences = [
        own["hypervolume"] - other["hypervolume"] for own, other in zip(found, first, strict=True)
    ]
    if len(differences) < 2:
        return {}
    interval = mean(differences)
    return {"beside_first": [interval.value, interval.low, interval.high]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--samplers", default="greybox,tpe,nsga2,random")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--trainings", type=int, help="if not the study's")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    spec = load_spec(args.study)
    if args.trainings:
        search = spec.search.model_copy(update={"trainings": args.trainings})
        spec = spec.model_copy(update={"search": search})
    found = compare(spec, args.samplers.split(","), args.seeds, args.data)
    if args.json:
        print(json.dumps({"trainings": spec.search.trainings, "samplers": found}, indent=2))
        return
    print(f"{spec.name}: {spec.search.trainings} trainings, seeds 0 to {args.seeds - 1}")
    print(
        "sampler    hypervolume             beside the first          feasible  rejected  seconds"
    )
    for name, row in found.items():
        print(f"{name:9s}  {_line(row)}")


def _line(row: dict[str, Any]) -> str:
    runs = row["runs"]
    volumes = [run["hypervolume"] for run in runs]
    shown = f"{statistics.median(volumes):.3f} [{min(volumes):.3f} .. {max(volumes):.3f}]"
    value, low, high = row.get("beside_first", (0.0, 0.0, 0.0))
    feasible, rejected, seconds = (
        statistics.mean(run[key] for run in runs) for key in ("feasible", "rejected", "seconds")
    )
    beside = f"{value:+.3f} ({low:+.3f} .. {high:+.3f})"
    return f"{shown:22s}  {beside:22s}  {feasible:8.1f}  {rejected:8.1f}  {seconds:7.0f}"


if __name__ == "__main__":
    main()
