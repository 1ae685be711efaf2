"""Samplers in a space that nobody can enumerate, 1 % of it within the budgets.

    python benchmarks/search_large.py [--samplers greybox,tpe] [--seeds 10] [--budget 1000]
    python benchmarks/search_large.py --feasible 0.03 --objectives score
    python benchmarks/search_large.py --asks 200,2000 [--table CSV --firing CSV]

Two cells of their own, five sizes, and two settings of the chip. Budgets on parameters, area,
latency and energy are the same quantile of each over draws with a path, such that the share asked
for keeps all four; how many do is counted in other draws. Samplers maximise a training-free score
of the digits, and minimise energy unless `--objectives score` says otherwise; costs are those at
the assumed spike rate, exact before a candidate is scored. The score, Hamming kernels of spikes
weighted by their sparsity (`sahd_n`), is not what `greybox` begins with: how it ranks beside that,
the depth of the cells and their width, is printed.

Each sampler is the project's own, asked through one Optuna study that is told what a worker tells:
of a candidate over budget its costs and violations, of another one its score too. Every proposal
counts, also one over budget, without a path, or known. Hypervolume: of what keeps the budgets,
between the reference and the ideal of the score, and between the budget and no energy at all.

`--asks` measures CPU seconds of a proposal of `greybox` behind so many scored candidates of this
space, and of the table that benchmarks/search_table.py reads; and of one that learns its
covariances anew, as one of many does.
"""

import argparse
import itertools
import json
import math
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import optuna
import search_table
import torch
from numpy.typing import NDArray
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas_service.data.batches import batch
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.screening import Budgets
from nas_service.metrics import WORST_PROXY
from nas_service.samplers import sampler_of
from nas_service.samplers.greybox.pareto import hypervolume
from nas_service.samplers.greybox_cells import CellProblem
from nas_service.searches.optuna_trial import TRAINABLE
from nas_service.snn.proxies.scoring import score
from nas_service.snn.workload_cache import WorkloadCache
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.batch import CandidateBatch, sample_batch
from nas_service.statistics import spearman
from nas_service.study.loading import parse_spec
from nas_service.study.spec import StudySpec

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
BOUNDED = ("parameters", "area_mm2", "latency_ms", "energy_uJ")
PROXY = "sahd_n"
SCALE = {"reference": 60.0, "ideal": 90.0}  # of the score, for the hypervolume
SPACE = {
    "operations": "snasnet5",
    "channels": [4, 8, 12, 16, 20, 24],
    "head_pool": [1, 2, 4],
    "hidden": [16, 32, 64, 96, 128],
    "time_steps": [2, 3, 4, 5],
    "weight_bits": [4, 5, 6, 7, 8],
}
CHIP = {"crossbar_size": [32, 64, 128, 256], "adc_bits": [4, 5, 6, 7, 8]}
IMAGES = 32  # that the score looks at
RANKED = 200  # feasible draws whose scores are compared with what is known of them
ASKS = 5  # proposals that are timed


