"""Ways to search, side by side: by equal epochs, by equal trainings, by equal quality.

    python benchmarks/compare_search.py halving [--samplers random,greybox] [--candidates 24]
    python benchmarks/compare_search.py trained [--samplers greybox,tpe,nsga2,random] [--seeds 5]
    python benchmarks/compare_search.py scored [--samples 500] [--seeds 5] [--budget 0.4]

`halving`: successive halving over `--candidates`, and all in full over as many candidates as take
the same epochs. `trained`: the feasible hypervolume of each sampler after equally many trainings.
Both run studies as `nas run` does, with one worker, one after the other for every seed and sampler;
the hypervolume is that of the feasible front on validation images after the last epoch.

`scored`: search cost to equal quality, as the papers count it: without training, by SNASNet's score
(SAHD, alpha 0.5, 64 images), two separate cells of `snasnet5` at one size, under budgets on
parameters, area, latency and energy, each a share of the way from the least to the most that
candidates cost. `snasnet` scores `--samples` random candidates; its best one within the budgets is
the quality to reach. The others run until they reach it, or for as many scorings. CPU seconds of
one process: proposing, costing and scoring.

Medians are printed with least and most; differences are paired by seed, with a 95 % interval.
"""

import argparse
import json
import operator
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import harness
import numpy as np
import optuna
import torch

import nas_service
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.screening import Budgets
from nas_service.metrics import Evaluation
from nas_service.samplers import derived_seed, sampler_of
from nas_service.searches.optuna_trial import report_by_number
from nas_service.searches.results import Result
from nas_service.spaces.batch import sample_batch
from nas_service.study.loading import load_spec, parse_spec
from nas_service.study.spec import StudySpec

STUDY = Path(__file__).parent / "studies" / "digits.toml"
WAYS = ("halving", "in full")
RANDOM = 5000  # candidates that say what is cheap and what is expensive
BOUNDED = ("parameters", "area_mm2", "latency_ms", "energy_uJ")
OTHERS = ("spikenas", "neuronas", "greybox")
DIGITS = {"channels": 8, "head_pool": 2, "hidden": 32, "time_steps": 3, "weight_bits": 8}
PICTURES = {"channels": 16, "head_pool": 4, "hidden": 128, "time_steps": 5, "weight_bits": 8}


def searched(spec: StudySpec, data: Path) -> tuple[Result, dict[str, float]]:
    """A complete search in a new store, with one worker.

    Returns:
        Its result, and the seconds it took: `seconds` of wall clock, `cpu_s` of its processes.
    """
    start, before = time.perf_counter(), _cpu_s()
    with tempfile.TemporaryDirectory() as folder:
        result = nas_service.search(spec, f"sqlite:///{folder}/nas.db", workers=1, data=data)
        spent = {"seconds": time.perf_counter() - start, "cpu_s": _cpu_s() - before}
        _ = result.front, result.epochs, result.same_epoch  # read while the store is there
        return result, spent


