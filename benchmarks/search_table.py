"""Samplers on a table of trained spiking cells: how soon each finds what the table holds.

    python benchmarks/search_table.py --table spikenas_bench_cifar10.csv \
        --firing spikenas_bench_cifar10_firing.csv --seeds 20 --budget 200
    python benchmarks/search_table.py ... --target "accuracy>=88.0,crossbars<=868,energy<=0.09"

The table is SpikeNAS-Bench's CIFAR-10 part (IEEE TAI 2025, repository tju-sun-lab/SpikeNAS-Bench)
as two CSV files: 15 625 cells with parameters, validation accuracy at epochs 10 .. last, test
accuracy, epochs and training seconds; and 16 firing rates of each. Cells without a path are left
out.

Of these networks 690 were trained for 200 epochs, the others for 100. That is known before a
training, so `greybox` and `oracle` are told it; with `--epochs untold` they are not, and with
`--epochs dropped` the 690 are left out.

A layer of k x k takes ceil(C_in k^2 / 64) x ceil(2 C_out / 64) crossbars; a network with n
convolutions on edges 360 n + 148. Energy is the sum of firing rate x multiplications over edges
and the reduction, in 1e9. Crossbars are known before a training, energy and accuracy after it.

Without a target: hypervolume of the front over (100 - accuracy, crossbars, energy), each scaled
from its best to the reference (20, 1.05 of the most), chosen by validation accuracy and valued by
test accuracy, over that of the true front by test accuracy. With targets: evaluations until the
first network whose test values meet it; samplers maximise the validation accuracy under the
target's budgets and never see a test accuracy, nor the accuracy that is asked.

`--samplers oracle` shows how far a perfect model of accuracy and energy would come.

A row is one training. Many rows are one function (unique_share counts functions): training one
again is another chance with its network. `--known canonical` lets no function be trained twice.
"""

import argparse
import csv
import json
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from nas_service.samplers.cell_features import PER_DOUBLING, Paths, live_codes, promise
from nas_service.samplers.greybox.acquisition import expected_below, expected_hypervolume_gain
from nas_service.samplers.greybox.candidate_pool import Description, DomainKnowledge
from nas_service.samplers.greybox.pareto import hypervolume, nondominated
from nas_service.samplers.greybox.problem import Bound, Objective
from nas_service.samplers.greybox.sampler import GreyBoxSampler
from nas_service.spaces.cell import EDGE_NAMES, EDGES, Cell
from nas_service.spaces.operations import PRESETS

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
STATES = PRESETS["bench-threshold"]
MULTIPLICATIONS = {
    "c1": 128 * 128 * 9 * 1024,
    "c2": 256 * 256 * 9 * 256,
    "down": 128 * 256 * 9 * 1024,
}
RATES = np.array([0.0, 0.0, 1 / 0.5, 1 / 1.0, 1 / 1.5])  # of the states, were they 1 / threshold
VALIDATION_IMAGES = 25_000  # of the table
REFERENCE_ACCURACY = 80.0
TRAINING = 0.42  # deviation of the validation accuracy between trainings of one function
TARGETS = {
    "E": "accuracy>=88.0,crossbars<=868,energy<=0.09",
    "H": "accuracy>=88.3,crossbars<=868,energy<=0.09",
    "M": "accuracy>=88.5,crossbars<=1228,energy<=0.09",
}
EPOCHS = ("told", "untold", "dropped")  # dropped: networks of more than the fewest
REDRAWS = 300  # of a sampler that proposes what it knows; then a die decides