@dataclass(frozen=True, eq=False)
class Question:
    """What all samplers are asked, and every score that was computed on the way."""

    feasible: float  # share of the space that keeps the budgets
    objectives: tuple[str, ...]
    draws: int  # that the budgets come from, and as many that are counted
    _scores: dict[str, float] = field(default_factory=dict, repr=False)

    def study(self, sampler: str, seed: int) -> StudySpec:
        return self._study(sampler, seed, self.budgets)

    def _study(self, sampler: str, seed: int, budgets: dict[str, float]) -> StudySpec:
        energy = {"metric": "energy_uJ", "reference": budgets.get("energy_uJ", 1.0)}
        known = {
            "score": {"metric": f"proxy_{PROXY}", "direction": "maximize", **SCALE},
            "energy": {**energy, "direction": "minimize"},
        }
        tree = {
            "name": "large",
            "seed": seed,
            "space": SPACE,
            "data": {"name": "digits"},
            "training": {"epochs": 0},
            "proxies": {"names": [PROXY], "samples": IMAGES},
            "hardware": {"assumed_rate": 0.05, "search_space": CHIP},
            "search": {"sampler": sampler},
            "objectives": [known[name] for name in self.objectives],
            "constraints": [{"metric": m, "at_most": most} for m, most in budgets.items()],
        }
        return parse_spec(json.dumps(tree), "search_large.py")

    # --- the space

    @cached_property
    def _free(self) -> StudySpec:
        """The study without budgets."""
        return self._study("random", 0, {})

    @cached_property
    def _unbounded(self) -> Budgets:
        return Budgets.of(self._free)

    @property
    def _workload_cache(self) -> WorkloadCache:
        return self._unbounded.workloads

    @cached_property
    def box(self) -> CellProblem:
        return CellProblem(self.study("random", 0))

    def _draws(self, seed: int) -> tuple[CandidateBatch, dict[str, Floats], Flags]:
        """Draws, their costs, and which of them have a path."""
        drawn = sample_batch(self._workload_cache.space, self.draws, seed)
        costed = self._unbounded.costed(drawn)
        return drawn, costed.metrics, costed.connected

    @cached_property
    def budgets(self) -> dict[str, float]:
        """The same quantile of each metric that is bounded, by bisection."""
        _, costs, path = self._draws(seed=0)
        low, high = 0.0, 1.0
        for _ in range(30):
            middle = (low + high) / 2
            enough = _within(costs, path, _quantiles(costs, path, middle)).mean() >= self.feasible
            low, high = (low, middle) if enough else (middle, high)
        return _quantiles(costs, path, high)

    def feasible_draws(self, seed: int) -> list[Architecture]:
        """Those of so many draws that keep the budgets."""
        drawn, costs, path = self._draws(seed)
        rows = np.flatnonzero(_within(costs, path, self.budgets)).tolist()
        return [drawn.architecture(self._workload_cache.space, n) for n in rows]

    def facts(self) -> dict[str, Any]:
        """Size of the space, the share within the budgets, and what its scores go along with."""
        found = self.feasible_draws(seed=1)
        part = self.box.columns([self._workload_cache.space.parameters(a) for a in found[:RANKED]])
        scores = [self.score(a) for a in found[:RANKED]]
        known = {
            "depth_and_width": self.box.describe(part).score,
            "energy_uJ": self.box.costs(part)["energy_uJ"],
        }
        ranks = {name: spearman(values.tolist(), scores) for name, values in known.items()}
        return {
            "candidates": self._workload_cache.space.size,
            "budgets": self.budgets,
            "feasible": list(wilson(len(found), self.draws)),
            "ranked": len(scores),
            "dead": float(np.mean(np.array(scores) <= WORST_PROXY)),
            "rank_correlation": {n: [r.value, r.low, r.high] for n, r in ranks.items() if r},
        }

    # --- one candidate

    @cached_property
    def _bench(self) -> Evaluator:
        return Evaluator.open(self._free, Path())

    def score(self, architecture: Architecture) -> float:
        """Of the network, whatever its chip; its first weights follow from its digest."""
        network = replace(architecture, chip=())
        if network.digest not in self._scores:
            torch.manual_seed(int(network.digest[:12], 16))
            images, _ = batch(self._bench.images.data.train, slice(IMAGES))
            self._scores[network.digest] = score(PROXY, self._bench.network(network), images).value
        return self._scores[network.digest]


def _quantiles(costs: dict[str, Floats], path: Flags, q: float) -> dict[str, float]:
    return {name: float(np.quantile(costs[name][path], q)) for name in BOUNDED}


def _within(costs: dict[str, Floats], path: Flags, budgets: dict[str, float]) -> Flags:
    kept = [costs[name] <= most for name, most in budgets.items()]
    return np.asarray(np.all([path, *kept], axis=0))


def wilson(hits: int, count: int) -> tuple[float, float, float]:
    """A share and its 95 % interval (Wilson, 1927)."""
    z, share = 1.96, hits / count
    middle, scale = share + z * z / (2 * count), 1 + z * z / count
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count**2))
    return share, (middle - half) / scale, (middle + half) / scale


# --- one search ----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Visit:
    """A proposal that was evaluated."""

    digest: str
    feasible: bool
    point: tuple[float, ...]  # objectives: 0 at the ideal, 1 at the reference
    seconds: float  # CPU, of the proposal


@dataclass(frozen=True)
class Told:
    """What a worker tells of a candidate."""

    outcome: str
    values: dict[str, float]  # by metric
    constraints: dict[str, float]

    @property
    def feasible(self) -> bool:
        return all(v <= 0 for v in self.constraints.values())


