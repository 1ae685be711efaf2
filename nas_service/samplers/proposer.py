"""The algorithms that this project builds on: SNASNet's, and those after SpikeNAS and NeuroNAS.

All three were published for a score that needs no training; here they propose, and the study's
first objective scores. Of SpikeNAS (arXiv 2402.11322) and NeuroNAS (arXiv 2407.00641) the abstracts
were read, so what is not said there is ours: a cell that is not searched yet lets its input
through, and sizes are chosen behind the cells, one after the other.
"""

import itertools
from abc import abstractmethod
from collections import Counter
from collections.abc import Container, Sequence
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from optuna.samplers import BaseSampler, RandomSampler
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from nas_service.errors import SpecError
from nas_service.metrics import METRICS
from nas_service.rejection import MEMORY as MEMORY_OF_TRAINING
from nas_service.rejection import total_violation
from nas_service.samplers import PASSED_OVER
from nas_service.samplers.greybox import Bound
from nas_service.samplers.greybox_cells import CellProblem
from nas_service.spaces.batch import sampled
from nas_service.spaces.cell import EDGES, OUTPUT, Cell
from nas_service.study.spec import StudySpec

MEMORY = ("parameters", "memory_KiB")
HARDWARE = (*MEMORY, "area_mm2", "latency_ms", "energy_uJ")
CELLS_AT_MOST = 20_000  # genotypes of a cell among which functions are looked for
CHUNK = 2000  # candidates costed at once
STRAIGHT = EDGES.index((0, OUTPUT))

Params = dict[str, Any]
Key = tuple[tuple[str, Any], ...]


class Proposer(BaseSampler):
    """A sampler that names whole candidates of a study's space."""

    def __init__(self, spec: StudySpec) -> None:
        self.spec, self.box = spec, CellProblem(spec)
        self.space = self.box.space
        self._random = RandomSampler(seed=spec.seed)

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        return self.box.distributions

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> Params:
        return self.propose(study, trial)

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        return self._random.sample_independent(study, trial, param_name, param_distribution)

    @abstractmethod
    def propose(self, study: Study, trial: FrozenTrial) -> Params:
        """Parameters of the next candidate."""

    def die(self, number: int) -> np.random.Generator:
        return np.random.default_rng((self.spec.seed, number))

    def drawn(self, die: np.random.Generator) -> Params:
        """A fair draw."""
        found = sampled(self.space, 1, int(die.integers(2**31)))
        return self.space.parameters(found.architecture(self.space, 0))


class SNASNet(Proposer):
    """SNASNet's random search (Kim et al., ECCV 2022): edge 03 carries something, dead edges carry
    nothing, all cells are alike. It knows no budgets."""

    def propose(self, study: Study, trial: FrozenTrial) -> Params:
        die = self.die(trial.number)
        states = accepted(self.space.states, die).operations
        cells = [zip(names, states, strict=True) for names in self.box.edge_names]
        return self.drawn(die) | {name: state for cell in cells for name, state in cell}


def accepted(states: Sequence[str], die: np.random.Generator) -> Cell:
    """A cell by SNASNet's rule."""
    while True:
        cell = Cell(tuple(states[i] for i in die.integers(len(states), size=len(EDGES))))
        if any(edge.name == "03" for edge in cell.edges):
            return cell.live()


