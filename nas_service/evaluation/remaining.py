"""The candidates that a study can still train, where its space or its budgets leave only a few."""

from collections.abc import Container
from dataclasses import dataclass

import numpy as np

from nas_service.evaluation.feasible_set import counted
from nas_service.evaluation.screening import Budgets
from nas_service.spaces.batch import CandidateBatch, batch_of_codes, batch_of_numbers, sample_batch
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.spec import StudySpec

ENUMERABLE = 4096  # candidates: up to this number they are enumerated
PROBED = 2000  # uniform draws of a larger space
MANY = 20  # different ones within the budgets, and no repeat among them: there are many more
LEAVES = 60_000  # classes of a larger space that are costed to count these


@dataclass(frozen=True)
class Enumerated:
    """Digests of all candidates of a small space, and of those within the budgets of any space.

    Budgets are those on costs before a training. A set is empty where it is not enumerated.
    """

    everything: frozenset[str] = frozenset()
    within: frozenset[str] = frozenset()

    def is_exhausted(self, known: Container[str]) -> bool:
        """True where all candidates of the space are known."""
        return bool(self.everything) and all(digest in known for digest in self.everything)

    def is_spent(self, known: Container[str]) -> bool:
        """True where some candidates are within the budgets, and all of these are known."""
        return bool(self.within) and all(digest in known for digest in self.within)


def enumerated(spec: StudySpec, density: InputDensity = ASSUMED) -> Enumerated:
    """The candidates of a study that a search can exhaust.

    Args:
        spec: The study.
        density: Of the bits of its data.

    Returns:
        Digests of up to ENUMERABLE genotypes; of a larger space those within the budgets, where
        the budgets on counted metrics leave no more.
    """
    budgets = Budgets.of(spec, density)
    space = budgets.workloads.space
    if space.size <= ENUMERABLE:
        batch = batch_of_numbers(space, np.arange(space.size))
        digests = [batch.architecture(space, n).digest for n in range(len(batch))]
        kept = _within(budgets, batch)
        return Enumerated(frozenset(digests), frozenset(digests[n] for n in kept))
    if _has_many_within(budgets, spec.seed):
        return Enumerated()
    few = counted(budgets, most=LEAVES)
    if few is None or not 0 < few.distinct_count <= ENUMERABLE:
        return Enumerated()
    batch = batch_of_codes(space, few.distinct())
    kept = _within(budgets, batch)
    return Enumerated(within=frozenset(batch.architecture(space, n).digest for n in kept))


def _has_many_within(budgets: Budgets, seed: int) -> bool:
    space = budgets.workloads.space
    batch = sample_batch(space, PROBED, seed)
    digests = [batch.architecture(space, n).digest for n in _within(budgets, batch)[: PROBED // 10]]
    return len(digests) >= MANY and len(set(digests)) == len(digests)


def _within(budgets: Budgets, batch: CandidateBatch) -> list[int]:
    """Positions of the candidates that are trained when they are proposed."""
    return np.flatnonzero(budgets.excess(budgets.costed(batch)) <= 0).tolist()
