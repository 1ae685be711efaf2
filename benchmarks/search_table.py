"""Samplers on a table of trained spiking cells: how soon each finds the best of them.

    python benchmarks/search_table.py --table spikenas_bench_cifar10.csv \
        --firing spikenas_bench_cifar10_firing.csv --seeds 20 --budget 200
    python benchmarks/search_table.py ... --target "accuracy>=88.0,crossbars<=868,energy<=0.09"

The table is SpikeNAS-Bench's CIFAR-10 part (IEEE TAI 2025, repository tju-sun-lab/SpikeNAS-Bench)
as two CSV files: 15 625 cells with parameters, validation accuracy at epochs 10 .. last, test
accuracy, epochs and training seconds; and 16 firing rates of each. Cells without a path are left
out.

Of these networks 690 were trained for 200 epochs, the others for 100. That is known before a
training, so by default (`--epochs known`) `greybox` and `oracle` know it; with `--epochs unknown`
they do not, and with `--epochs dropped` the 690 are left out.

A layer of k x k takes ceil(C_in k^2 / 64) x ceil(2 C_out / 64) crossbars; a network with n
convolutions on edges 360 n + 148. Energy is the sum of firing rate x multiplications over edges
and the reduction, in 1e9. Crossbars are known before a training, energy and accuracy after it.

Without a target: hypervolume of the front over (100 - accuracy, crossbars, energy), each scaled
from its best to the reference (20, 1.05 of the most), chosen by validation accuracy and valued by
test accuracy, over that of the true front by test accuracy. With targets: evaluations until the
first network whose test values meet it; samplers maximise the validation accuracy under the
target's budgets and never see a test accuracy, nor the accuracy of the target.

`--samplers oracle` shows how far a perfect model of accuracy and energy would come.

A row is one training. Many rows are one function (unique_share counts functions): training one
again is another chance with its network. `--known canonical` trains no function twice.
"""

import argparse
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import harness
import numpy as np
import optuna
from cell_table import (
    EPOCHS,
    MULTIPLICATIONS,
    REFERENCE_ACCURACY,
    STATES,
    Floats,
    Ints,
    Table,
    Target,
)
from harness import quartiles
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, NSGAIISampler, RandomSampler, TPESampler

from nas_service.samplers.cell_features import PER_DOUBLING, Paths, live_codes, promise
from nas_service.samplers.greybox.acquisition import expected_below, expected_hypervolume_gain
from nas_service.samplers.greybox.candidate_pool import Description, DomainKnowledge
from nas_service.samplers.greybox.pareto import nondominated
from nas_service.samplers.greybox.problem import Bound, Objective
from nas_service.samplers.greybox.sampler import GreyBoxSampler
from nas_service.spaces.cell import EDGE_NAMES, EDGES

RATES = np.array([0.0, 0.0, 1 / 0.5, 1 / 1.0, 1 / 1.5])  # of the states, were they 1 / threshold
VALIDATION_IMAGES = 25_000  # of the table
TRAINING = 0.42  # deviation of the validation accuracy between trainings of one function
TARGETS = {
    "E": "accuracy>=88.0,crossbars<=868,energy<=0.09",
    "H": "accuracy>=88.3,crossbars<=868,energy<=0.09",
    "M": "accuracy>=88.5,crossbars<=1228,energy<=0.09",
}
REDRAWS = 300  # of a sampler that proposes known cells, before one is drawn at random


# --- samplers ------------------------------------------------------------------------------------

NAMES = tuple(f"edge{e}" for e in EDGE_NAMES)
SPACE = {name: CategoricalDistribution(tuple(range(len(STATES)))) for name in NAMES}


def describe(listed: list[dict[str, Any]], table: Table) -> Description:
    """The features that a study's cells have, and their epochs where these are known."""
    codes = np.array([[c[name] for name in NAMES] for c in listed], dtype=np.intp).reshape(-1, 6)
    live = live_codes(codes, STATES)
    ways = Paths(live, STATES)
    kinds = np.concatenate([live, ways.places()], 1)
    counts, longer = ways.counts(), table.longer(codes)
    numbers = np.column_stack([counts, longer]) if table.doublings.any() else counts
    score = promise(counts) + PER_DOUBLING * longer
    return Description(numbers, kinds, codes, score, len(STATES))


