"""The candidates that a study can still train, where its space or its budgets leave only a few."""

from collections.abc import Container, Iterable
from dataclasses import dataclass

import numpy as np

from nas_service.evaluation.feasible_set import counted
from nas_service.evaluation.screening import Budgets
from nas_service.spaces.batch import CandidateBatch, batch_of_codes, batch_of_numbers, sample_batch
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.spec import StudySpec

ENUMERABLE = 4096  # candidates: up to this number they are enumerated
COSTED = 20_000  # genotypes: up to this number all are costed
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
        Digests of up to ENUMERABLE genotypes, and of up to ENUMERABLE candidates within the
        budgets, where the space has at most COSTED, or the budgets on counted metrics leave few.
    """
    budgets = Budgets.of(spec, density)
    space = budgets.workloads.space
    is_drawn = any(c.confidence is not None for c in spec.constraints)  # which is slow
    if space.size > COSTED:
        return Enumerated() if is_drawn else Enumerated(within=_few_within(budgets))
    batch = batch_of_numbers(space, np.arange(space.size))
    kept = [] if is_drawn else _within(budgets, batch)
    everything = range(len(batch)) if len(batch) <= ENUMERABLE else ()
    within = kept if len(kept) <= ENUMERABLE else ()
    return Enumerated(_digests(budgets, batch, everything), _digests(budgets, batch, within))


def _few_within(budgets: Budgets) -> frozenset[str]:
    """The candidates within the budgets of a large space; empty where they are not few."""
    if _has_many_within(budgets):
        return frozenset()
    few = counted(budgets, most=LEAVES)
    if few is None or not 0 < few.distinct_count <= ENUMERABLE:
        return frozenset()
    batch = batch_of_codes(budgets.workloads.space, few.distinct())
    return _digests(budgets, batch, _within(budgets, batch))


def _has_many_within(budgets: Budgets) -> bool:
    batch = sample_batch(budgets.workloads.space, PROBED, budgets.spec.seed)
    within = _within(budgets, batch)[: 10 * MANY]
    return len(within) >= MANY and len(_digests(budgets, batch, within)) == len(within)


def _digests(budgets: Budgets, batch: CandidateBatch, those: Iterable[int]) -> frozenset[str]:
    space = budgets.workloads.space
    return frozenset(batch.architecture(space, n).digest for n in those)


def _within(budgets: Budgets, batch: CandidateBatch) -> list[int]:
    """Positions of the candidates that are trained when they are proposed."""
    return np.flatnonzero(budgets.excess(budgets.costed(batch)) <= 0).tolist()