@dataclass(frozen=True, eq=False)
class Table:
    """Trained cells with a path, R rows."""

    codes: Ints  # [R, 6]
    validation: Floats  # [R] accuracy, per cent
    test: Floats
    crossbars: Floats
    energy: Floats  # 1e9 operations
    seconds: Floats
    functions: Ints  # [R] equal for cells of one canonical form
    doublings: Floats  # [R] of the epochs, over the fewest; 0 where these are not told

    @classmethod
    def read(cls, table: Path, firing: Path, epochs: str = "told") -> "Table":
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        with firing.open(newline="") as file:
            rates = list(csv.DictReader(file))
        cells = [Cell(tuple(STATES[int(r[f"e{e}"])] for e in EDGE_NAMES)) for r in rows]
        if epochs != "untold" and "n_epochs" not in rows[0]:
            raise SystemExit(f"{table}: no column n_epochs; --epochs untold does without")
        longer = np.zeros(len(rows)) if epochs == "untold" else _doublings(rows)
        wanted = longer == 0 if epochs == "dropped" else np.full(len(rows), True)
        kept = [n for n, cell in enumerate(cells) if cell.connected and wanted[n]]
        functions = np.unique([cells[n].canonical() for n in kept], return_inverse=True)[1]
        codes = np.array([[int(rows[n][f"e{e}"]) for e in EDGE_NAMES] for n in kept])

        def column(name: str) -> Floats:
            return np.array([float(rows[n][name]) for n in kept])

        return cls(
            codes.astype(np.intp),
            column("val_last"),
            column("test"),
            360.0 * (codes >= 2).sum(1) + 148,
            np.array([_energy(rates[n]) for n in kept]),
            column("train_s"),
            functions.reshape(-1),
            longer[kept],
        )

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def places(self) -> dict[tuple[int, ...], int]:
        return {tuple(codes): n for n, codes in enumerate(self.codes.tolist())}

    def longer(self, codes: Ints) -> Floats:
        """Doublings of the epochs of cells [N]; 0 of those that have no row."""
        rows = [self.places.get(tuple(row)) for row in codes.tolist()]
        return np.array([0.0 if row is None else self.doublings[row] for row in rows])

    def values(self, accuracy: Floats) -> Floats:
        """Objectives to minimise [R, 3], scaled from the best, 0, to the reference, 1."""
        points = np.stack([100 - accuracy, self.crossbars, self.energy], -1)
        best = np.array([100 - self.test.max(), self.crossbars.min(), self.energy.min()])
        worst = np.array([100 - REFERENCE_ACCURACY, *self.largest])
        return (points - best) / (worst - best)

    @property
    def largest(self) -> tuple[float, float]:
        """References of crossbars and energy."""
        return 1.05 * float(self.crossbars.max()), 1.05 * float(self.energy.max())

    @cached_property
    def _true(self) -> float:
        return hypervolume(self.values(self.test))

    def ratio(self, visited: list[int]) -> float:
        """Hypervolume of what was visited, over the true one."""
        rows = np.array(visited)
        front = rows[nondominated(self.values(self.validation)[rows])]
        return hypervolume(self.values(self.test)[front]) / self._true


def _doublings(rows: list[dict[str, str]]) -> Floats:
    """Of the epochs, over the fewest [R]."""
    found = np.log2([float(r["n_epochs"]) for r in rows])
    return np.asarray(found - found.min())


def _energy(rates: dict[str, str]) -> float:
    """Multiplications weighted by what fires; -1 stands for a layer that is not there."""
    total = 0.0
    for name, text in rates.items():
        part = name.partition("_")[0]
        if part in MULTIPLICATIONS:
            total += max(0.0, float(text)) * MULTIPLICATIONS[part]
    return total / 1e9


@dataclass(frozen=True)
class Target:
    """Least accuracy, and budgets."""

    accuracy: float
    crossbars: float = np.inf
    energy: float = np.inf

    @classmethod
    def of(cls, text: str) -> "Target":
        found: dict[str, float] = {}
        for part in text.split(","):
            name, sign, value = part.partition(">=" if ">=" in part else "<=")
            wanted = ">=" if name.strip() == "accuracy" else "<="
            if sign != wanted or name.strip() not in ("accuracy", "crossbars", "energy"):
                raise argparse.ArgumentTypeError(f"{part!r}: accuracy>=, crossbars<=, energy<=")
            found[name.strip()] = float(value)
        if "accuracy" not in found:
            raise argparse.ArgumentTypeError(f"{text!r}: accuracy>= is needed")
        return cls(**found)

    def within(self, table: Table) -> NDArray[np.bool_]:
        return (table.crossbars <= self.crossbars) & (table.energy <= self.energy)

    def met(self, table: Table) -> NDArray[np.bool_]:
        return self.within(table) & (table.test >= self.accuracy)

    @property
    def bounds(self) -> tuple[Bound, ...]:
        pairs = (("crossbars", self.crossbars), ("energy", self.energy))
        return tuple(Bound(name, at_most=most) for name, most in pairs if np.isfinite(most))


