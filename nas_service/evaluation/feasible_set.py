"""The set of candidates that keep the budgets on counted metrics: its size, and uniform draws.

A counted metric depends on how often each cell uses each weighted operation, not on where. The
cells of a space therefore fall into a few classes, and one cell of each class is costed. These
metrics never fall when an empty edge gets an operation, so a choice of the first cells that breaks
a budget with all later cells empty excludes every candidate that begins with it: branch and bound
over the cells.

K cells that are drawn, P parameters, N leaves: choices of sizes and of one class for each cell.
"""

import itertools
import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from nas_service.evaluation.screening import Budgets
from nas_service.metrics import METRICS
from nas_service.snn.workload_cache import WorkloadCache
from nas_service.spaces.batch import CandidateBatch, batch_of_codes, digits_of, sample_batch
from nas_service.spaces.cell import EDGES
from nas_service.spaces.cell_table import ALL_CELLS
from nas_service.spaces.operations import OPERATIONS
from nas_service.study.sections import Constraint

LEAVES = 500_000  # a space with more of them is not counted
PROBED = 2000  # uniform draws from which the share of the set is estimated
CHUNK = 20_000  # candidates costed at once

Ints = NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class Classes:
    """Connected cells of a space, by how often they use each weighted operation."""

    first: Ints  # [Q] the number of one cell of each class
    members: tuple[Ints, ...]  # the numbers of all cells of each class
    empty: int  # the number of a cell that costs nothing

    @classmethod
    def of(cls, workloads: WorkloadCache) -> "Classes":
        """The classes of a space.

        Raises:
            ValueError: The space has too many cells, or an edge cannot be empty.
        """
        space = workloads.space
        if space.cell_count > ALL_CELLS or "zeroize" not in space.states:
            raise ValueError("no classes of cells")
        numbers = np.arange(space.cell_count)
        cells = workloads.live_operations_of(numbers)
        weighted = [i for i, n in enumerate(space.operations) if OPERATIONS[n].weighted]
        uses = np.stack([(cells == i).sum(-1) for i in weighted], -1)
        connected = np.flatnonzero((cells < len(space.operations)).any(-1))
        _, which = np.unique(uses[connected], axis=0, return_inverse=True)
        order = np.argsort(which.reshape(-1), kind="stable")
        ends = np.cumsum(np.bincount(which.reshape(-1)))[:-1]
        members = np.split(connected[order], ends)
        nothing = space.states.index("zeroize")
        empty = sum(nothing * len(space.states) ** e for e in range(len(EDGES)))
        return cls(np.array([m[0] for m in members]), tuple(members), empty)


@dataclass(frozen=True, eq=False)
class Counted:
    """Every choice of sizes and classes that keeps the budgets on counted metrics."""

    budgets: Budgets
    names: tuple[str, ...]  # of the counted metrics that have a budget
    classes: Classes
    leaves: Ints  # [N, K] classes
    sizes: Ints  # [N, P'] the codes of sizes and chip

    @property
    def count(self) -> int:
        """Exact number of connected candidates of the space that keep these budgets."""
        return sum(self._weights.astype(object).tolist())

    @cached_property
    def _weights(self) -> NDArray[np.int64]:
        """Number of candidates of each leaf [N]."""
        each = np.array([len(m) for m in self.classes.members], dtype=np.int64)
        return np.asarray(each[self.leaves].prod(-1))

    def draw(self, count: int, rng: np.random.Generator) -> Ints:
        """Draws uniformly from the set, with replacement.

        Args:
            count: Number of draws.
            rng: Source of the draws.

        Returns:
            Codes of the parameters [count, P].
        """
        shares = self._weights / self._weights.sum(dtype=np.float64)
        at = rng.choice(len(shares), count, p=shares)
        cells = np.empty((count, self.leaves.shape[1]), dtype=np.intp)
        for (n, k), q in np.ndenumerate(self.leaves[at]):
            members = self.classes.members[q]
            cells[n, k] = members[rng.integers(len(members))]
        return _codes(self.budgets.workloads, cells, self.sizes[at])

    @property
    def distinct_count(self) -> int:
        """Number of candidates that differ in more than their dead edges."""
        each = np.array([len(m) for m in self._live_members], dtype=np.int64).astype(object)
        return int(each[self.leaves].prod(-1).sum())

    def distinct(self) -> Ints:
        """Codes of the candidates that differ in more than their dead edges, each once [M, P]."""
        cells, sizes = [], []
        for kinds, own in zip(self.leaves, self.sizes, strict=True):
            members = np.meshgrid(*(self._live_members[q] for q in kinds), indexing="ij")
            cells.append(np.stack(members, -1).reshape(-1, len(kinds)))
            sizes.append(np.repeat(own[None], len(cells[-1]), axis=0))
        workloads = self.budgets.workloads
        return _codes(workloads, np.concatenate(cells), np.concatenate(sizes))

    @cached_property
    def _live_members(self) -> list[Ints]:
        """The cells of each class without those that differ from others in dead edges alone."""
        workloads = self.budgets.workloads
        if workloads.space.literal:
            return list(self.classes.members)
        lives = (workloads.live_operations_of(members) for members in self.classes.members)
        firsts = (np.unique(live, axis=0, return_index=True)[1] for live in lives)
        return [m[first] for m, first in zip(self.classes.members, firsts, strict=True)]

    def batch(self, count: int, rng: np.random.Generator) -> CandidateBatch:
        """The candidates of `draw`, whose arguments it takes."""
        return batch_of_codes(self.budgets.workloads.space, self.draw(count, rng))


