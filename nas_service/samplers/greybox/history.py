"""What is known of candidates so far: trained ones, those under way, and those of other studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .candidate_pool import CandidatePool
from .encoding import Params
from .expected_gain import Candidates, Observations, leading
from .problem import Problem

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Observation:
    """A candidate that was trained, here or elsewhere."""

    params: Params
    values: Mapping[str, float]  # by metric
    context: str = ""  # another study, or an epoch before the last; "": what is optimised


@dataclass(frozen=True, eq=False)
class History:
    """Candidates by their codes; those that are not of the space are left out."""

    codes: Ints  # [n, D] of what was seen
    seen: Observations  # [n]
    under_way: Ints  # [R, D]
    begun: Ints  # [B, D] seen here, but not in full yet
    known: Ints  # [K, D] whatever was proposed here
    scores: Mapping[str, NDArray[np.float64]]  # slow ones of what was seen [n], nan where unknown

    @classmethod
    def of(
        cls,
        problem: Problem,
        world: CandidatePool,
        own: Sequence[Observation],
        warm: Sequence[Observation],
        running: Sequence[Params],
        known: Sequence[Params],
    ) -> "History":
        seen = [*own, *warm]
        names = ["", *sorted({s.context for s in seen} - {""})]
        ours = [s for s in seen if world.places(s.params) is not None]
        codes = world.encoded([s.params for s in ours])
        values, scores = (
            {n: np.array([s.values.get(n, np.nan) for s in ours], dtype=np.float64) for n in asked}
            for asked in (problem.learned, world.knowledge.scores)
        )
        contexts = np.array([names.index(s.context) for s in ours], dtype=np.intp)
        return cls(
            codes,
            Observations(world.seen(codes), values, contexts),
            world.encoded(running),
            _begun(codes[: len(world.encoded([s.params for s in own]))], contexts),
            world.encoded(known),
            scores,
        )

    def running(self, world: CandidatePool) -> Candidates:
        return world.seen(self.under_way)

    def unfinished(self, world: CandidatePool) -> Candidates:
        return world.seen(self.begun)

    def leading(self, problem: Problem) -> Ints:
        """Codes of the best [P, D]: worth having children."""
        return self.codes[leading(problem, self.seen)]

    def fresh(self, problem: Problem, codes: Ints, candidates: Candidates) -> Ints:
        """Which candidates were not proposed yet and keep the exact bounds; if none does, the
        nearest; if all were proposed, all."""
        new = self.unknown(codes)
        new = new if new.any() else np.ones(len(codes), dtype=np.bool_)
        excess = problem.excess(candidates.costs, problem.exact_bounds, len(codes))
        return np.flatnonzero(new & (excess <= excess[new].min()))

    def unknown(self, codes: Ints) -> NDArray[np.bool_]:
        """Which candidates were not proposed yet."""
        known = {row.tobytes() for row in self.known}
        return np.array([row.tobytes() not in known for row in codes], dtype=np.bool_)


def _begun(own: Ints, contexts: Ints) -> Ints:
    """Codes [B, D] of what was seen here in other contexts alone, each once; own codes [n, D]
    stand before all others."""
    whole = {tuple(row) for row in own[contexts[: len(own)] == 0].tolist()}
    left = dict.fromkeys(tuple(row) for row in own.tolist() if tuple(row) not in whole)
    return np.array(list(left), dtype=np.intp).reshape(len(left), own.shape[1])