def told(question: Question, spec: StudySpec, params: dict[str, Any], known: set[str]) -> Told:
    """A candidate over budget or without a path is not scored."""
    costs = {
        name: float(v[0]) for name, v in question.box.costs(question.box.columns([params])).items()
    }
    over = spec.known_violations(costs)
    breaks = any(v > 0 for v in over.values())
    architecture = question.box.architecture(params)
    scored = architecture.connected and not breaks
    value = question.score(architecture) if scored else WORST_PROXY
    outcome = "cached" if architecture.digest in known else "scored" if scored else "rejected"
    known.add(architecture.digest)
    values = {name: costs[name] for name in BOUNDED} | {f"proxy_{PROXY}": value}
    return Told(outcome, values, {**over, TRAINABLE: -1.0 if scored or breaks else 1.0})


def search(question: Question, name: str, seed: int, budget: int) -> Iterator[Visit]:
    spec = question.study(name, seed)
    directions = [o.direction for o in spec.objectives]
    study = optuna.create_study(directions=directions, sampler=sampler_of(spec))
    known: set[str] = set()
    for _ in range(budget):
        start = time.process_time()
        trial = study.ask(question.box.distributions)
        seconds = time.process_time() - start
        found = told(question, spec, trial.params, known)
        digest = question.box.key(trial.params)
        for key, value in {"outcome": found.outcome, "digest": digest, **found.values}.items():
            trial.set_user_attr(key, value)
        for key, violation in found.constraints.items():
            trial.set_constraint(key, violation)
        study.tell(trial, [found.values[o.metric] for o in spec.objectives])
        yield Visit(digest, found.feasible, _point(spec, found.values), seconds)


def _point(spec: StudySpec, values: dict[str, float]) -> tuple[float, ...]:
    return tuple(
        (values[o.metric] - spec.ideal(o)) / (spec.reference(o) - spec.ideal(o))
        for o in spec.objectives
    )


# --- figures -------------------------------------------------------------------------------------


def quartiles(values: Sequence[float]) -> list[float]:
    return [float(q) for q in np.quantile(values, (0.5, 0.25, 0.75))]


def volume(visits: Sequence[Visit]) -> float:
    points = [v.point for v in visits if v.feasible]
    return hypervolume(np.array(points)) if points else 0.0


def first_feasible(visits: Sequence[Visit]) -> int:
    """Proposals until one keeps the budgets; one more than there are where none does."""
    return next((n for n, v in enumerate(visits, 1) if v.feasible), len(visits) + 1)


def share(visits: Sequence[Visit]) -> float:
    return float(np.mean([v.feasible for v in visits]))


