"""Search cell by cell, after SpikeNAS (arXiv 2402.11322) and NeuroNAS (arXiv 2407.00641).

Both were published for a score that needs no training; here they propose, and the study's first
objective scores. Only the abstracts of the papers were read, so what they do not specify is ours:
a cell that is not searched yet passes its input through, and sizes are chosen after the cells,
one after the other. N candidates.
"""

import itertools
import math
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas_service.errors import SpecError
from nas_service.metrics import METRICS
from nas_service.samplers import PASSED_OVER
from nas_service.samplers.greybox import Bound
from nas_service.samplers.proposer import Params, Proposer
from nas_service.spaces.cell import EDGES, OUTPUT, Cell
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.rejection import MEMORY as MEMORY_OF_TRAINING
from nas_service.study.rejection import total_violation
from nas_service.study.spec import StudySpec

MEMORY = ("parameters", "memory_KiB")
HARDWARE = (*MEMORY, "area_mm2", "latency_ms", "energy_uJ")
MOST_CELLS = 20_000  # genotypes of a cell among which distinct functions are sought
CHUNK = 2000  # candidates costed at once
STRAIGHT = EDGES.index((0, OUTPUT))

Key = tuple[tuple[str, Any], ...]


@dataclass(frozen=True, eq=False)
class Options:
    """Values of one stage's parameters, in random order."""

    allowed: list[Params]  # those that keep the checked budgets; where none does, the nearest
    passed_over: Counter[str]  # budget -> how many of the others it ruled out first


