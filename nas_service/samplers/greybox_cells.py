"""The grey box for a study of cells: its space, costs by the batch, what its trials told.

N candidates, K cells that are drawn.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import optuna
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from nas_service.data import source_of
from nas_service.errors import StudyError
from nas_service.evaluation.evaluator import Evaluator
from nas_service.evaluation.feasible_set import Counted, counted, share_counted
from nas_service.evaluation.screening import Budgets
from nas_service.metrics import MEASURED, METRICS, PROXY, metric_of
from nas_service.rejection import MEMORY, PATH
from nas_service.samplers.cell_features import PER_DOUBLING, Paths, live_codes, promise
from nas_service.samplers.greybox import (
    Bound,
    Description,
    DomainKnowledge,
    GreyBoxSampler,
    Objective,
    Observation,
)
from nas_service.samplers.greybox.encoding import Codes, Columns, Params
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.batch import Drawn
from nas_service.spaces.cell import EDGE_NAMES
from nas_service.spaces.cell_space import CellSpace
from nas_service.study.sections import Constraint
from nas_service.study.spec import StudySpec

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
AT_REST = " at the assumed rate"  # behind a metric: what the screening compares with the budget
RARE = 0.05  # share of fair draws: where fewer keep the counted budgets, these are drawn from
SIZES = 4  # columns of each size: it says more than one count of many


def greybox(spec: StudySpec) -> BaseSampler:
    """The sampler of a study: what a training tells is modelled, all else is costed."""
    box = CellProblem(spec)
    return GreyBoxSampler(
        DomainKnowledge(box.costs, box.describe, box.key, columns=True, draws=box.draws),
        [Objective(o.metric, o.direction, spec.reference(o)) for o in spec.objectives],
        box.bounds,
        box.learned,
        distributions=box.distributions,
        observe=box.observe,
        warm=box.warm,
        measurement_variance=box.measurement_variance,
        seed=spec.seed,
    )


def score_by(sampler: BaseSampler, bench: Evaluator) -> None:
    """Lets the grey box look at the study's proxies, but for those that are asked themselves."""
    spec = bench.spec
    asked = {o.metric for o in spec.objectives} | {c.metric for c in spec.constraints}
    names = [name for name in spec.proxies.names if PROXY + name not in asked]
    if not names or not isinstance(sampler, GreyBoxSampler):
        return
    space, known = spec.build_space(), dict[str, dict[str, float]]()

    def measure(name: str, listed: Sequence[Params]) -> list[float]:
        found = []
        for a in (space.draw(FixedTrial(dict(params))) for params in listed):
            if a.digest not in known:
                known[a.digest] = bench.proxies(a)
            found.append(known[a.digest][name])
        return found

    sampler.score_by({PROXY + name: partial(measure, name) for name in names})