def _cpu_s() -> float:
    """CPU seconds of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def changed(spec: StudySpec, **search: Any) -> StudySpec:
    """The study with other values of `[search]`."""
    return spec.model_copy(update={"search": spec.search.model_copy(update=search)})


# --- successive halving against full trainings


def by_halving(base: StudySpec, args: argparse.Namespace, sampler: str, seed: int) -> StudySpec:
    """The study with successive halving over `--candidates`."""
    tree = base.model_dump(mode="json") | {"seed": seed}
    tree["data"]["train_samples"] = args.samples or base.data.train_samples
    limits = {"reduction_factor": args.eta, "trainings": args.candidates}
    tree["search"] |= {"sampler": sampler, **limits}
    tree["training"] |= {"epochs": args.epochs, "until": None, "rungs": args.rungs}
    return parse_spec(json.dumps(tree), "halving")


def in_full(spec: StudySpec, epochs: float) -> StudySpec:
    """The same without halving, over as many candidates as take that many epochs."""
    count = max(1, round(epochs / spec.training.last))
    training = spec.training.model_copy(update={"rungs": ()})
    full = changed(spec, reduction_factor=None, trainings=count)
    return full.model_copy(update={"training": training})


def halving_run(spec: StudySpec, data: Path) -> dict[str, Any]:
    """Figures of one search: hypervolume, counts, epochs and CPU seconds."""
    result, spent = searched(spec, data)
    final = result.front_is_final
    return {
        "hypervolume": result.hypervolume if final else 0.0,
        "front": len(result.front),
        "candidates": result.counts["trained"],
        "feasible_in_full": len(result.same_epoch) if final else 0,
        "epochs": result.epochs["trained"],
        "cpu_s": spent["cpu_s"],
    }


def compare_halving(args: argparse.Namespace) -> dict[str, Any]:
    """Runs of every sampler and seed both ways, and their paired difference."""
    base, names = load_spec(args.study), args.samplers.split(",")
    runs: dict[str, Any] = {name: {way: [] for way in WAYS} for name in names}
    for seed in range(args.seeds):
        for name in names:
            spec = by_halving(base, args, name, seed)
            halved = halving_run(spec, args.data)
            full = halving_run(in_full(spec, halved["epochs"]), args.data)
            for way, figures in zip(WAYS, (halved, full), strict=True):
                runs[name][way].append(figures)
                print(f"seed {seed}, {name}, {way}: {figures}", file=sys.stderr)
    rows = {name: {"runs": each, "difference": _halving_gain(each)} for name, each in runs.items()}
    return {"epochs": args.epochs, "samplers": rows}


def _halving_gain(runs: dict[str, list[dict[str, Any]]]) -> list[float] | None:
    volumes = [[run["hypervolume"] for run in runs[way]] for way in WAYS]
    return harness.difference(*volumes)


def show_halving(document: dict[str, Any]) -> list[str]:
    names = ("hypervolume", "candidates", "feasible_in_full", "epochs", "cpu_s")
    rows = []
    for sampler, row in document["samplers"].items():
        for way in WAYS:
            runs = row["runs"][way]
            cells = [harness.median((r[n] for r in runs), 3 if n == names[0] else 0) for n in names]
            rows.append([f"{sampler}, {way}", *cells])
        rows.append([f"{sampler}, difference", harness.interval(row["difference"]), *[""] * 4])
    return harness.table(["", *names], rows)


# --- samplers by equal trainings


def trained_run(spec: StudySpec, data: Path) -> dict[str, float]:
    """Figures of one search: hypervolume, counts and seconds."""
    result, spent = searched(spec, data)
    return {
        "hypervolume": result.hypervolume,
        "rejected": result.counts["rejected"],
        "feasible": sum(c.measured and c.feasible for c in result.candidates),
        "trained": result.counts["trained"],
        "seconds": spent["seconds"],
    }


def compare_trained(args: argparse.Namespace) -> dict[str, Any]:
    """Runs of every sampler and seed; `beside_first` is paired with the first sampler's."""
    spec, names = load_spec(args.study), args.samplers.split(",")
    spec = changed(spec, trainings=args.trainings or spec.search.trainings)
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in names}
    for seed in range(args.seeds):
        for name in names:
            own = changed(spec, sampler=name).model_copy(update={"seed": seed})
            runs[name].append(trained_run(own, args.data))
    volumes = {name: [run["hypervolume"] for run in each] for name, each in runs.items()}
    rows = {
        name: {"runs": each, "beside_first": harness.difference(volumes[name], volumes[names[0]])}
        for name, each in runs.items()
    }
    return {"trainings": spec.search.trainings, "samplers": rows}


def show_trained(document: dict[str, Any]) -> list[str]:
    names = ("feasible", "rejected", "seconds")
    rows = []
    for sampler, row in document["samplers"].items():
        volumes = harness.median(run["hypervolume"] for run in row["runs"])
        means = [f"{sum(run[n] for run in row['runs']) / len(row['runs']):.1f}" for n in names]
        rows.append([sampler, volumes, harness.interval(row["beside_first"]), *means])
    title = f"{document['trainings']} trainings each"
    return [title, *harness.table(["", "hypervolume", "beside the first", *names], rows)]


# --- samplers by equal quality, training-free


@dataclass(frozen=True, eq=False)
class Question:
    """The study that all samplers search."""

    samples: int
    share: float  # of the way from the least to the most that candidates cost
    pictures: Path | None  # an archive of 32x32 pictures in ten classes; None: the digits

    @property
    def folder(self) -> Path:
        return Path() if self.pictures is None else self.pictures.parent

    @property
    def data(self) -> dict[str, Any]:
        if self.pictures is None:
            return {"name": "digits"}
        shape = {"size": 32, "classes": 10, "train_samples": 64, "validation_samples": 64}
        return {"name": "image_folder", "archive": self.pictures.name, **shape}

    def study(self, sampler: str, seed: int, budgets: dict[str, float]) -> StudySpec:
        sizes = DIGITS if self.pictures is None else PICTURES
        score = {"metric": "proxy_sahd", "direction": "maximize", "reference": 0, "ideal": 1000}
        tree = {
            "name": sampler,
            "seed": seed,
            "space": {"operations": "snasnet5", **sizes},
            "data": self.data,
            "training": {"epochs": 0},
            "proxies": {"names": ["sahd"], "samples": 64},
            "hardware": {"assumed_rate": 0.05},
            "search": {"sampler": sampler, "trainings": self.samples},
            "objectives": [score],
            "constraints": [{"metric": m, "at_most": most} for m, most in budgets.items()],
        }
        return parse_spec(json.dumps(tree), "scored")

    @cached_property
    def _drawn(self) -> tuple[dict[str, Any], Any]:
        """Costs of random candidates, and which of them have a path."""
        budgets = Budgets.of(self.study("snasnet", 0, {}))
        costed = budgets.costed(sample_batch(budgets.workloads.space, RANDOM, seed=0))
        return costed.metrics, costed.connected

    @cached_property
    def budgets(self) -> dict[str, float]:
        """Of each metric, a share of the way from the least to the most of random candidates."""
        costs, path = self._drawn
        ends = {m: (costs[m][path].min(), costs[m][path].max()) for m in BOUNDED}
        return {m: float(low + self.share * (high - low)) for m, (low, high) in ends.items()}

    @property
    def feasible_share(self) -> float:
        costs, path = self._drawn
        kept = [path, *(costs[m] <= most for m, most in self.budgets.items())]
        return float(np.mean(np.all(kept, axis=0)))

    def search(
        self, name: str, seed: int, enough: Callable[[float], bool]
    ) -> list[tuple[float, float]]:
        """(CPU seconds, best score within the budgets) after every scoring, until it is enough.

        SNASNet scores all that it draws; the others nothing that breaks a budget.
        """
        spec = self.study(name, seed, self.budgets)
        evaluator = Evaluator.open(spec, self.folder)
        progress: list[tuple[float, float]] = []
        best, start = -np.inf, time.process_time()
        run = optuna.create_study(direction="maximize", sampler=sampler_of(spec))
        scored: dict[str, Evaluation] = {}
        while len(progress) < self.samples and not enough(best):
            trial = run.ask()
            architecture = spec.build_space().draw(trial)
            digest, outcome = architecture.digest, "cached"
            if digest not in scored or name == "snasnet":
                screened = evaluator.screen(architecture, derived_seed(seed, trial.number))
                pays = not screened.rejected or (name == "snasnet" and architecture.connected)
                scored[digest] = evaluator.train(screened) if pays else screened
                outcome = scored[digest].outcome
                if pays:
                    score = scored[digest].proxies["sahd"]
                    best = best if screened.rejected else max(best, score)
                    progress.append((time.process_time() - start, best))
            report_by_number(run, spec, trial.number, scored[digest], outcome)
        return progress