class CellByCell(Proposer):
    """Chooses the function of the first cell with all else fixed, then of the next, then each size.

    Each stage keeps the best. A candidate over a checked budget is passed over without a trial.
    One pass spends the study's trainings; what remains goes into further passes. A choice is made
    when all candidates to compare are finished; until then idle workers continue with later ones.

    Args:
        spec: The study.
        checked: Metrics whose budgets are checked before a trial, in this order.
        density: Of the bits of the study's data.
    """

    def __init__(
        self, spec: StudySpec, checked: Sequence[str], density: InputDensity = ASSUMED
    ) -> None:
        super().__init__(spec, density)
        budgets = (c for metric in checked for c in spec.constraints if c.metric == metric)
        self._budgets = [Bound(c.measure, c.at_most, c.at_least) for c in budgets]
        self._budgets.append(Bound(MEMORY_OF_TRAINING, at_most=spec.training.memory_GiB))
        self._known: dict[tuple[int, Key], Options] = {}

    def propose(self, study: Study, trial: FrozenTrial) -> Params:
        """Proposes the next candidate; its trial records what the checks have ruled out so far."""
        stages: list[Options] = []
        candidate = self._next(study, trial, stages)
        passed = sum((options.passed_over for options in stages), Counter[str]())
        study._storage.set_trial_user_attr(trial._trial_id, PASSED_OVER, dict(passed))
        return candidate

    def _next(self, study: Study, trial: FrozenTrial, stages: list[Options]) -> Params:
        """Replays the choices made so far; appends the options of each stage to `stages`."""
        trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        trials.sort(key=lambda t: t.state != TrialState.FAIL)  # a result counts, not a failure
        tried = {_key(t.params): t for t in trials}
        fixed, confirmed, stage = self._first, 0, 0
        while confirmed < len(self._choices):
            stages.append(self._options(stage, fixed))
            best, complete = self._best(stage, fixed, tried, study.directions[0])
            if best is None:
                return self._new(stage, fixed, tried) or self.drawn(self.rng(trial.number))
            confirmed = confirmed + 1 if complete and best == fixed else 0
            fixed, stage = best, stage + 1
        return self.drawn(self.rng(trial.number))

    def _best(
        self, stage: int, fixed: Params, tried: Mapping[Key, FrozenTrial], direction: StudyDirection
    ) -> tuple[Params | None, bool]:
        """The best candidate of a stage, None before all are finished; and whether these are all
        options."""
        options = self._options(stage, fixed).allowed
        compared = options[: self._quota(self._choices[stage % len(self._choices)])]
        results = [tried.get(_key(fixed | option)) for option in compared]
        if not all(t is not None and t.state.is_finished() for t in results):
            return None, False
        complete = len(compared) == len(options)
        if stage and _key(fixed) not in tried:  # all options of the earlier choices are too costly
            return None, False
        if stage:  # the candidate kept so far was compared before
            compared, results = [{}, *compared], [tried[_key(fixed)], *results]
        return fixed | _best_option(compared, results, direction), complete

    def _new(self, stage: int, fixed: Params, tried: Container[Key]) -> Params | None:
        """An untried candidate of this stage, or of the following ones if all are in progress."""
        for later in range(stage, stage + len(self._choices)):
            for option in self._options(later, fixed).allowed:
                if _key(fixed | option) not in tried:
                    return fixed | option
        return None

    @cached_property
    def _first(self) -> Params:
        """Cells that pass their input through, and the smallest sizes."""
        states = self.space.states
        nothing = "zeroize" if "zeroize" in states else states[0]
        through = "skip" if "skip" in states else next(s for s in states if s != nothing)
        operations = [nothing] * len(EDGES)
        operations[STRAIGHT] = through
        cells = (Cell(tuple(operations)),) * self.space.cells
        sizes = {name: values[0] for name, values in self.space.sizes.items()}
        return self.space.parameters(self.space.assemble(cells, sizes, self.space.chip_at(0)))

    @cached_property
    def _choices(self) -> tuple[tuple[str, ...], ...]:
        """Parameters that are chosen together: those of a cell, every other one by itself."""
        cells = self.problem.edge_names
        edges = {name for names in cells for name in names}
        return (*cells, *((name,) for name in self.problem.distributions if name not in edges))

    def _quota(self, names: tuple[str, ...]) -> int:
        """How many candidates a choice compares.

        For a size all, or an equal share of a pass; for cells what remains.
        """
        trainings, cells = self.spec.search.trainings, len(self.problem.edge_names)
        share = max(1, trainings // len(self._choices))
        sizes = {n: min(share, len(self._values(n))) for n in self._choices[cells:]}
        return sizes.get(names, max(1, (trainings - sum(sizes.values())) // cells))

    def _values(self, names: tuple[str, ...]) -> list[Params]:
        """All values of these parameters."""
        if names in self.problem.edge_names:
            return [dict(zip(names, cell.operations, strict=True)) for cell in self._cells]
        return [{names[0]: value} for value in choices(self.problem.distributions[names[0]])]

    @cached_property
    def _cells(self) -> list[Cell]:
        """Connected cells; one of each function, dead edges off, unless genotypes are searched."""
        numbers = np.arange(self.space.cell_count)
        if len(numbers) > MOST_CELLS:
            numbers = self.rng(0).choice(numbers, MOST_CELLS, replace=False)
        cells = [cell for n in numbers.tolist() if (cell := self.space.cell(n)).connected]
        if self.space.literal:
            return cells
        return list({cell.canonical(): cell.live() for cell in cells}.values())

    def _options(self, stage: int, fixed: Params) -> Options:
        """What a stage can choose, given the fixed parameters."""
        known = stage, _key(fixed)
        if known not in self._known:
            choice = self._choices[stage % len(self._choices)]
            values = self._values(choice)
            order = np.random.default_rng((self.spec.seed, stage, 1)).permutation(len(values))
            shuffled = [values[n] for n in order.tolist()]
            over, passed_over = self._check([fixed | value for value in shuffled])
            if (over > 0).all():
                nearest = np.argsort(over, kind="stable")[: self._quota(choice)].tolist()
                self._known[known] = Options([shuffled[n] for n in nearest], Counter())
            else:
                kept = list(itertools.compress(shuffled, over <= 0))
                self._known[known] = Options(kept, passed_over)
        return self._known[known]

    def _check(self, candidates: list[Params]) -> tuple[NDArray[np.float64], Counter[str]]:
        """By how much candidates violate the checked budgets at the assumed spike rate [N], and how
        many each budget ruled out that the budgets before it let pass."""
        over, passed_over = np.zeros(len(candidates)), Counter[str]()
        for start in range(0, len(candidates), CHUNK):
            costs = self.problem.costs(self.problem.columns(candidates[start : start + CHUNK]))
            part = over[start : start + CHUNK]
            for budget in self._budgets:
                violation = budget.violation(costs[budget.name])
                passed_over[budget.name] += int(((part <= 0) & (violation > 0)).sum())
                part += np.maximum(violation, 0.0)
        return over, +passed_over


def spikenas(spec: StudySpec, density: InputDensity = ASSUMED) -> CellByCell:
    """SpikeNAS: only memory is checked before scoring."""
    return CellByCell(spec, MEMORY, density)


def neuronas(spec: StudySpec, density: InputDensity = ASSUMED) -> CellByCell:
    """NeuroNAS: memory, area, latency and energy are checked before scoring.

    Raises:
        SpecError: The study's order of checks names a metric without a budget, or one that is
            not known before a training.
    """
    checks = spec.search.constraint_order
    bounded = {c.metric for c in spec.constraints}
    if missing := [metric for metric in checks or () if metric not in bounded]:
        raise SpecError(f"search.constraint_order: the study has no budget on {missing[0]!r}")
    if unknown := [metric for metric in checks or () if not METRICS[metric].costed]:
        raise SpecError(
            f"search.constraint_order: {unknown[0]!r} is not a cost that is known beforehand"
        )
    return CellByCell(spec, HARDWARE if checks is None else checks, density)


def choices(distribution: BaseDistribution) -> tuple[Any, ...]:
    """Every value of a parameter of our spaces."""
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    assert isinstance(distribution, IntDistribution)  # noqa: S101  a space has no other
    return tuple(range(distribution.low, distribution.high + 1, distribution.step))


def _key(params: Params) -> Key:
    return tuple(sorted(params.items()))


def _best_option(options: list[Params], results: list[Any], direction: StudyDirection) -> Params:
    """The option that scored best within all budgets, or misses them least; a failed one last."""
    sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
    ranks = [_rank(t, sign) for t in results]
    return options[min(range(len(ranks)), key=ranks.__getitem__)] if ranks else {}


def _rank(trial: FrozenTrial, sign: float) -> tuple[float, float]:
    """Total violation, then the score, the less the better."""
    if trial.values is None:
        return math.inf, math.inf
    return float(total_violation(trial.constraints.values())), sign * trial.values[0]
