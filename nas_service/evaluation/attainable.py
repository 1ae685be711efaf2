"""The best value that a space has for each budget of a study, and what keeps all of them together.

The least parameters, memory, area and dense operations of a space are exact and need no wiring:
these figures never fall when an edge, a channel, a hidden neuron, a time step or a bit is added, so
they are those of the smallest cells and sizes. Other figures come from a census of the space, or of
a sample of it.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_service.evaluation.census import Census, census
from nas_service.evaluation.repair import neighbours, repair
from nas_service.evaluation.screening import Budgets
from nas_service.metrics import METRICS
from nas_service.spaces.batch import batch_of_codes
from nas_service.spaces.cell import EDGE_NAMES
from nas_service.spaces.cell_space import CellSpace
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.spaces.operations import OPERATIONS
from nas_service.study.sections import Constraint
from nas_service.study.spec import StudySpec

GROWING = ("channels", "hidden", "weight_bits", "time_steps")  # beginnings of the names of sizes
WITHOUT_EFFECT = ("threshold",)  # on counted metrics
MOST = 20_000  # candidates costed for the exact figures
CHIPS = 100  # different chips costed for them
WHOLE, SAMPLE = 100_000, 10_000  # a larger space is sampled
SAMPLE_DRAWN = 500  # the same where bounds at a confidence need draws

Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Attainable:
    """The best value of a space for one budget: the least for `at_most`, else the most."""

    constraint: Constraint
    value: float
    is_exact: bool  # of the whole space; False: of those that were costed

    @property
    def is_kept(self) -> bool:
        """True where this value keeps the budget."""
        return bool(self.constraint.violation(self.value) <= 0)

    @property
    def is_impossible(self) -> bool:
        """True where certainly no candidate keeps the budget."""
        return self.is_exact and not self.is_kept

    def to_json(self) -> dict[str, Any]:
        """The budget, its best value, and whether that is the whole space's."""
        limit = self.constraint.model_dump(exclude_none=True)
        return {**limit, "best": self.value, "exact": self.is_exact, "kept": self.is_kept}

    def __str__(self) -> str:
        word = "least" if self.constraint.at_most is not None else "most"
        seen = "" if self.is_exact else " seen"
        text = f"{word}{seen} {self.constraint.shown(self.value)}"
        if not self.is_kept:
            text += ", cannot be kept" if self.is_exact else ", not kept"
        return text


@dataclass(frozen=True)
class Prospects:
    """What a space has within the budgets of a study, from costs alone."""

    attainable: tuple[Attainable, ...]  # of the budgets on costs, in the order of the study
    census: Census
    is_impossible: bool  # certainly no candidate keeps all budgets
    is_near: bool = False  # none of the sample keeps all budgets, but a change of the nearest does

    def is_below(self, spec: StudySpec) -> bool:
        """True where a space that was costed whole has fewer candidates than trainings."""
        within = self.census.feasible * self.census.candidates
        return self.census.exhaustive and 0 < round(within) < spec.search.trainings

    @property
    def together(self) -> str:
        """How many candidates keep all budgets, and how many were costed, in words."""
        count, share = self.census.candidates, self.census.feasible
        whole = self.census.exhaustive
        those = f"all {count:,} candidates" if whole else f"{count:,} sampled candidates"
        if share:
            number = f"{round(share * count):,} ({100 * share:.2g} %)"
            return f"together kept by {number if whole else f'{100 * share:.2g} %'} of {those}"
        if self.is_impossible and not whole:
            return "together kept by no candidate of the space"
        near = ", but by others near them" if self.is_near else ""
        return f"together kept by none of {those}{near}"

    def to_json(self) -> dict[str, Any]:
        """The best values, and the share of candidates that keep all budgets."""
        return {
            "budgets": [x.to_json() for x in self.attainable],
            "candidates": self.census.candidates,
            "exhaustive": self.census.exhaustive,
            "feasible": self.census.feasible,
            "impossible": self.is_impossible,
        }


def exact_attainable(budgets: Budgets) -> tuple[Attainable, ...]:
    """The exact best values of the budgets on counted metrics, which need no wiring.

    Args:
        budgets: The budgets, and the space.

    Returns:
        One entry for each budget on parameters, memory, area and other counted metrics, unless it
        is at a confidence, or the space has too many chips or no smallest cell.
    """
    known: list[Attainable] = []
    for c in budgets.spec.constraints:
        if METRICS[c.metric].counts_operations and c.confidence is None:
            rows = _extremes(budgets.workloads.space, least=c.at_most is not None)
            if rows is not None:
                known.append(Attainable(c, _best(budgets, c, rows), is_exact=True))
    return tuple(known)


def least_memory_GiB(budgets: Budgets) -> float | None:
    """The least memory that the training of a candidate may take, exactly; None where unknown."""
    rows = _extremes(budgets.workloads.space, least=True)
    if rows is None:
        return None
    costed = budgets.costed(batch_of_codes(budgets.workloads.space, rows))
    return float(costed.memory_GiB[costed.connected].min())