def compare_scored(args: argparse.Namespace) -> dict[str, Any]:
    """Every sampler's cost to the quality that `snasnet` reached with the same seed."""
    torch.set_num_threads(1)
    question = Question(args.samples, args.budget, args.pictures)
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in OTHERS}
    for seed in range(args.seeds):
        random = question.search("snasnet", seed, lambda best: False)
        all_s, quality = random[-1]
        first = next(spent for spent, best in random if best == quality)
        for name in OTHERS:
            own = question.search(name, seed, partial(operator.le, quality))
            figures = {"reached": own[-1][1] >= quality, "scorings": len(own), "cpu_s": own[-1][0]}
            ratios = {"all_samples": all_s / own[-1][0], "its_best": first / own[-1][0]}
            faster = {f"faster_than_{key}": ratio for key, ratio in ratios.items()}
            rows[name].append({**figures, **faster, "snasnet_cpu_s": all_s})
    share = question.feasible_share
    return {"budgets": question.budgets, "feasible_share": share, "runs": rows}


def show_scored(document: dict[str, Any]) -> list[str]:
    names = ("scorings", "cpu_s", "faster_than_all_samples", "faster_than_its_best")
    rows = []
    for sampler, runs in document["runs"].items():
        reached = f"{sum(run['reached'] for run in runs)} / {len(runs)}"
        rows.append([sampler, reached, *(harness.median((r[n] for r in runs), 1) for n in names)])
    title = f"{100 * document['feasible_share']:.1f} % of the space is within the budgets"
    return [title, *harness.table(["", "reached", *names], rows)]


KINDS: dict[str, Any] = {
    "halving": (compare_halving, show_halving),
    "trained": (compare_trained, show_trained),
    "scored": (compare_scored, show_scored),
}
"""What compares, and what prints the comparison for people."""


def main(argv: Sequence[str] | None = None) -> None:
    args = options().parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    compare, lines = KINDS[args.kind]
    document = compare(args)
    harness.show(document, args.json, lambda: lines(document))


def options() -> argparse.ArgumentParser:
    """The options of each kind of comparison."""
    all_kinds = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    kinds = all_kinds.add_subparsers(dest="kind", required=True)
    halving, trained, scored = map(kinds.add_parser, KINDS)
    for kind in (halving, trained, scored):
        harness.add_json(kind)
        kind.add_argument("--seeds", type=int, default=3 if kind is halving else 5)
    for kind, samplers in ((halving, "random,greybox"), (trained, "greybox,tpe,nsga2,random")):
        kind.add_argument("--study", type=Path, default=STUDY)
        kind.add_argument("--samplers", default=samplers)
        kind.add_argument("--data", type=Path, default=Path("data"))
    halving.add_argument("--candidates", type=int, default=24, help="begun by halving")
    halving.add_argument("--epochs", type=int, default=9)
    halving.add_argument("--rungs", type=harness.numbers, default=(1, 3))
    halving.add_argument("--eta", type=int, default=3)
    halving.add_argument("--samples", type=int, help="training images, if not the study's")
    trained.add_argument("--trainings", type=int, help="if not the study's")
    scored.add_argument("--samples", type=int, default=500, help="scorings of snasnet")
    scored.add_argument("--budget", type=float, default=0.4, help="share of the way, least to most")
    scored.add_argument("--pictures", type=Path, help="archive of 32x32 pictures, ten classes")
    return all_kinds


if __name__ == "__main__":
    main()