# --- samplers ------------------------------------------------------------------------------------

NAMES = tuple(f"edge{e}" for e in EDGE_NAMES)
SPACE = {name: CategoricalDistribution(tuple(range(len(STATES)))) for name in NAMES}


def describe(listed: list[dict[str, Any]], table: Table) -> Description:
    """The features that a study's cells have, and their epochs where these are told."""
    codes = np.array([[c[name] for name in NAMES] for c in listed], dtype=np.intp).reshape(-1, 6)
    live = live_codes(codes, STATES)
    ways = Paths(live, STATES)
    kinds = np.concatenate([live, ways.places()], 1)
    counts, longer = ways.counts(), table.longer(codes)
    numbers = np.column_stack([counts, longer]) if table.doublings.any() else counts
    score = promise(counts) + PER_DOUBLING * longer
    return Description(numbers, kinds, codes, score, len(STATES))


def costs(listed: list[dict[str, Any]]) -> dict[str, Floats]:
    """Crossbars; energy if rates were 1 / threshold, of edges that the input reaches; and whether
    there is a path."""
    codes = np.array([[c[name] for name in NAMES] for c in listed], dtype=np.intp).reshape(-1, 6)
    rates = np.where(fed(codes), RATES[codes], 0.0).sum(1)
    own = MULTIPLICATIONS["c1"] + MULTIPLICATIONS["c2"]
    return {
        "crossbars": 360.0 * (codes >= 2).sum(1) + 148,
        "energy": (rates * own + MULTIPLICATIONS["down"]) / 1e9,
        "connected": live_codes(codes, STATES).any(1),
    }


def fed(codes: Ints) -> NDArray[np.bool_]:
    """Edges whose source the input reaches [N, 6]: the others never fire."""
    reached = np.zeros((len(codes), 4), dtype=np.bool_)
    reached[:, 0] = True
    for source, target in sorted(EDGES):
        reached[:, target] |= reached[:, source] & (codes[:, EDGES.index((source, target))] > 0)
    return reached[:, [source for source, _ in EDGES]]


def greybox(table: Table, target: Target | None, seed: int) -> BaseSampler:
    most_crossbars, most_energy = table.largest
    objectives = [Objective("accuracy", "maximize", REFERENCE_ACCURACY)]
    if target is None:
        objectives += [Objective("crossbars", reference=most_crossbars)]
        objectives += [Objective("energy", reference=most_energy)]
    return GreyBoxSampler(
        DomainKnowledge(costs, partial(describe, table=table)),
        objectives,
        (Bound("connected", at_least=1), *(target.bounds if target else ())),
        ("accuracy", "energy"),
        distributions=SPACE,
        measurement_variance=100**2 * 0.1 / VALIDATION_IMAGES,
        seed=seed,
    )


def tpe(table: Table, target: Target | None, seed: int) -> BaseSampler:
    return TPESampler(multivariate=True, seed=seed)


