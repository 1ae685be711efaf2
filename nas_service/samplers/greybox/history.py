"""What is known of candidates so far: trained ones, running ones, and those of other studies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .candidate_pool import CandidatePool
from .candidates import Candidates, Observations
from .encoding import Params
from .expected_gain import leading
from .problem import Problem

Ints = NDArray[np.intp]


@dataclass(frozen=True)
class Observation:
    """The result of a trained candidate, of this study or another one."""

    params: Params
    values: Mapping[str, float]  # by metric
    context: str = ""  # another study, or an epoch before the last; "": what is optimised


@dataclass(frozen=True, eq=False)
class History:
    """Candidates by their codes; those that are not of the space are left out."""

    codes: Ints  # [n, D] of the observations
    observed: Observations  # [n]
    under_way: Ints  # [R, D] running
    begun: Ints  # [B, D] observed in this study, but not fully trained
    known: Ints  # [K, D] all that were proposed in this study
    scores: Mapping[str, NDArray[np.float64]]  # slow scores of the observations [n], nan if unknown

    @classmethod
    def of(
        cls,
        problem: Problem,
        pool: CandidatePool,
        own: Sequence[Observation],
        warm: Sequence[Observation],
        running: Sequence[Params],
        known: Sequence[Params],
    ) -> "History":
        """The history of a study.

        Args:
            problem: Objectives and bounds.
            pool: The space.
            own: Results of this study.
            warm: Results of other studies.
            running: Candidates in training.
            known: All candidates that were proposed in this study.

        Returns:
            n observations, R running and K known candidates.
        """
        results = [*own, *warm]
        names = ["", *sorted({r.context for r in results} - {""})]
        usable = [r for r in results if pool.places(r.params) is not None]
        codes = pool.encoded([r.params for r in usable])
        values, scores = (
            {
                n: np.array([r.values.get(n, np.nan) for r in usable], dtype=np.float64)
                for n in wanted
            }
            for wanted in (problem.learned, pool.domain.scores)
        )
        contexts = np.array([names.index(r.context) for r in usable], dtype=np.intp)
        return cls(
            codes,
            Observations(pool.proposed(codes), values, contexts),
            pool.encoded(running),
            _begun(codes[: len(pool.encoded([r.params for r in own]))], contexts),
            pool.encoded(known),
            scores,
        )

    def running(self, pool: CandidatePool) -> Candidates:
        """Candidates in training."""
        return pool.proposed(self.under_way)

    def unfinished(self, pool: CandidatePool) -> Candidates:
        """Candidates that are not fully trained."""
        return pool.proposed(self.begun)

    def leading(self, problem: Problem) -> Ints:
        """Codes of the best observations [P, D], to breed children from."""
        return self.codes[leading(problem, self.observed)]

    def unknown(self, codes: Ints) -> NDArray[np.bool_]:
        """Which candidates [N, D] were not proposed yet [N]."""
        known = {row.tobytes() for row in self.known}
        return np.array([row.tobytes() not in known for row in codes], dtype=np.bool_)


def _begun(own: Ints, contexts: Ints) -> Ints:
    """Codes [B, D] of own results in other contexts only, each once.

    `contexts` begins with those of the own results [n, D].
    """
    full = {tuple(row) for row in own[contexts[: len(own)] == 0].tolist()}
    rows = dict.fromkeys(tuple(row) for row in own.tolist() if tuple(row) not in full)
    return np.array(list(rows), dtype=np.intp).reshape(len(rows), own.shape[1])