def counted(
    budgets: Budgets, chosen_sizes: Ints | None = None, most: int = LEAVES
) -> Counted | None:
    """Counts the candidates that keep the budgets on counted metrics.

    Args:
        budgets: The budgets, and the space.
        chosen_sizes: Codes of the sizes to count, where not all [S, P'].
        most: A space with more classes is not counted.

    Returns:
        The set, or None where no counted metric has a budget or the space has too many classes.
    """
    space = budgets.workloads.space
    names = [c.metric for c in _counted_budgets(budgets)]
    try:
        classes = Classes.of(budgets.workloads)
    except ValueError:
        return None
    if not names or math.prod(_sizes(budgets)) > most:
        return None
    every = itertools.product(*map(range, _sizes(budgets)))
    sizes = np.array(list(every), dtype=np.intp) if chosen_sizes is None else chosen_sizes
    leaves = np.zeros((len(sizes), 0), dtype=np.intp)
    for _ in range(space.drawn_cells):
        kinds = len(classes.first)
        if len(leaves) * kinds > most:
            return None
        sizes = np.repeat(sizes, kinds, axis=0)
        leaves = np.column_stack(
            [np.repeat(leaves, kinds, axis=0), np.tile(np.arange(kinds), len(leaves))]
        )
        kept = _within(budgets, classes, leaves, sizes)
        leaves, sizes = leaves[kept], sizes[kept]
    return Counted(budgets, tuple(names), classes, leaves, sizes)


def share_counted(budgets: Budgets) -> float:
    """Share of uniform draws that keep the budgets on counted metrics; 1 where there are none."""
    costed = budgets.costed(sample_batch(budgets.workloads.space, PROBED, 0))
    kept = costed.connected
    for c in _counted_budgets(budgets):
        kept = kept & (c.violation(costed.metrics[c.measure]) <= 0)
    return float(kept.mean()) if _counted_budgets(budgets) else 1.0


def _counted_budgets(budgets: Budgets) -> list[Constraint]:
    constraints = budgets.spec.constraints
    return [c for c in constraints if c.at_most and METRICS[c.metric].counts_operations]


def leaves(budgets: Budgets) -> int:
    """Number of all choices of sizes and classes, the most that `counted` may have to cost."""
    weighted = sum(OPERATIONS[name].weighted for name in budgets.workloads.space.operations)
    classes = math.comb(weighted + len(EDGES), weighted)
    return int(classes**budgets.workloads.space.drawn_cells * math.prod(_sizes(budgets)))


def _sizes(budgets: Budgets) -> list[int]:
    """Number of choices of each parameter after the cells."""
    space = budgets.workloads.space
    counts = [len(values) for values in space.choices.values()]
    return counts[len(EDGES) * space.drawn_cells :]


def _within(budgets: Budgets, classes: Classes, leaves: Ints, sizes: Ints) -> NDArray[np.bool_]:
    """Choices of the first cells that keep the budgets with all later cells empty [N]."""
    space, kept = budgets.workloads.space, np.ones(len(leaves), dtype=np.bool_)
    cells = np.full((len(leaves), space.drawn_cells), classes.empty, dtype=np.intp)
    cells[:, : leaves.shape[1]] = classes.first[leaves]
    for start in range(0, len(leaves), CHUNK):
        part = slice(start, start + CHUNK)
        rows = batch_of_codes(space, _codes(budgets.workloads, cells[part], sizes[part]))
        metrics = budgets.costed(rows).metrics
        for c in _counted_budgets(budgets):
            kept[part] &= c.violation(metrics[c.measure]) <= 0
    return kept


def _codes(workloads: WorkloadCache, cells: Ints, sizes: Ints) -> Ints:
    """Codes of candidates from the numbers of their cells [N, K] and the rest [N, P']."""
    digits = digits_of(cells, len(workloads.space.states))
    return np.concatenate([digits.reshape(len(cells), -1), sizes], axis=1)