class CellByCell(Proposer):
    """Over functions of the first cell with all else fixed, then of the next, then over each size,
    each time keeping the best. What breaks a budget on a metric of `checked` is passed over.

    One pass spends the study's trainings; what is left goes into further passes. A choice is made
    when all that was to be compared for it is finished; until then idle workers look further.
    """

    def __init__(self, spec: StudySpec, checked: Sequence[str]) -> None:
        super().__init__(spec)
        budgets = (c for metric in checked for c in spec.constraints if c.metric == metric)
        self._budgets = [Bound(c.measure, c.at_most, c.at_least) for c in budgets]
        self._budgets.append(Bound(MEMORY_OF_TRAINING, at_most=spec.training.memory_GiB))
        self._known: dict[tuple[int, Key], list[Params]] = {}
        self._passed: dict[tuple[int, Key], Counter[str]] = {}

    def propose(self, study: Study, trial: FrozenTrial) -> Params:
        """The next candidate; its trial notes what the checks of all choices so far ruled out."""
        ways: list[tuple[int, Key]] = []
        found = self._next(study, trial, ways)
        passed = sum((self._passed[way] for way in ways), Counter[str]())
        study._storage.set_trial_user_attr(trial._trial_id, PASSED_OVER, dict(passed))
        return found

    def _next(self, study: Study, trial: FrozenTrial, ways: list[tuple[int, Key]]) -> Params:
        trials = [t for t in study.get_trials(deepcopy=False) if t.number != trial.number]
        tried = {_key(t.params): t for t in trials if t.state != TrialState.FAIL}
        fixed, settled, stage = self._first, 0, 0
        while settled < len(self._choices):
            names = self._choices[stage % len(self._choices)]
            options = self._options(stage, fixed)
            ways.append((stage, _key(fixed)))
            compared = options[: self._quota(names)]
            results = [tried.get(_key(fixed | option)) for option in compared]
            if not all(t is not None and t.state.is_finished() for t in results):
                return self._new(stage, fixed, tried) or self.drawn(self.die(trial.number))
            whole = len(compared) == len(options)
            if stage:  # what is kept so far was compared before
                compared, results = [{}, *compared], [tried[_key(fixed)], *results]
            best = fixed | _best(compared, results, study.directions[0])
            whole = whole and best == fixed
            settled = settled + 1 if whole else 0
            fixed, stage = best, stage + 1
        return self.drawn(self.die(trial.number))

    def _new(self, stage: int, fixed: Params, tried: Container[Key]) -> Params | None:
        """What is not tried yet of this stage; where all is under way, of those that follow."""
        for later in range(stage, stage + len(self._choices)):
            new = (fixed | option for option in self._options(later, fixed))
            if (found := next((p for p in new if _key(p) not in tried), None)) is not None:
                return found
        return None

    @cached_property
    def _first(self) -> Params:
        """Cells that let their input through, and the smallest sizes."""
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
        """Parameters that are chosen together: those of a cell, any other alone."""
        cells = self.box.edge_names
        alone = (n for n in self.box.distributions if not any(n in names for names in cells))
        return (*cells, *((name,) for name in alone))

    def _quota(self, names: tuple[str, ...]) -> int:
        """Candidates that a choice is made among: of a size all, or an equal share of a pass; of
        cells what is left."""
        trainings, cells = self.spec.search.trainings, len(self.box.edge_names)
        share = max(1, trainings // len(self._choices))
        taken = {n: min(share, len(self._values(n))) for n in self._choices[cells:]}
        return taken.get(names, max(1, (trainings - sum(taken.values())) // cells))

    def _values(self, names: tuple[str, ...]) -> list[Params]:
        """All that can be chosen for these parameters."""
        if names in self.box.edge_names:
            return [dict(zip(names, cell.operations, strict=True)) for cell in self._cells]
        return [{names[0]: value} for value in choices(self.box.distributions[names[0]])]

    @cached_property
    def _cells(self) -> list[Cell]:
        """Connected cells; one of each function, dead edges off, unless genotypes are searched."""
        numbers = np.arange(self.space.cell_count)
        if len(numbers) > CELLS_AT_MOST:
            numbers = self.die(0).choice(numbers, CELLS_AT_MOST, replace=False)
        cells = [cell for n in numbers.tolist() if (cell := self.space.cell(n)).connected]
        if self.space.literal:
            return cells
        return list({cell.canonical(): cell.live() for cell in cells}.values())

    def _options(self, stage: int, fixed: Params) -> list[Params]:
        """What this stage may choose among, in an order by chance."""
        known = stage, _key(fixed)
        if known not in self._known:
            values = self._values(self._choices[stage % len(self._choices)])
            order = np.random.default_rng((self.spec.seed, stage, 1)).permutation(len(values))
            shuffled = [values[n] for n in order.tolist()]
            kept, self._passed[known] = self._within([fixed | value for value in shuffled])
            self._known[known] = list(itertools.compress(shuffled, kept))
        return self._known[known]

    def _within(self, listed: list[Params]) -> tuple[NDArray[np.bool_], Counter[str]]:
        """Which candidates keep the checked budgets at the assumed spike rate [N], and how many
        each check ruled out that those before it let through."""
        kept, passed = np.ones(len(listed), dtype=np.bool_), Counter[str]()
        for start in range(0, len(listed) if self._budgets else 0, CHUNK):
            costs = self.box.costs(self.box.columns(listed[start : start + CHUNK]))
            these = kept[start : start + CHUNK]
            for budget in self._budgets:
                over = these & (budget.violation(costs[budget.name]) > 0)
                passed[budget.name] += int(over.sum())
                these &= ~over
        return kept, +passed


def _key(params: Params) -> Key:
    return tuple(sorted(params.items()))


def choices(distribution: BaseDistribution) -> tuple[Any, ...]:
    """Every value of a parameter of our spaces."""
    if isinstance(distribution, CategoricalDistribution):
        return tuple(distribution.choices)
    assert isinstance(distribution, IntDistribution)  # noqa: S101  a space has no other
    return tuple(range(distribution.low, distribution.high + 1, distribution.step))


def _best(compared: list[Params], results: list[Any], direction: StudyDirection) -> Params:
    """What scored best within all budgets; where nothing is, what misses them least."""
    sign = -1.0 if direction == StudyDirection.MAXIMIZE else 1.0
    ranks = [(_excess(t), sign * t.values[0]) for t in results]
    return compared[min(range(len(ranks)), key=ranks.__getitem__)] if ranks else {}


def _excess(trial: FrozenTrial) -> float:
    """Violations of a finished trial; 0 within all budgets."""
    return float(total_violation(trial.constraints.values()))


def snasnet(spec: StudySpec) -> BaseSampler:
    return SNASNet(spec)


def spikenas(spec: StudySpec) -> BaseSampler:
    """Only memory is looked at before scoring."""
    return CellByCell(spec, MEMORY)


def neuronas(spec: StudySpec) -> BaseSampler:
    """Memory, area, latency and energy are looked at before scoring, in the order of the study's
    `checks`; what is not among these is not."""
    checks = spec.search.constraint_order
    bounded = {c.metric for c in spec.constraints}
    if missing := [metric for metric in checks or () if metric not in bounded]:
        raise SpecError(f"search.constraint_order: the study has no budget on {missing[0]!r}")
    unknown = [m for m in checks or () if not METRICS[m].costed]
    if unknown:
        raise SpecError(f"search.constraint_order: {unknown[0]!r} is no cost that is known before")
    return CellByCell(spec, HARDWARE if checks is None else checks)