@dataclass(frozen=True, eq=False)
class CellProblem:
    """A study's space as the sampler asks about it."""

    spec: StudySpec

    @cached_property
    def space(self) -> CellSpace:
        return self.spec.build_space()

    @cached_property
    def budgets(self) -> Budgets:
        return Budgets.of(self.spec)

    @cached_property
    def distributions(self) -> dict[str, BaseDistribution]:
        recorder = Recorder({})
        self.space.draw(recorder)
        return recorder.found

    @cached_property
    def edge_names(self) -> tuple[tuple[str, ...], ...]:
        """Parameters of each cell that is drawn, in the order of its edges."""
        return tuple(
            tuple(f"{cell}_edge{edge}" for edge in EDGE_NAMES) for cell in self.space.cell_names
        )

    # --- what is asked

    @property
    def _asked(self) -> tuple[str, ...]:
        """Metrics and bounds of metrics that the study compares."""
        names = [
            *(o.metric for o in self.spec.objectives),
            *(c.measure for c in self.spec.constraints),
        ]
        return tuple(dict.fromkeys(names))

    @property
    def learned(self) -> tuple[str, ...]:
        """Those that follow from the architecture alone are not among them."""
        return tuple(
            name
            for name in self._asked
            if not (metric := metric_of(name)).costed
            or (metric.grows_with_rate and self.spec.training.epochs > 0)
        )

    @property
    def bounds(self) -> tuple[Bound, ...]:
        """A path from end to end, memory, the study's constraints and those of its screening."""
        ours = [Bound(c.measure, c.at_most, c.at_least) for c in self.spec.constraints]
        rest = [
            Bound(c.measure + AT_REST, c.at_most, c.at_least)
            for c in self.spec.constraints
            if self._screened(c)
        ]
        memory = Bound(MEMORY, at_most=self.spec.training.memory_GiB)
        return (Bound(PATH, at_least=1), memory, *ours, *rest)

    def _screened(self, c: Constraint) -> bool:
        return METRICS[c.metric].grows_with_rate and c.grows

    @property
    def measurement_variance(self) -> float:
        """Of an accuracy of about 0.9, by the number of validation images; a score has none."""
        if self.learned[:1] != ("accuracy",):
            return 0.0
        held_out = self.spec.data.validation_samples
        held_out = held_out or source_of(self.spec.data).validation_samples
        return 0.09 / held_out if held_out else 0.0

    # --- what is known of candidates

    @cached_property
    def _codes(self) -> Codes:
        return Codes(self.distributions)

    def columns(self, listed: Sequence[Params]) -> Columns:
        """Candidates as trials have them, by parameter."""
        return self._codes.columns(self._codes.encode(listed))

    def costs(self, asked: Columns) -> dict[str, Floats]:
        """Hardware metrics and their bounds at the assumed spike rate, memory of a training, and
        whether there is a path [N]."""
        costed = self.budgets.costed(self.drawn(asked))
        found = costed.metrics
        known = {n: found[n] for n in self._asked if n in found}
        rest = {
            c.measure + AT_REST: found[c.measure]
            for c in self.spec.constraints
            if self._screened(c)
        }
        path = costed.connected.astype(np.float64)
        return {**known, **rest, MEMORY: costed.memory_GiB, PATH: path}

    def drawn(self, asked: Columns) -> Drawn:
        """Candidates as arrays."""
        base = len(self.space.states)
        digits = base ** np.arange(len(EDGE_NAMES))[::-1]
        numbers = self._states(asked) @ digits
        cells = np.repeat(numbers, self.space.cells // self.space.drawn_cells, axis=1)
        sizes = {n: np.array(v)[self._places(asked, n)] for n, v in self.space.sizes.items()}
        chips = np.zeros(len(cells), dtype=np.intp)
        for key, values in self.space.chip:
            chips = chips * len(values) + self._places(asked, f"chip_{key}")
        return Drawn(cells, sizes, chips)

    def _states(self, asked: Columns) -> Ints:
        """Codes of states by cell and edge [N, K, 6]."""
        cells = [np.stack([asked[name] for name in names], -1) for names in self.edge_names]
        return np.stack(cells, 1)

    def _places(self, asked: Columns, name: str) -> Ints:
        """Places of a size or a setting among its values [N]: 0 where there is but one."""
        for drawn in (name, f"{name}_index"):
            if drawn in asked:
                return asked[drawn]
        return np.zeros_like(asked[self.edge_names[0][0]])

    def describe(self, asked: Columns) -> Description:
        """Counts of each cell, sizes by their doublings, live operations by edges and on ways; of
        genotypes all operations as details."""
        states, codes = self.space.states, self._states(asked)
        cells = [live_codes(codes[:, k], states) for k in range(codes.shape[1])]
        ways = [Paths(live, states) for live in cells]
        counts = [w.counts() for w in ways]
        values = {n: np.array(v, dtype=np.float64) for n, v in self.space.sizes.items()}
        sizes = {n: np.log2(1.0 + v)[self._places(asked, n)] for n, v in values.items()}
        chips = [self._places(asked, f"chip_{key}") for key, _ in self.space.chip]
        wide = np.sum([s for n, s in sizes.items() if n.startswith("channels")], axis=0)
        deep = np.mean([promise(c) for c in counts], axis=0)
        details = codes if self.space.literal else codes[:, :0]
        return Description(
            np.column_stack([*counts, *(SIZES * list(sizes.values())), *chips]),
            np.concatenate([*cells, *(w.places() for w in ways)], 1),
            details.reshape(len(codes), details.shape[1] * codes.shape[2]),
            np.asarray(deep + PER_DOUBLING * wide),
            len(states),
        )

    def draws(self, count: int, die: np.random.Generator) -> list[dict[str, Any]] | None:
        """Fair draws among what keeps the counted budgets, where fair draws hardly hit it."""
        return None if self._rare is None else self._params(self._rare.draw(count, die))

    @cached_property
    def _rare(self) -> Counted | None:
        found = counted(self.budgets) if share_counted(self.budgets) < RARE else None
        return found if found is not None and found.count else None

    def _params(self, codes: Ints) -> list[dict[str, Any]]:
        """Candidates by the codes of the space, as Optuna has them."""
        columns: dict[str, list[Any]] = {}
        for (name, values), column in zip(self.space.choices.items(), codes.T, strict=True):
            key = name.replace(" ", "_")
            if f"{key}_index" in self.distributions:
                columns[f"{key}_index"] = column.tolist()
            elif key in self.distributions:
                columns[key] = [values[c] for c in column]
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]

    def architecture(self, params: Params) -> Architecture:
        return self.space.draw(FixedTrial(dict(params)))

    def key(self, params: Params) -> str:
        return self.architecture(params).digest

    # --- what trials told

    @property
    def _last(self) -> int:
        """Epochs of a full training, where candidates of fewer are something else."""
        return 0 if self.spec.search.reduction_factor is None else self.spec.training.last

    def observe(self, trial: FrozenTrial) -> Iterator[Observation]:
        """What a trained candidate gave; one that diverged by its fallbacks, no rejected one.

        In successive halving what it gave on a rung is of a context of its own.
        """
        told, outcome = trial.user_attrs, trial.user_attrs.get("outcome")
        if trial.state != TrialState.COMPLETE or outcome == "rejected":
            return
        names = (*self.learned, *(PROXY + name for name in self.spec.proxies.names))
        values = {name: float(told[name]) for name in names if name in told}
        if outcome == "diverged":
            objectives = (o.metric for o in self.spec.objectives)
            values |= dict(zip(objectives, trial.values, strict=True))
        if values and (outcome in (*MEASURED, "diverged") or "accuracy" in told):
            yield Observation(trial.params, values, context(told, self._last))

    def warm(self, study: Study) -> Iterator[Observation]:
        """Trials of the studies in the same store that this one is to learn from."""
        for name in self.spec.search.warm_start_from:
            try:
                other = optuna.load_study(study_name=name, storage=study._storage)
            except KeyError:
                raise StudyError(
                    f"search.warm_start_from: no study {name!r} in the store"
                ) from None
            trials = other.get_trials(deepcopy=False)
            last = max((t.user_attrs.get("epochs", 0) for t in trials), default=0)
            for trial in trials:
                rung = context(trial.user_attrs, last)
                for seen in self.observe(trial):
                    yield Observation(seen.params, seen.values, f"{name} {rung}".rstrip())


def context(told: Params, last: int) -> str:
    """Of what a trial told: empty behind the last epoch."""
    epochs = told.get("epochs", last)
    return f"epoch {epochs:g}" if epochs < last else ""


@dataclass(frozen=True, eq=False)
class Recorder:
    """A trial that draws the first of everything and notes what was asked."""

    found: dict[str, BaseDistribution]

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        self.found[name] = CategoricalDistribution(choices)
        return choices[0]

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        self.found[name] = IntDistribution(low, high, step=step)
        return low
