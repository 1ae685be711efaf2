"""Successive halving over a study's ladder of epochs: which candidate's training goes on next.

Asynchronous, after Li et al. (ASHA, MLSys 2020): nobody waits until a rung is full. Ranks are
those of constrained domination (Deb et al., 2002). N candidates, M objectives, all minimised.
"""

from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nas_service.samplers.greybox.pareto import exclusive
from nas_service.store.store import Promote, Promotion, RungResult
from nas_service.study.spec import StudySpec

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class SuccessiveHalving:
    """The steps of a study: the epochs at which candidates are compared, and the last one.

    `held` are candidates that some trial has in hand, and those that failed or diverged: they keep
    their places among the best, but do not go on.
    """

    spec: StudySpec
    eta: int

    @property
    def steps(self) -> tuple[int, ...]:
        return self.spec.steps

    def promotion(
        self, measured: Collection[RungResult], held: Container[str], over: bool
    ) -> Promotion | None:
        """Who goes on to the next step; None where nobody does.

        From the top down, the best floor(n / eta) of the n candidates that have come to a rung, by
        what they had there. When all else is `over`, one more at a time until somebody feasible
        stands at the last step, or where nothing was feasible until somebody stands there.
        """
        found = next(self._able(measured, held, self.eta), None)
        if found is None and over:
            found = next(iter(self._last_resort(measured, held)), None)
        return found

    def ranked(self, measured: Collection[RungResult], rung: int) -> list[RungResult]:
        """Candidates as they stood at a rung, the best first."""
        there = sorted((s for s in measured if s.epochs == rung), key=lambda s: s.trial)
        points = np.array([self.spec.scaled(s.metrics) for s in there], dtype=np.float64)
        excess = np.array([self.excess(s) for s in there], dtype=np.float64)
        return [there[i] for i in order(points, excess)] if there else []

    def excess(self, s: RungResult) -> float:
        """Sum of the violations of the budgets; 0 where all are kept."""
        return sum(max(0.0, v) for v in self.spec.known_violations(s.metrics).values())

    def _able(
        self, measured: Collection[RungResult], held: Container[str], eta: int
    ) -> Iterator[Promotion]:
        """Those among the best that have not gone on; with `eta` 1 all are among them."""
        farthest: dict[str, int] = {}
        for s in measured:
            farthest[s.digest] = max(s.epochs, farthest.get(s.digest, 0))
        for rung, step in list(zip(self.steps, self.steps[1:], strict=False))[::-1]:
            ranked = self.ranked(measured, rung)
            for s in ranked[: len(ranked) // eta]:
                if farthest[s.digest] < step and s.digest not in held:
                    yield Promotion(s, step)

    def _last_resort(
        self, measured: Collection[RungResult], held: Container[str]
    ) -> list[Promotion]:
        there = [s for s in measured if s.epochs == self.steps[-1]]
        if any(not self.excess(s) for s in there):
            return []
        left = list(self._able(measured, held, 1))
        feasible = [p for p in left if not self.excess(p.standing)]
        return feasible or ([] if there else left)


def promote_by(spec: StudySpec) -> Promote | None:
    """What a store asks, in a study with successive halving."""
    return (
        None
        if spec.search.halving is None
        else SuccessiveHalving(spec, spec.search.halving).promotion
    )


def order(points: Floats, excess: Floats) -> list[int]:
    """Indices of candidates [N, M], the best first; of equals the one that comes first.

    Those within their budgets stand before the others, who follow by their excess [N]. They go
    front after front, within one by `spread`.
    """
    within, outside = np.flatnonzero(excess <= 0), np.flatnonzero(excess > 0)
    found: list[int] = []
    while len(within):
        best = within[front(points[within])]
        found += best[spread(points[best])].tolist()
        within = np.setdiff1d(within, best)
    found += outside[np.argsort(excess[outside], kind="stable")].tolist()
    return found


def front(points: Floats) -> NDArray[np.bool_]:
    """Which of the points [N, M] no other one dominates."""
    no_worse = (points[:, None] <= points[None]).all(-1)
    better = (points[:, None] < points[None]).any(-1)
    return np.asarray(~(no_worse & better).any(0))


def spread(points: Floats) -> list[int]:
    """Points of one front [N, M] in an order: what adds most to the volume between those before it
    and the reference 1; what adds nothing by crowding distance."""
    left, chosen = list(range(len(points))), list[int]()
    while left:
        gains = exclusive(np.maximum(points[left], 0.0), np.maximum(points[chosen], 0.0))
        inside = np.where((points[left] < 1).all(1), gains, 0.0)
        if inside.max() <= 0:
            break
        chosen.append(left.pop(int(inside.argmax())))
    lonely = crowding(points)
    return chosen + sorted(left, key=lambda i: -lonely[i])


def crowding(points: Floats) -> Floats:
    """Crowding distance of each point of a front [N]: infinite at the ends of an objective."""
    found = np.zeros(len(points))
    for column in points.T:
        ranked = np.argsort(column, kind="stable")
        span = column[ranked[-1]] - column[ranked[0]]
        if span > 0:
            found[ranked[1:-1]] += (column[ranked[2:]] - column[ranked[:-2]]) / span
            found[ranked[[0, -1]]] = np.inf
    return found
