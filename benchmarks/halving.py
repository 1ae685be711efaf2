"""Successive halving against training every candidate in full, for equally many epochs.

    python benchmarks/halving.py [--samplers random,greybox] [--seeds 3] [--candidates 24]
    python benchmarks/halving.py --study STUDY.toml --data FOLDER --epochs 18 --rungs 2,6

Runs a study as `nas run` does, with one worker: by successive halving over `--candidates`, and then
in full over as many as take the epochs that it took, rounded. One after the other for every seed
and sampler, so all meet the same machine. The hypervolume is that of the feasible front on
validation images, in both behind the last epoch. CPU seconds are those of the worker, proposals
included. `difference`: mean hypervolume by halving less that in full with the same seed, with its
95 % interval (Student's t over the seeds).
"""

import argparse
import json
import resource
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import optuna

import nas_service
from nas_service.statistics import mean
from nas_service.study.loading import load_spec, parse_spec
from nas_service.study.spec import StudySpec

STUDY = Path(__file__).parents[1] / "studies" / "digits.toml"
WAYS = ("halving", "in full")


def planned(base: StudySpec, args: argparse.Namespace, sampler: str, seed: int) -> StudySpec:
    """The study by halving."""
    tree = base.model_dump(mode="json") | {"seed": seed}
    tree["data"]["train_samples"] = args.samples or base.data.train_samples
    tree["search"] |= {
        "sampler": sampler,
        "reduction_factor": args.eta,
        "trainings": args.candidates,
    }
    rungs = [int(n) for n in args.rungs.split(",")]
    tree["training"] |= {"epochs": args.epochs, "until": None, "rungs": rungs}
    return parse_spec(json.dumps(tree), "halving")


def in_full(spec: StudySpec, epochs: int) -> StudySpec:
    """The same without halving, over as many candidates as take so many epochs."""
    count = max(1, round(epochs / spec.training.last))
    search = spec.search.model_copy(update={"reduction_factor": None, "trainings": count})
    training = spec.training.model_copy(update={"rungs": ()})
    return spec.model_copy(update={"search": search, "training": training})


def measured(spec: StudySpec, data: Path) -> dict[str, Any]:
    before = _cpu_s()
    with tempfile.TemporaryDirectory() as folder:
        found = nas_service.search(spec, f"sqlite:///{folder}/nas.db", workers=1, data=data)
        return {
            "hypervolume": found.hypervolume if found.front_is_final else 0.0,
            "front": len(found.front),
            "candidates": found.counts["trained"],
            "feasible_in_full": len(found.same_epoch) if found.front_is_final else 0,
            "epochs": found.epochs["trained"],
            "cpu_s": _cpu_s() - before,
        }


def _cpu_s() -> float:
    """CPU seconds of this process and of the children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def compare(base: StudySpec, args: argparse.Namespace) -> dict[str, Any]:
    samplers = args.samplers.split(",")
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {
        name: {way: [] for way in WAYS} for name in samplers
    }
    for seed in range(args.seeds):
        for name in samplers:
            spec = planned(base, args, name, seed)
            halved = measured(spec, args.data)
            whole = measured(in_full(spec, halved["epochs"]), args.data)
            for way, found in zip(WAYS, (halved, whole), strict=True):
                runs[name][way].append(found)
                print(f"seed {seed}, {name}, {way}: {found}", file=sys.stderr)
    return {name: {"runs": each, "difference": _difference(each)} for name, each in runs.items()}


def _difference(runs: dict[str, list[dict[str, Any]]]) -> list[float] | None:
    pairs = zip(*(runs[way] for way in WAYS), strict=True)
    interval = mean([halved["hypervolume"] - whole["hypervolume"] for halved, whole in pairs])
    return None if interval is None else [interval.value, interval.low, interval.high]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--study", type=Path, default=STUDY)
    parser.add_argument("--samplers", default="random,greybox")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--candidates", type=int, default=24, help="begun by halving")
    parser.add_argument("--epochs", type=int, default=9)
    parser.add_argument("--rungs", default="1,3")
    parser.add_argument("--eta", type=int, default=3)
    parser.add_argument("--samples", type=int, help="training images, if not the study's")
    parser.add_argument("--data", type=Path, default=Path("data"))
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    base = load_spec(args.study)
    found = compare(base, args)
    if args.json:
        print(json.dumps({"epochs": args.epochs, "samplers": found}, indent=2))
        return
    print(
        f"{base.name}: {args.epochs} epochs, rungs {args.rungs}, eta {args.eta}; {args.seeds} seeds"
    )
    print("sampler   way      hypervolume           candidates  feasible in full  epochs  CPU s")
    for sampler, row in found.items():
        for way in WAYS:
            print(f"{sampler:9s} {way:8s} {_line(row['runs'][way])}")
        if row["difference"]:
            value, low, high = row["difference"]
            print(f"{sampler:9s} halving less in full: {value:+.3f} ({low:+.3f} .. {high:+.3f})")


def _line(runs: list[dict[str, Any]]) -> str:
    volumes = [run["hypervolume"] for run in runs]
    shown = f"{statistics.median(volumes):.3f} [{min(volumes):.3f} .. {max(volumes):.3f}]"
    names = ("candidates", "feasible_in_full", "epochs", "cpu_s")
    middle = [statistics.median(run[name] for run in runs) for name in names]
    return f"{shown}  {middle[0]:10.0f}  {middle[1]:16.0f}  {middle[2]:6.0f}  {middle[3]:5.0f}"


if __name__ == "__main__":
    main()