def figures(runs: list[list[Visit]], marks: Sequence[int]) -> dict[str, Any]:
    last = -(-len(runs[0]) // 3)
    return {
        "hypervolume": {str(m): quartiles([volume(run[:m]) for run in runs]) for m in marks},
        "first_feasible": quartiles([first_feasible(run) for run in runs]),
        "feasible_share": quartiles([share(run) for run in runs]),
        "feasible_share_last_third": quartiles([share(run[-last:]) for run in runs]),
        "unique_share": float(np.mean([len({v.digest for v in r}) / len(r) for r in runs])),
        "seconds_per_ask": float(np.median([v.seconds for run in runs for v in run])),
        "seconds_per_last_ask": float(np.median([v.seconds for run in runs for v in run[-10:]])),
    }


def show(name: str, row: dict[str, Any]) -> None:
    for mark, (median, low, high) in row["hypervolume"].items():
        print(f"{name:8s} hypervolume {mark:>5s}  {median:.4f} [{low:.4f} .. {high:.4f}]")
    for key in ("first_feasible", "feasible_share", "feasible_share_last_third"):
        median, low, high = row[key]
        print(f"{name:8s} {key:25s} {median:.4g} [{low:.4g} .. {high:.4g}]")
    seconds = row["seconds_per_ask"], row["seconds_per_last_ask"]
    print(
        f"{name:8s} unique {row['unique_share']:.3f}, CPU s per ask {seconds[0]:.4f},"
        f" of the last ten {seconds[1]:.4f}",
        flush=True,
    )


def show_space(facts: dict[str, Any]) -> None:
    value, low, high = (100 * x for x in facts["feasible"])
    print(f"{facts['candidates']:.3g} candidates, {value:.2f} % [{low:.2f} .. {high:.2f}] within")
    print(", ".join(f"{name} <= {most:.4g}" for name, most in facts["budgets"].items()))
    for name, (value, low, high) in facts["rank_correlation"].items():
        print(f"the score's rank correlation with {name}: {value:.2f} [{low:.2f} .. {high:.2f}]")
    print(f"{100 * facts['dead']:.1f} % of what keeps the budgets never fires", flush=True)


# --- seconds of a proposal -----------------------------------------------------------------------


def scored(question: Question, spec: StudySpec, count: int) -> list[FrozenTrial]:
    """Candidates within the budgets by chance, as trials."""
    found: list[Architecture] = []
    for seed in itertools.count(2):
        if len(found) >= count:
            break
        found += question.feasible_draws(seed)
    trials = []
    for architecture in found[:count]:
        params = question.box.space.parameters(architecture)
        known = told(question, spec, params, set())
        trials.append(
            create_trial(
                params=params,
                distributions=question.box.distributions,
                values=[known.values[o.metric] for o in spec.objectives],
                user_attrs={"outcome": known.outcome, **known.values},
            )
        )
    return trials


def rows_of(table: search_table.Table, count: int) -> list[FrozenTrial]:
    """Rows of a table by chance, as trials."""
    trials = []
    for row in np.random.default_rng(0).choice(len(table), count, replace=False).tolist():
        energy = float(table.energy[row])
        trials.append(
            create_trial(
                params=dict(zip(search_table.NAMES, table.codes[row].tolist(), strict=True)),
                distributions=search_table.SPACE,
                values=[float(table.validation[row]), float(table.crossbars[row]), energy],
                user_attrs={"energy": energy},
            )
        )
    return trials


def asked(
    sampler: BaseSampler, directions: Sequence[str], trials: list[FrozenTrial]
) -> dict[str, Any]:
    """CPU seconds of proposals behind trials, and of one behind a tenth of them more than any
    before, which has to learn anew."""
    study = optuna.create_study(directions=directions, sampler=sampler)
    study.add_trials(trials[: -max(1, len(trials) // 10)])
    _ask(study, trials[0].distributions)
    study.add_trials(trials[-max(1, len(trials) // 10) :])
    first, *others = (_ask(study, trials[0].distributions) for _ in range(1 + ASKS))
    return {"seconds": quartiles(others), "learning": first}


def _ask(study: optuna.Study, space: dict[str, Any]) -> float:
    start = time.process_time()
    trial = study.ask(space)
    seconds = time.process_time() - start
    study.tell(trial, state=TrialState.FAIL)
    return seconds


def asks(question: Question, counts: Sequence[int], table: search_table.Table | None) -> Any:
    """Seconds of `greybox` by the space and the number of trials."""
    spec = question.study("greybox", 0)
    ways = [o.direction for o in spec.objectives]
    found = {
        "large": {str(n): asked(sampler_of(spec), ways, scored(question, spec, n)) for n in counts}
    }
    if table is not None:
        ways = ["maximize", "minimize", "minimize"]
        found["table"] = {
            str(n): asked(search_table.greybox(table, None, 0), ways, rows_of(table, n))
            for n in counts
        }
    return found


def show_asks(asks: dict[str, dict[str, Any]]) -> None:
    for where, row in asks.items():
        for count, seconds in row.items():
            median, low, high = seconds["seconds"]
            shown = f"{median:.3f} [{low:.3f} .. {high:.3f}] CPU s per proposal"
            print(f"{where} {count:>5s} scored: {shown}, learning anew {seconds['learning']:.3f}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--samplers", default="random,tpe,nsga2,greybox")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=1000, help="proposals of each sampler")
    parser.add_argument("--at", default="50,200,1000", help="proposals, up to the budget")
    parser.add_argument("--feasible", type=float, default=0.01, help="share within the budgets")
    parser.add_argument("--objectives", default="score,energy", choices=("score", "score,energy"))
    parser.add_argument("--draws", type=int, default=20_000, help="that say what keeps budgets")
    parser.add_argument("--asks", help="scored candidates behind which proposals are timed")
    parser.add_argument("--table", type=Path, help="of search_table.py, with --asks and --firing")
    parser.add_argument("--firing", type=Path)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    question = Question(args.feasible, tuple(args.objectives.split(",")), args.draws)
    found: dict[str, Any] = {"space": question.facts()}
    if not args.json:
        show_space(found["space"])
    if args.asks:
        counts = [int(n) for n in args.asks.split(",")]
        table = search_table.Table.read(args.table, args.firing) if args.table else None
        found["asks"] = asks(question, counts, table)
        if not args.json:
            show_asks(found["asks"])
    else:
        marks = [m for m in map(int, args.at.split(",")) if m <= args.budget] or [args.budget]
        for name in args.samplers.split(","):
            seeds = range(args.first_seed, args.first_seed + args.seeds)
            runs = [list(search(question, name, seed, args.budget)) for seed in seeds]
            found[name] = figures(runs, marks)
            if not args.json:
                show(name, found[name])
    if args.json:
        print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
