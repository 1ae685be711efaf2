"""The smallest change with which a rejected candidate would keep every budget.

N candidates, P parameters of their space, as codes: positions of values among the choices.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nas_service.evaluation.screening import Budgets
from nas_service.spaces.architecture import GLOBAL, Architecture
from nas_service.spaces.batch import batch_of_codes
from nas_service.spaces.cell_space import CellSpace

MOST = 6  # parameters changed
WHOLE = 20_000  # the most candidates that are costed exhaustively
WHOLE_DRAWN = 1000  # the same where bounds at a confidence need draws
BEAM = 16  # candidates from which a larger search continues

Codes = NDArray[np.intp]


@dataclass(frozen=True)
class Change:
    """One parameter with another value."""

    parameter: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.parameter} {self._shown(self.before)} -> {self._shown(self.after)}"

    def _shown(self, value: Any) -> str:
        return "global" if self.parameter == "head_pool" and value == GLOBAL else str(value)


@dataclass(frozen=True)
class Repair:
    """A candidate that keeps the budgets, and its changes from the one that does not."""

    architecture: Architecture
    changes: tuple[Change, ...]

    def __str__(self) -> str:
        return ", ".join(map(str, self.changes))


def repair(budgets: Budgets, architecture: Architecture) -> Repair | None:
    """The cheapest repair of a candidate that breaks a budget.

    It changes the fewest parameters, and among these repairs changes the bit operations
    (multiplications times bits of their weights) least. The search is exhaustive up to two
    changes, unless there are more than WHOLE pairs, and a beam search from there to MOST changes.

    Args:
        budgets: What to keep, and the space to search.
        architecture: The candidate.

    Returns:
        The repair, or None where none is found.

    Raises:
        SpecError: The candidate is not of the space.
    """
    space = budgets.workloads.space
    start = np.array(space.codes(architecture), dtype=np.intp)
    own = budgets.costed(batch_of_codes(space, start[None])).work[0]
    moves = _moves(space.choices, start)
    draws = any(c.confidence is not None for c in budgets.spec.constraints)
    limit = WHOLE_DRAWN if draws else WHOLE
    rows, exhaustive = start[None], True
    for _ in range(min(MOST, len(start))):
        rows = _changed(rows, start, moves, exhaustive)
        if not len(rows):
            return None
        costed = budgets.costed(batch_of_codes(space, rows))
        excess = budgets.excess(costed)
        if (excess <= 0).any():
            away = np.where(excess <= 0, np.abs(costed.work - own), np.inf)
            return _repair(budgets, start, rows[int(np.argmin(away))])
        exhaustive = exhaustive and len(rows) == len(moves) and len(moves) ** 2 / 2 <= limit
        if not exhaustive:
            rows = rows[np.argsort(excess, kind="stable")[:BEAM]]
    return None


def neighbours(space: CellSpace, codes: Codes) -> Codes:
    """Every candidate that differs from one in one parameter.

    Args:
        space: The space.
        codes: The candidate [P].

    Returns:
        Codes [M, P].
    """
    return _changed(codes[None], codes, _moves(space.choices, codes), exhaustive=True)


def _moves(choices: dict[str, tuple[Any, ...]], start: Codes) -> Codes:
    """Every other value of every parameter, as pairs of parameter and code [M, 2]."""
    counts = [len(values) for values in choices.values()]
    pairs = [(p, v) for p, n in enumerate(counts) for v in range(n) if v != start[p]]
    return np.array(pairs, dtype=np.intp).reshape(-1, 2)


def _changed(rows: Codes, start: Codes, moves: Codes, exhaustive: bool) -> Codes:
    """Rows with one more parameter changed, each once [N, P]."""
    parameters, values = moves.T
    allowed = rows[:, parameters] == start[parameters]
    if exhaustive:  # in ascending order of parameters each row is made once
        changed = rows != start
        last = np.where(changed.any(1), len(start) - 1 - np.argmax(changed[:, ::-1], 1), -1)
        allowed &= parameters > last[:, None]
    which, move = np.nonzero(allowed)
    changed_rows = rows[which]
    changed_rows[np.arange(len(which)), parameters[move]] = values[move]
    return changed_rows if exhaustive else np.unique(changed_rows, axis=0)


def _repair(budgets: Budgets, start: Codes, row: Codes) -> Repair:
    space = budgets.workloads.space
    changes = [
        Change(name, values[before], values[after])
        for (name, values), before, after in zip(
            space.choices.items(), start.tolist(), row.tolist(), strict=True
        )
        if before != after
    ]
    return Repair(batch_of_codes(space, row[None]).architecture(space, 0), tuple(changes))