def prospects(
    spec: StudySpec, limit: int | None = None, density: InputDensity = ASSUMED
) -> Prospects:
    """What a study's space has within its budgets.

    Args:
        spec: The study.
        limit: The most candidates that are costed; by default a space of up to WHOLE is costed
            whole, and a larger one sampled.
        density: Of the bits of the study's data.

    Returns:
        Best values and shares, exact where the census of the space is.
    """
    budgets = Budgets.of(spec, density)
    if limit is None:
        limit = WHOLE if budgets.workloads.space.size <= WHOLE else SAMPLE
        if any(c.confidence is not None for c in spec.constraints):
            limit = SAMPLE_DRAWN
    counts = census(spec, limit, density=density)
    exact = {x.constraint: x for x in exact_attainable(budgets)}
    known = [
        exact.get(c) or _seen(budgets, c, counts)
        for c in spec.constraints
        if spec.constraint_name(c) in counts.best
    ]
    impossible = _is_impossible(budgets, counts, known)
    is_near = False
    if not impossible and not counts.feasible and counts.nearest is not None:
        is_near = repair(budgets, counts.nearest) is not None
    return Prospects(tuple(known), counts, impossible, is_near)


def _is_impossible(budgets: Budgets, counts: Census, known: Sequence[Attainable]) -> bool:
    """True where certainly no candidate is trained, or none could keep the budgets."""
    complete = counts.exhaustive and all(x.constraint.grows for x in known)
    if not counts.feasible and (complete or counts.survivors == 0):
        return True
    memory_GiB = least_memory_GiB(budgets) or 0.0
    too_large = memory_GiB > budgets.spec.training.memory_GiB
    return too_large or any(x.is_impossible for x in known)


def _seen(budgets: Budgets, constraint: Constraint, counts: Census) -> Attainable:
    """The best value of a census; of a sample, or of a descent from the smallest candidate."""
    value = counts.best[budgets.spec.constraint_name(constraint)]
    start = _extremes(budgets.workloads.space, least=True)
    if not counts.exhaustive and start is not None:
        value = _better(constraint, value, _descended(budgets, constraint, start[0]))
    return Attainable(constraint, value, counts.exhaustive and constraint.grows)


def _descended(budgets: Budgets, constraint: Constraint, codes: Codes) -> float:
    """The best value that is reached from a candidate [P] by changes of one parameter each."""
    value = _values(budgets, constraint, codes[None])[0]
    while True:
        rows = neighbours(budgets.workloads.space, codes)
        values = _values(budgets, constraint, rows)
        at = int(np.argmin(values) if constraint.at_most is not None else np.argmax(values))
        if _better(constraint, value, values[at]) == value:
            return float(value)
        codes, value = rows[at], values[at]


def _better(constraint: Constraint, one: float, other: float) -> float:
    return min(one, other) if constraint.at_most is not None else max(one, other)


def _values(budgets: Budgets, constraint: Constraint, rows: Codes) -> NDArray[np.float64]:
    """The constraint's measure of candidates [N]; of those without a path the worst."""
    costed = budgets.costed(batch_of_codes(budgets.workloads.space, rows))
    worst = np.inf if constraint.at_most is not None else -np.inf
    return np.where(costed.connected, costed.metrics[constraint.measure], worst)


def _best(budgets: Budgets, constraint: Constraint, rows: Codes) -> float:
    values = _values(budgets, constraint, rows)
    return float(values.min() if constraint.at_most is not None else values.max())


def _extremes(space: CellSpace, *, least: bool) -> Codes | None:
    """Codes of the candidates among which the least, or the most, of each counted metric is."""
    cells = _least_cells(space) if least else _uniform_cells(space)
    choices = list(space.choices.items())[len(EDGE_NAMES) * space.drawn_cells :]
    sizes = [_extreme_codes(name, len(values), least=least) for name, values in choices]
    count = len(cells) ** space.drawn_cells * math.prod(map(len, sizes))
    if not cells or count > MOST or space.chip_count > CHIPS:
        return None
    kinds = itertools.product(cells, repeat=space.drawn_cells)
    chosen = itertools.product((sum(cells, ()) for cells in kinds), itertools.product(*sizes))
    return np.array([(*edges, *values) for edges, values in chosen], dtype=np.intp)


def _extreme_codes(name: str, count: int, *, least: bool) -> list[int]:
    if name.startswith(WITHOUT_EFFECT):
        return [0]
    if name.startswith(GROWING):
        return [0 if least else count - 1]
    return list(range(count))  # poolings and settings of the chip, in no such order


def _least_cells(space: CellSpace) -> list[tuple[int, ...]]:
    """Codes of cells of which one costs least: nothing but one edge, or edges without weights."""
    states = space.states
    if "zeroize" in states:
        edge, nothing = EDGE_NAMES.index("03"), states.index("zeroize")
        cells = [[nothing] * len(EDGE_NAMES) for _ in _carrying(space)]
        for cell, operation in zip(cells, _carrying(space), strict=True):
            cell[edge] = operation
        return [tuple(cell) for cell in cells]
    unweighted = any(not OPERATIONS[states[n]].weighted for n in _carrying(space))
    return [] if space.backward and not unweighted else _uniform_cells(space)


def _uniform_cells(space: CellSpace) -> list[tuple[int, ...]]:
    """Codes of cells with one operation on every edge."""
    return [(n,) * len(EDGE_NAMES) for n in _carrying(space)]


def _carrying(space: CellSpace) -> list[int]:
    """Positions of the operations among the states that carry something forward."""
    return [space.states.index(name) for name in space.operations if OPERATIONS[name].carries]
