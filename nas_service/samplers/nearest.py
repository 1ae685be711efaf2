"""The unknown candidate that is nearest to a study's budgets. N candidates."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution
from optuna.trial import FixedTrial, FrozenTrial, TrialState

from nas_service.evaluation.repair import neighbours
from nas_service.evaluation.screening import Budgets
from nas_service.samplers.greybox.sampler import hidden
from nas_service.samplers.greybox_cells import CellProblem
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.batch import CandidateBatch, batch_of_codes, batch_of_numbers, sample_batch
from nas_service.spaces.input_density import ASSUMED, InputDensity
from nas_service.study.rejection import total_violation
from nas_service.study.spec import StudySpec

ENUMERABLE = 20_000  # genotypes up to which a space is ordered whole
ENQUEUED = "fixed_params"  # system attribute of Optuna: parameters of an enqueued trial
STARTS = 8  # known candidates whose neighbours are considered in a larger one
DRAWN = 200  # candidates that are drawn beside them

Params = dict[str, Any]
Order = NDArray[np.intp]  # [N]
Floats = NDArray[np.float64]  # [N]


@dataclass(frozen=True, eq=False)
class NearestUnknown:
    """Finds candidates of a study's space that none of its trials has."""

    spec: StudySpec
    density: InputDensity = ASSUMED  # of the bits of its data
    _digests: dict[int, str] = field(default_factory=dict, repr=False)  # by number, if ordered

    @cached_property
    def _problem(self) -> CellProblem:
        return CellProblem(self.spec, self.density)

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """Parameters of a trial, in the order in which the space draws them."""
        return self._problem.distributions

    @property
    def _budgets(self) -> Budgets:
        return self._problem.budgets

    def instead_of(
        self,
        proposed: Params,
        trial: FrozenTrial,
        others: Sequence[FrozenTrial],
        is_hopeless: bool = False,
    ) -> Params:
        """A proposed candidate, or the nearest unknown one where another trial has it.

        Earlier trials whose candidate is not visible yet are taken to have the nearest ones.

        Args:
            proposed: The candidate.
            trial: The trial that is to have it.
            others: All other trials of the study.
            is_hopeless: An unknown candidate gives way as well, to one that is nearer.

        Returns:
            The parameters of an unknown candidate; the proposed one where all are known.
        """
        known = {digest for t in others if (digest := self._digest_of(t))}
        is_new = self._problem.key(proposed) not in known
        if is_new and not is_hopeless:
            return proposed
        rng = np.random.default_rng((self.spec.seed, trial.number, 2))
        skipped = hidden(others, trial.number)
        unknown = list(islice(self._unknown(others, known, rng), skipped + 1))
        if not unknown or (is_new and not self._is_nearer(unknown[-1], proposed)):
            return proposed
        return self._problem.space.parameters(unknown[-1])

    def _is_nearer(self, architecture: Architecture, proposed: Params) -> bool:
        """True where the architecture has the smaller excess of the two."""
        space = self._problem.space
        both = (architecture, self._problem.architecture(proposed))
        codes = np.array([space.codes(a) for a in both])
        excess = self._excess(batch_of_codes(space, codes))
        return bool(excess[0] < excess[1])

    def _digest_of(self, trial: FrozenTrial) -> str | None:
        """The digest of the candidate that a trial has, or was enqueued with; None for neither."""
        if "digest" in trial.user_attrs:
            return str(trial.user_attrs["digest"])
        params = trial.params or trial.system_attrs.get(ENQUEUED, {})
        return self._problem.key(params) if self._is_of_space(params) else None

    def _is_of_space(self, params: Params) -> bool:
        """False where a parameter is missing, or has a value that the space does not contain."""
        try:
            return all(
                kind._contains(kind.to_internal_repr(params[name]))
                for name, kind in self.distributions.items()
            )
        except (KeyError, TypeError, ValueError):
            return False

    def _unknown(
        self, trials: Sequence[FrozenTrial], known: set[str], rng: np.random.Generator
    ) -> Iterator[Architecture]:
        """Unknown candidates, each once, the nearest first."""
        if self._problem.space.size <= ENUMERABLE:
            return self._of_whole_space(known)
        return self._around(trials, known, rng)

    def _of_whole_space(self, known: set[str]) -> Iterator[Architecture]:
        batch, order = self._whole
        seen = set(known)
        for n in order:
            if n not in self._digests:
                self._digests[n] = batch.architecture(self._problem.space, n).digest
            if self._digests[n] not in seen:
                seen.add(self._digests[n])
                yield batch.architecture(self._problem.space, n)

    @cached_property
    def _whole(self) -> tuple[CandidateBatch, list[int]]:
        """All candidates, and their order by excess."""
        batch = batch_of_numbers(self._problem.space, np.arange(self._problem.space.size))
        return batch, self._ordered(batch).tolist()

    def _around(
        self, trials: Sequence[FrozenTrial], known: set[str], rng: np.random.Generator
    ) -> Iterator[Architecture]:
        """Candidates next to the nearest known ones, and others drawn at random."""
        space, seen = self._problem.space, set(known)
        rows = [neighbours(space, np.array(space.codes(a))) for a in self._starts(trials)]
        batches = [sample_batch(space, DRAWN, int(rng.integers(2**31)))]
        if rows:
            batches.insert(0, batch_of_codes(space, np.unique(np.concatenate(rows), axis=0)))
        batch = joined(batches)
        for n in self._ordered(batch).tolist():
            architecture = batch.architecture(space, n)
            if architecture.digest not in seen:
                seen.add(architecture.digest)
                yield architecture

    def _starts(self, trials: Iterable[FrozenTrial]) -> list[Architecture]:
        """The finished candidates of least violation, each once."""
        finished = (t for t in trials if t.state == TrialState.COMPLETE and self._digest_of(t))
        distinct = {self._digest_of(t): t for t in finished}.values()
        nearest = sorted(distinct, key=lambda t: (_violation(t), -t.number))[:STARTS]
        space = self._problem.space
        return [space.draw(FixedTrial(dict(t.params))) for t in nearest]

    def _ordered(self, batch: CandidateBatch) -> Order:
        """Positions of candidates, the smallest excess of the budgets first.

        The order of equals is arbitrary, but the same at every proposal.
        """
        excess = self._excess(batch)
        values = np.column_stack([batch.cells, *batch.sizes.values(), batch.chips])
        weights = np.random.default_rng(self.spec.seed).random(values.shape[1])
        return np.lexsort((values @ weights % 1, excess))

    def _excess(self, batch: CandidateBatch) -> Floats:
        """Excess of the budgets [N]; infinite without a path, as no budget lets that one in."""
        costed = self._budgets.costed(batch)
        return np.where(costed.connected, self._budgets.excess(costed), np.inf)


def _violation(trial: FrozenTrial) -> float:
    return float(total_violation(trial.constraints.values()))


def joined(batches: Sequence[CandidateBatch]) -> CandidateBatch:
    """The candidates of several batches of one space, in their order."""
    names = batches[0].sizes
    return CandidateBatch(
        np.concatenate([b.cells for b in batches]),
        {name: np.concatenate([b.sizes[name] for b in batches]) for name in names},
        np.concatenate([b.chips for b in batches]),
    )