def costs(listed: list[dict[str, Any]]) -> dict[str, Floats]:
    """Crossbars, energy and whether there is a path.

    The energy is that of edges which the input reaches, as if rates were 1 / threshold.
    """
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
    """The service's own sampler, with what is known of these cells."""
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
    """Knows each function's mean accuracy over its other trainings, and every energy.

    The mean is over trainings of as many epochs; of a function with one training it is that
    accuracy with noise. Only the noise of a single training is left to chance. Like `greybox`, it
    proposes the largest expected gain of the next training.
    """

    def __init__(self, table: Table, target: Target | None, seed: int) -> None:
        self._table, self._target = table, target
        self._rng = np.random.default_rng((seed, 2))
        alike = np.unique([table.functions, table.doublings], axis=1, return_inverse=True)[1]
        counts = np.bincount(alike)[alike]
        sums = np.bincount(alike, table.validation)[alike]
        once = table.validation + self._rng.normal(0, TRAINING, len(table))
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
        row = int(self._rng.choice(np.flatnonzero(gains == gains.max())))
        self._visited[row] = True
        return dict(zip(NAMES, self._table.codes[row].tolist(), strict=True))

    def _gains(self) -> Floats:
        table, visited = self._table, np.flatnonzero(self._visited)
        deviation = np.full(len(table), TRAINING)
        if self._target is None:
            front = table.values(table.validation)[visited]
            mean = table.values(self._means)
            scale = 100 - REFERENCE_ACCURACY - (100 - table.test.max())
            front = front[nondominated(front)]
            return expected_hypervolume_gain(mean[:, 0], deviation / scale, mean[:, 1:], front)
        within = self._target.within(table)
        best = -table.validation[visited[within[visited]]].max(initial=REFERENCE_ACCURACY)
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
    """One search; with a target it ends when that is met.

    Proposals of known cells, and of cells without a path, cost nothing and are drawn again.
    """
    sampler = SAMPLERS[name](table, target, seed)
    directions = ["maximize"] if target else ["maximize", "minimize", "minimize"]
    study = optuna.create_study(directions=directions, sampler=sampler)
    rng = np.random.default_rng((seed, 1))
    met = target.met(table) if target else np.zeros(len(table), dtype=bool)
    open_rows = np.ones(len(table), dtype=bool)
    run = Run([], [])
    while len(run.rows) < budget and open_rows.any():
        start = time.process_time()
        row, trial = _proposal(table, study, open_rows, rng)
        run.seconds.append(time.process_time() - start)
        run.rows.append(row)
        same = table.functions == table.functions[row] if once else np.arange(len(table)) == row
        open_rows &= ~same
        _tell(table, study, trial, row, target)
        if met[row]:
            break
    return run


def _proposal(
    table: Table, study: optuna.Study, open_rows: NDArray[np.bool_], rng: np.random.Generator
) -> tuple[int, optuna.Trial]:
    for _ in range(REDRAWS):
        trial = study.ask(SPACE)
        row = table.row_of.get(tuple(trial.params[name] for name in NAMES))
        if row is not None and open_rows[row]:
            return row, trial
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
    row = int(rng.choice(np.flatnonzero(open_rows)))
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


def volumes(table: Table, name: str, seeds: range, marks: list[int], once: bool) -> dict[str, Any]:
    """Hypervolume and training days after each number of evaluations, and times of proposals."""
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


def compare(table: Table, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of each sampler; progress is reported on standard error."""
    seeds = range(args.first_seed, args.first_seed + args.seeds)
    once = args.known == "canonical"
    marks = [m for m in args.at if m <= args.budget] or [args.budget]
    rows: dict[str, Any] = {}
    for name in args.samplers.split(","):
        targets = {text: Target.of(TARGETS.get(text, text)) for text in args.target}
        rows[name] = {
            text: evaluations(table, name, target, seeds, args.budget, once)
            for text, target in targets.items()
        } or volumes(table, name, seeds, marks, once)
        print(f"{name}: {args.seeds} searches done", file=sys.stderr)
    return rows


def lines(document: dict[str, Any]) -> list[str]:
    """The figures for people."""
    with_targets = "hypervolume" not in next(iter(document.values()))
    return target_lines(document) if with_targets else volume_lines(document)


def target_lines(document: dict[str, Any]) -> list[str]:
    """Evaluations until each target is met."""
    rows = []
    for name, targets in document.items():
        for target, cell in targets.items():
            middle, hits, runs = cell["evaluations_to_target"]
            shown = harness.span((middle, *cell["quartiles"]), 1)
            rows.append([name, target, shown, f"{hits}/{runs}"])
    return harness.table(["", "target", "evaluations [quartiles]", "met"], rows)


def volume_lines(document: dict[str, Any]) -> list[str]:
    """Hypervolume by evaluations, and what proposals are like."""
    rows, proposals = [], []
    for name, row in document.items():
        for mark, volume in row["hypervolume"].items():
            days = row["training_days"][mark][0]
            rows.append([name, mark, harness.span(volume), f"{days:.1f}"])
        keys = ("unique_share", "seconds_per_ask", "seconds_per_last_ask")
        proposals.append([name, *(f"{row[key]:.4f}" for key in keys)])
    headings = ("", "evaluations", "hypervolume [quartiles]", "training days")
    asks = harness.table(["", "unique", "CPU s per ask", "of the last ten"], proposals)
    return [*harness.table(headings, rows), "", *asks]


def options() -> argparse.ArgumentParser:
    """The options of this script."""
    parser = harness.parser(__doc__)
    parser.add_argument("--table", type=Path, required=True)
    parser.add_argument("--firing", type=Path, required=True)
    parser.add_argument("--samplers", default="random,nsga2,tpe,greybox")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=200, help="evaluations of each search")
    parser.add_argument(
        "--at", type=harness.numbers, default="25,50,100,200,400", help="up to the budget"
    )
    parser.add_argument("--known", choices=("genotype", "canonical"), default="genotype")
    parser.add_argument("--epochs", choices=EPOCHS, default="known")
    parser.add_argument(
        "--target",
        action="append",
        default=[],
        help="E, H, M or accuracy>=..,crossbars<=..,energy<=..; may be repeated",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = options().parse_args(argv)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    document = compare(Table.read(args.table, args.firing, args.epochs), args)
    harness.show(document, args.json, lambda: lines(document))


if __name__ == "__main__":
    main()
