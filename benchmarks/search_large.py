"""Samplers in a space too large to enumerate, 1 % of it within the budgets.

    python benchmarks/search_large.py [--samplers greybox,tpe] [--seeds 10] [--budget 1000]
    python benchmarks/search_large.py --feasible 0.03 --objectives score
    python benchmarks/search_large.py --asks 200,2000 [--table CSV --firing CSV]

Two separate cells, five sizes, and two settings of the chip. Budgets on parameters, area,
latency and energy are the same quantile of each over draws with a path, such that the share asked
for keeps all four; how many do is counted in other draws. Samplers maximise a training-free score
of the digits, and minimise energy unless `--objectives score` says otherwise; costs are those at
the assumed spike rate, exact before a candidate is scored. The score, Hamming kernels of spikes
weighted by their sparsity (`sahd_n`), is not what `greybox` begins with: how it ranks beside that,
the depth of the cells and their width, is printed.

Each sampler is the project's own, asked through one Optuna study that gets what a worker reports:
of a candidate over budget its costs and violations, of another one its score too. Every proposal
counts, also one over budget, without a path, or known. Hypervolume: of what keeps the budgets,
between the reference and the ideal of the score, and between the budget and no energy at all.

`--asks` measures CPU seconds of a proposal of `greybox` after the given numbers of scored
candidates of this space, and of the table that benchmarks/search_table.py reads; and of a proposal
that also fits its covariances again, which happens rarely.
"""

import argparse
import itertools
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import harness
import numpy as np
import optuna
import search_table
import torch
from cell_table import Table
from harness import quartiles
from large_space import Question, evaluate
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState, create_trial

from nas_service.samplers import sampler_of
from nas_service.samplers.greybox.pareto import hypervolume
from nas_service.spaces.architecture import Architecture
from nas_service.study.spec import StudySpec

ASKS = 5  # proposals that are timed


@dataclass(frozen=True)
class Visit:
    """A proposal that was evaluated."""

    digest: str
    feasible: bool
    point: tuple[float, ...]  # objectives: 0 at the ideal, 1 at the reference
    seconds: float  # CPU, of the proposal


def search(question: Question, name: str, seed: int, budget: int) -> Iterator[Visit]:
    """Proposals of a sampler, evaluated one after the other."""
    spec = question.study(name, seed)
    directions = [o.direction for o in spec.objectives]
    study = optuna.create_study(directions=directions, sampler=sampler_of(spec))
    known: set[str] = set()
    for _ in range(budget):
        start = time.process_time()
        trial = study.ask(question.problem.distributions)
        seconds = time.process_time() - start
        outcome = evaluate(question, spec, trial.params, known)
        digest = question.problem.key(trial.params)
        for key, value in {"outcome": outcome.outcome, "digest": digest, **outcome.values}.items():
            trial.set_user_attr(key, value)
        for key, violation in outcome.constraints.items():
            trial.set_constraint(key, violation)
        study.tell(trial, [outcome.values[o.metric] for o in spec.objectives])
        yield Visit(digest, outcome.feasible, _point(spec, outcome.values), seconds)


def _point(spec: StudySpec, values: dict[str, float]) -> tuple[float, ...]:
    return tuple(
        (values[o.metric] - spec.ideal(o)) / (spec.reference(o) - spec.ideal(o))
        for o in spec.objectives
    )


# --- figures -------------------------------------------------------------------------------------


def volume(visits: Sequence[Visit]) -> float:
    """Hypervolume of the visits that keep the budgets."""
    points = [v.point for v in visits if v.feasible]
    return hypervolume(np.array(points)) if points else 0.0


def first_feasible(visits: Sequence[Visit]) -> int:
    """Proposals until one keeps the budgets; one more than there are where none does."""
    return next((n for n, v in enumerate(visits, 1) if v.feasible), len(visits) + 1)


def share(visits: Sequence[Visit]) -> float:
    """Share of the visits that keep the budgets."""
    return float(np.mean([v.feasible for v in visits]))


def figures(runs: list[list[Visit]], marks: Sequence[int]) -> dict[str, Any]:
    """The figures of one sampler over all its runs."""
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


def sampler_lines(rows: dict[str, dict[str, Any]]) -> list[str]:
    """Hypervolumes and shares for people, medians with quartiles; and times of proposals."""
    cells, proposals = [], []
    for name, row in rows.items():
        spans = {f"hypervolume {mark}": span for mark, span in row["hypervolume"].items()}
        spans |= {
            k: row[k] for k in ("first_feasible", "feasible_share", "feasible_share_last_third")
        }
        cells += [[name, key, harness.span(span, 4)] for key, span in spans.items()]
        keys = ("unique_share", "seconds_per_ask", "seconds_per_last_ask")
        proposals.append([name, *(f"{row[key]:.4f}" for key in keys)])
    asks = harness.table(["", "unique", "CPU s per ask", "of the last ten"], proposals)
    return [*harness.table(["", "", "median [quartiles]"], cells), "", *asks]


