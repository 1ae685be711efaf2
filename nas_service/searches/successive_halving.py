"""Successive halving over the rungs of a study: which candidate's training is continued next.

Asynchronous, after Li et al. (ASHA, MLSys 2020): no worker waits until a rung is full. Candidates
are ranked by constrained domination.
"""

from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass

import numpy as np

from nas_service.samplers.greybox.pareto import constrained_order
from nas_service.store.records import Promote, Promotion, RungResult
from nas_service.study.rejection import total_violation
from nas_service.study.spec import StudySpec


@dataclass(frozen=True, eq=False)
class SuccessiveHalving:
    """The rungs of a study, the epochs at which candidates are compared and promoted."""

    spec: StudySpec
    reduction_factor: int

    @property
    def steps(self) -> tuple[int, ...]:
        """The rungs and the last epoch."""
        return self.spec.steps

    def promotion(
        self, measured: Collection[RungResult], held: Container[str], over: bool
    ) -> Promotion | None:
        """The candidate to train to the next rung; None where there is none.

        From the last rung to the first, the best floor(n / reduction factor) of the n candidates
        measured at a rung are promoted. When nothing else is left to do (`over`), one more
        candidate at a time is promoted until a feasible one is measured at the last epoch, or
        where none is feasible, until any is.

        Args:
            measured: All results of the study at its rungs.
            held: Digests of candidates that a trial trains now, and of those that failed or
                diverged: these keep their ranks but are not promoted.
            over: True where no other trial is running or to be proposed.

        Returns:
            The candidate and the epoch to train it to, or None.
        """
        promotion = next(self._promotable(measured, held, self.reduction_factor), None)
        if promotion is None and over:
            promotion = next(iter(self._last_resort(measured, held)), None)
        return promotion

    def ranked(self, measured: Collection[RungResult], rung: int) -> list[RungResult]:
        """The results at one rung, the best first.

        Args:
            measured: All results of the study at its rungs.
            rung: The epoch.

        Returns:
            The results, ordered by constrained domination.
        """
        results = sorted((r for r in measured if r.epochs == rung), key=lambda r: r.trial)
        points = np.array([self.spec.scaled(r.metrics) for r in results], dtype=np.float64)
        excess = np.array([self.excess(r) for r in results], dtype=np.float64)
        return [results[i] for i in constrained_order(points, excess)] if results else []

    def excess(self, result: RungResult) -> float:
        """Sum of the violations of the budgets; 0 where the candidate keeps all."""
        return float(total_violation(self.spec.known_violations(result.metrics).values()))

    def _promotable(
        self, measured: Collection[RungResult], held: Container[str], reduction_factor: int
    ) -> Iterator[Promotion]:
        """The best of each rung that are measured at no later one; with a factor of 1 all are."""
        last: dict[str, int] = {}
        for result in measured:
            last[result.digest] = max(result.epochs, last.get(result.digest, 0))
        for rung, step in list(zip(self.steps, self.steps[1:], strict=False))[::-1]:
            ranked = self.ranked(measured, rung)
            for result in ranked[: len(ranked) // reduction_factor]:
                if last[result.digest] < step and result.digest not in held:
                    yield Promotion(result, step)

    def _last_resort(
        self, measured: Collection[RungResult], held: Container[str]
    ) -> list[Promotion]:
        finished = [r for r in measured if r.epochs == self.steps[-1]]
        if any(not self.excess(r) for r in finished):
            return []
        left = list(self._promotable(measured, held, 1))
        feasible = [p for p in left if not self.excess(p.result)]
        return feasible or ([] if finished else left)


def promote_by(spec: StudySpec) -> Promote | None:
    """The rule by which a store promotes candidates; None without successive halving."""
    factor = spec.search.reduction_factor
    return None if factor is None else SuccessiveHalving(spec, factor).promotion