class Oracle(BaseSampler):
    """What no sampler has: each function's mean accuracy over its other trainings of as many epochs
    (of one that is there once its own, blurred), and every energy. Left to chance is what one
    training adds.

    Proposes the largest expected gain of the next training, as `greybox` does.
    """

    def __init__(self, table: Table, target: Target | None, seed: int) -> None:
        self._table, self._target = table, target
        self._die = np.random.default_rng((seed, 2))
        alike = np.unique([table.functions, table.doublings], axis=1, return_inverse=True)[1]
        counts = np.bincount(alike)[alike]
        sums = np.bincount(alike, table.validation)[alike]
        once = table.validation + self._die.normal(0, TRAINING, len(table))
        self._means = np.where(
            counts > 1, (sums - table.validation) / np.maximum(counts - 1, 1), once
        )
        self._visited = np.zeros(len(table), dtype=bool)

    def infer_relative_search_space(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return dict(SPACE)

    def sample_relative(
        self, study: optuna.Study, trial: optuna.trial.FrozenTrial, search_space: Any
    ) -> dict[str, Any]:
        gains = np.where(self._visited, -np.inf, self._gains())
        row = int(self._die.choice(np.flatnonzero(gains == gains.max())))
        self._visited[row] = True
        return dict(zip(NAMES, self._table.codes[row].tolist(), strict=True))

    def _gains(self) -> Floats:
        table, seen = self._table, np.flatnonzero(self._visited)
        deviation = np.full(len(table), TRAINING)
        if self._target is None:
            front = table.values(table.validation)[seen]
            mean = table.values(self._means)
            scale = 100 - REFERENCE_ACCURACY - (100 - table.test.max())
            front = front[nondominated(front)]
            return expected_hypervolume_gain(mean[:, 0], deviation / scale, mean[:, 1:], front)
        within = self._target.within(table)
        best = -table.validation[seen[within[seen]]].max(initial=REFERENCE_ACCURACY)
        return np.where(within, expected_below(best, -self._means, deviation), 0.0)

    def sample_independent(self, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("all parameters are drawn together")


SAMPLERS: dict[str, Callable[[Table, Target | None, int], BaseSampler]] = {
    "random": lambda table, target, seed: RandomSampler(seed=seed),
    "nsga2": lambda table, target, seed: NSGAIISampler(population_size=40, seed=seed),
    "tpe": tpe,
    "greybox": greybox,
    "oracle": Oracle,
}


@dataclass(frozen=True)
class Run:
    """Rows in the order of their evaluation, and CPU seconds of each proposal."""

    rows: list[int]
    seconds: list[float]


def search(
    table: Table, name: str, target: Target | None, seed: int, budget: int, once: bool
) -> Run:
    """One search; with a target it ends where that is met. Proposals of what is known, and of
    cells without a path, cost nothing and are drawn again."""
    sampler = SAMPLERS[name](table, target, seed)
    directions = ["maximize"] if target else ["maximize", "minimize", "minimize"]
    study = optuna.create_study(directions=directions, sampler=sampler)
    die = np.random.default_rng((seed, 1))
    met = target.met(table) if target else np.zeros(len(table), dtype=bool)
    open_rows = np.ones(len(table), dtype=bool)
    run = Run([], [])
    while len(run.rows) < budget and open_rows.any():
        start = time.process_time()
        row, trial = _proposal(table, study, open_rows, die)
        run.seconds.append(time.process_time() - start)
        run.rows.append(row)
        same = table.functions == table.functions[row] if once else np.arange(len(table)) == row
        open_rows &= ~same
        _tell(table, study, trial, row, target)
        if met[row]:
            break
    return run


def _proposal(
    table: Table, study: optuna.Study, open_rows: NDArray[np.bool_], die: np.random.Generator
) -> tuple[int, optuna.Trial]:
    for _ in range(REDRAWS):
        trial = study.ask(SPACE)
        row = table.places.get(tuple(trial.params[name] for name in NAMES))
        if row is not None and open_rows[row]:
            return row, trial
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    row = int(die.choice(np.flatnonzero(open_rows)))
    chosen = dict(zip(NAMES, table.codes[row].tolist(), strict=True))
    study.enqueue_trial(chosen)
    return row, study.ask(SPACE)


def _tell(
    table: Table, study: optuna.Study, trial: optuna.Trial, row: int, target: Target | None
) -> None:
    accuracy = float(table.validation[row])
    costs = {"crossbars": float(table.crossbars[row]), "energy": float(table.energy[row])}
    trial.set_user_attr("energy", costs["energy"])
    if target is None:
        study.tell(trial, [accuracy, *costs.values()])
        return
    for bound in target.bounds:
        trial.set_constraint(bound.name, float(bound.violation(np.array(costs[bound.name]))))
    study.tell(trial, accuracy)


# --- figures -------------------------------------------------------------------------------------


def quartiles(values: list[float]) -> list[float]:
    return [float(q) for q in np.quantile(values, (0.5, 0.25, 0.75))]


def volumes(table: Table, name: str, seeds: range, marks: list[int], once: bool) -> dict[str, Any]:
    runs = [search(table, name, None, seed, max(marks), once) for seed in seeds]
    unique = [len(set(table.functions[r.rows].tolist())) / len(r.rows) for r in runs]
    return {
        "hypervolume": {str(m): quartiles([table.ratio(r.rows[:m]) for r in runs]) for m in marks},
        "training_days": {
            str(m): quartiles([float(table.seconds[r.rows[:m]].sum()) / 86400 for r in runs])
            for m in marks
        },
        "unique_share": float(np.mean(unique)),
        "seconds_per_ask": float(np.median([s for r in runs for s in r.seconds])),
        "seconds_per_last_ask": float(np.median([s for r in runs for s in r.seconds[-10:]])),
    }


def evaluations(
    table: Table, name: str, target: Target, seeds: range, budget: int, once: bool
) -> dict[str, Any]:
    """Evaluations to the target; a run that misses it counts as budget + 1."""
    met, counts = target.met(table), []
    for seed in seeds:
        rows = search(table, name, target, seed, budget, once).rows
        counts.append(len(rows) if met[rows[-1]] else budget + 1)
    hits = sum(count <= budget for count in counts)
    median, low, high = quartiles([float(c) for c in counts])
    return {"evaluations_to_target": [median, hits, len(counts)], "quartiles": [low, high]}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--firing", type=Path, required=True)
    parser.add_argument("--samplers", default="random,nsga2,tpe,greybox")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=200)
    parser.add_argument("--at", default="25,50,100,200,400", help="evaluations, up to the budget")
    parser.add_argument("--known", choices=("genotype", "canonical"), default="genotype")
    parser.add_argument("--epochs", choices=EPOCHS, default="told")
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        help="E, H, M or accuracy>=..,crossbars<=..,energy<=..; may be repeated",
    )
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    table = Table.read(args.table, args.firing, args.epochs)
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    once = args.known == "canonical"
    found: dict[str, Any] = {}
    for name in args.samplers.split(","):
        if args.target:
            found[name] = {
                text: evaluations(
                    table, name, Target.of(TARGETS.get(text, text)), seeds, args.budget, once
                )
                for text in args.target
            }
        else:
            marks = [m for m in map(int, args.at.split(",")) if m <= args.budget]
            found[name] = volumes(table, name, seeds, marks or [args.budget], once)
        if not args.json:
            show(name, found[name])
    if args.json:
        print(json.dumps(found, indent=2))


def show(name: str, row: dict[str, Any]) -> None:
    if "hypervolume" not in row:
        for target, cell in row.items():
            median, hits, runs = cell["evaluations_to_target"]
            low, high = cell["quartiles"]
            print(f"{name:8s} {target:45s} {median:6.1f} [{low:g} .. {high:g}]  {hits}/{runs}")
        return
    for mark, (median, low, high) in row["hypervolume"].items():
        days = row["training_days"][mark][0]
        print(f"{name:8s} {mark:>4s}  {median:.3f} [{low:.3f} .. {high:.3f}]  {days:.1f} days")
    seconds = row["seconds_per_ask"], row["seconds_per_last_ask"]
    print(
        f"{name:8s} unique {row['unique_share']:.2f}, CPU s per ask {seconds[0]:.4f},"
        f" of the last ten {seconds[1]:.4f}",
        flush=True,
    )


if __name__ == "__main__":
    main()