def space_lines(facts: dict[str, Any]) -> list[str]:
    """The space and its budgets for people."""
    share = harness.span([100 * x for x in facts["feasible"]], 2)
    budgets = (f"{name} <= {most:.4g}" for name, most in facts["budgets"].items())
    correlations = (
        f"the score's rank correlation with {name}: {harness.span(figures, 2)}"
        for name, figures in facts["rank_correlation"].items()
    )
    return [
        f"{facts['candidates']:.3g} candidates, {share} % within the budgets",
        ", ".join(budgets),
        *correlations,
        f"{100 * facts['dead']:.1f} % of those within the budgets never fire",
    ]


# --- seconds of a proposal -----------------------------------------------------------------------


def scored(question: Question, spec: StudySpec, count: int) -> list[FrozenTrial]:
    """Random candidates within the budgets, as trials."""
    candidates: list[Architecture] = []
    for seed in itertools.count(2):
        if len(candidates) >= count:
            break
        candidates += question.feasible_draws(seed)
    return [_as_trial(question, spec, candidate) for candidate in candidates[:count]]


def _as_trial(question: Question, spec: StudySpec, candidate: Architecture) -> FrozenTrial:
    params = question.problem.space.parameters(candidate)
    outcome = evaluate(question, spec, params, set())
    return create_trial(
        params=params,
        distributions=question.problem.distributions,
        values=[outcome.values[o.metric] for o in spec.objectives],
        user_attrs={"outcome": outcome.outcome, **outcome.values},
    )


def rows_of(table: Table, count: int) -> list[FrozenTrial]:
    """Random rows of a table, as trials."""
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


def time_asks(
    sampler: BaseSampler, directions: Sequence[str], trials: list[FrozenTrial]
) -> dict[str, Any]:
    """CPU seconds of proposals after all trials.

    `learning` is the first one after the last tenth was added, which fits its covariances again.
    """
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


def asks(question: Question, counts: Sequence[int], table: Table | None) -> dict[str, Any]:
    """Seconds of `greybox` by the space and the number of trials."""
    spec = question.study("greybox", 0)
    directions = [o.direction for o in spec.objectives]
    rows = {
        "large": {
            str(n): time_asks(sampler_of(spec), directions, scored(question, spec, n))
            for n in counts
        }
    }
    if table is not None:
        directions = ["maximize", "minimize", "minimize"]
        rows["table"] = {
            str(n): time_asks(search_table.greybox(table, None, 0), directions, rows_of(table, n))
            for n in counts
        }
    return rows


def ask_lines(asks: dict[str, dict[str, Any]]) -> list[str]:
    """CPU seconds of a proposal for people."""
    rows = [
        [space, count, harness.span(row["seconds"]), f"{row['learning']:.3f}"]
        for space, counts in asks.items()
        for count, row in counts.items()
    ]
    headings = ("space", "scored", "CPU s per proposal [quartiles]", "with a new fit")
    return harness.table(headings, rows)


def compare(question: Question, args: argparse.Namespace) -> dict[str, Any]:
    """The figures of each sampler; progress is reported on standard error."""
    marks = [m for m in args.at if m <= args.budget] or [args.budget]
    seeds, rows = range(args.first_seed, args.first_seed + args.seeds), {}
    for name in args.samplers.split(","):
        runs = [list(search(question, name, seed, args.budget)) for seed in seeds]
        rows[name] = figures(runs, marks)
        print(f"{name}: {args.seeds} searches done", file=sys.stderr)
    return rows


def lines(document: dict[str, Any]) -> list[str]:
    """The document for people."""
    rows = dict(document)
    space = space_lines(rows.pop("space"))
    return [*space, "", *(ask_lines(rows["asks"]) if "asks" in rows else sampler_lines(rows))]


def options() -> argparse.ArgumentParser:
    """The options of this script."""
    parser = harness.parser(__doc__)
    parser.add_argument("--samplers", default="random,tpe,nsga2,greybox")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--budget", type=int, default=1000, help="proposals of each sampler")
    parser.add_argument(
        "--at", type=harness.numbers, default="50,200,1000", help="up to the budget"
    )
    parser.add_argument("--feasible", type=float, default=0.01, help="share within the budgets")
    parser.add_argument("--objectives", default="score,energy", choices=("score", "score,energy"))
    parser.add_argument("--draws", type=int, default=20_000, help="for the budgets")
    parser.add_argument(
        "--asks", type=harness.numbers, help="time proposals after these numbers of candidates"
    )
    parser.add_argument("--table", type=Path, help="of search_table.py, with --asks and --firing")
    parser.add_argument("--firing", type=Path)
    return parser


def main(argv: Sequence[str] | None = None) -> None:
    args = options().parse_args(argv)
    torch.set_num_threads(1)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    question = Question(args.feasible, tuple(args.objectives.split(",")), args.draws)
    document: dict[str, Any] = {"space": question.facts()}
    if args.asks:
        table = Table.read(args.table, args.firing) if args.table else None
        document["asks"] = asks(question, args.asks, table)
    else:
        document |= compare(question, args)
    harness.show(document, args.json, lambda: lines(document))


if __name__ == "__main__":
    main()
