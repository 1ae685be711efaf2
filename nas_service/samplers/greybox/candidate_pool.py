"""A space with everything that is known of it without a training: costs, features, identity.

N candidates, D parameters; a candidate is a row of codes [D], see encoding.py.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .candidates import Candidates
from .encoding import Codes, Params
from .gaussian_process import Features, one_hot
from .problem import Bound, Problem

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
ENUMERABLE = 20_000  # candidates up to which a space is considered whole
REFERENCE = 2000  # candidates that scale the features of a larger one
POOL = 600  # candidates of a larger one that are drawn and bred in each round
ENOUGH = 300  # candidates within the exact bounds
REMEMBERED = 10_000  # candidates whose codes are remembered
RESERVE = 400  # draws of a larger one that keep the bounds, in every pool
MOST_DRAWS = 50_000  # among which these are searched
ROUNDS = 8  # in which a pool is bred towards the bounds, at most


@dataclass(frozen=True, eq=False)
class Description:
    """Candidates as a model compares them."""

    numbers: Floats  # [N, F] sizes and counts, in any unit
    kinds: Ints  # [N, G] codes, compared by equality
    details: Ints  # [N, H] codes of what should hardly matter
    score: Floats  # [N] how good each is expected to be, in any unit; constant if nothing is known
    codes: int  # codes are 0 .. codes - 1


@dataclass(frozen=True, eq=False)
class DomainKnowledge:
    """What a user knows of a space; everything left out follows from its parameters.

    `costs` and `describe` take a list of dictionaries, or with `columns` one dictionary that
    holds for each parameter the positions of all candidates among its choices, [N].

    Args:
        costs: Metrics without a training, metric -> [N].
        describe: Features for the model.
        key: Equal for candidates that are the same.
        columns: Whether candidates come by parameter instead of one by one.
        draws: `count` random candidates, better than uniform ones; None if these are as good.
        scores: Training-free scores that are too slow for all candidates, by name, of a list of
            dictionaries; nan where there is none.
    """

    costs: Callable[[Any], Mapping[str, Any]] | None = None
    describe: Callable[[Any], Description] | None = None
    key: Callable[[Params], Hashable] | None = None
    columns: bool = False
    draws: Callable[[int, np.random.Generator], Sequence[Params] | None] | None = None
    scores: Mapping[str, Callable[[Sequence[Params]], Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CandidatePool:
    """A space of parameters with lists of values, and the knowledge of it.

    What was computed of a candidate is remembered, which changes no result.
    """

    codes: Codes
    domain: DomainKnowledge
    _keys: dict[tuple[int, ...], Hashable] = field(default_factory=dict, repr=False)
    _scores: dict[tuple[str, Hashable], float] = field(default_factory=dict, repr=False)
    _places: dict[int, tuple[Params, tuple[int, ...]]] = field(default_factory=dict, repr=False)
    _rows: dict[bytes, int] = field(default_factory=dict, repr=False)  # positions in `_proposed`
    _reserves: dict[tuple[Bound, ...], "Costed"] = field(default_factory=dict, repr=False)
    _proposed: list[Candidates] = field(default_factory=list, repr=False)  # one, or none

    # --- single candidates

    def places(self, params: Params) -> tuple[int, ...] | None:
        """A candidate's row of codes, computed once; None for one of another space."""
        known = self._places.get(id(params))
        if known is not None:
            return known[1]
        row = self.codes.places(params)
        if row is not None:  # the stored reference keeps the id valid
            if len(self._places) >= REMEMBERED:
                self._places.clear()
            self._places[id(params)] = params, row
        return row

    def encoded(self, candidates: Sequence[Params]) -> Ints:
        """Codes [N, D] of candidates, without those of another space."""
        rows = map(self.places, candidates)
        return self.codes.rows([row for row in rows if row is not None])

    def key(self, row: Ints) -> Hashable:
        """Equal for candidates [D] of which only one is worth training."""
        codes = tuple(row.tolist())
        if self.domain.key is None:
            return codes
        if codes not in self._keys:
            self._keys[codes] = self.domain.key(self.codes.decode(row[None])[0])
        return self._keys[codes]

    def scores(self, codes: Ints) -> dict[str, Floats]:
        """Slow scores of candidates [N, D], each measured once: name -> [N]."""
        rows = {self.key(row): row for row in codes}
        for name, measure in self.domain.scores.items():
            new = {key: row for key, row in rows.items() if (name, key) not in self._scores}
            if new:
                candidates = self.codes.decode(np.stack(list(new.values())))
                values = np.asarray(measure(candidates), dtype=np.float64).tolist()
                self._scores.update(zip(((name, key) for key in new), values, strict=True))
        keys = [self.key(row) for row in codes]
        return {n: np.array([self._scores[n, key] for key in keys]) for n in self.domain.scores}

    # --- features and costs

    def candidates(self, codes: Ints) -> Candidates:
        """Candidates [N, D] with costs and scaled features."""
        return Candidates(self._features(codes), self._costs(codes))

    def proposed(self, codes: Ints) -> Candidates:
        """As `candidates`, of proposed ones [N, D], each computed once."""
        rows = [row.tobytes() for row in np.ascontiguousarray(codes)]
        new = {row: n for n, row in enumerate(rows) if row not in self._rows}
        if new:
            self._rows.update({row: len(self._rows) + n for n, row in enumerate(new)})
            parts = [*self._proposed, self.candidates(codes[list(new.values())])]
            self._proposed[:] = [Candidates.join(parts)]
        known = self._proposed[0] if self._proposed else self._first
        return known.take(np.array([self._rows[row] for row in rows], dtype=np.intp))

    @property
    def cost_names(self) -> frozenset[str]:
        """Metrics that the costs give."""
        return frozenset(self._first.costs)

    @cached_property
    def _first(self) -> Candidates:
        return self.candidates(np.zeros((1, len(self.codes.names)), dtype=np.intp))

    @property
    def _none(self) -> Candidates:
        return self._first.take(np.zeros(0, dtype=np.intp))

    def _features(self, codes: Ints) -> Features:
        description = self._description(codes)
        middle, deviation = self._scale
        numbers = np.column_stack([description.numbers, description.score])
        scaled = (numbers - middle) / deviation
        return Features(
            scaled[:, :-1],
            one_hot(description.kinds, description.codes),
            one_hot(description.details, description.codes),
            scaled[:, -1],
            np.zeros((len(codes), 0)),
        )

    def _for_domain(self, codes: Ints) -> Any:
        return self.codes.columns(codes) if self.domain.columns else self.codes.decode(codes)

    def _costs(self, codes: Ints) -> dict[str, Floats]:
        if self.domain.costs is None:
            return {}
        costs = self.domain.costs(self._for_domain(codes))
        return {name: np.asarray(values, dtype=np.float64) for name, values in costs.items()}

    def _description(self, codes: Ints) -> Description:
        if self.domain.describe is not None:
            return self.domain.describe(self._for_domain(codes))
        ordered, count = self.codes.ordered, int(self.codes.counts.max(initial=1))
        none = np.zeros((len(codes), 0), dtype=np.intp)
        numbers, kinds = codes[:, ordered].astype(np.float64), codes[:, ~ordered]
        return Description(numbers, kinds, none, np.zeros(len(codes)), count)

    @cached_property
    def _scale(self) -> tuple[Floats, Floats]:
        """Mean and deviation of numbers and score over the space."""
        rng = np.random.default_rng(0)
        codes = self.codes.all() if self.small else self.codes.draws(REFERENCE, rng)
        description = self._description(codes)
        columns = np.column_stack([description.numbers, description.score])
        deviation = columns.std(0)
        return columns.mean(0), np.where(deviation > 0, deviation, 1.0)

    # --- candidates to choose from

    @property
    def small(self) -> bool:
        """Whether the whole space is considered at each proposal."""
        return self.codes.size <= ENUMERABLE

    @cached_property
    def _whole(self) -> tuple[Ints, Candidates]:
        codes = self.codes.all()
        return codes, self.candidates(codes)

    def pool(
        self,
        problem: Problem,
        parents: Ints,
        rng: np.random.Generator,
        unknown: Callable[[Ints], NDArray[np.bool_]] = lambda codes: np.ones(len(codes), np.bool_),
    ) -> tuple[Ints, Candidates]:
        """Candidates to choose from: the whole space, or draws and children of the parents.

        While few keep the exact bounds, they are bred further towards these; as costs are known,
        this needs no training. Where too few do, the nearest unknown others are among them.

        Args:
            problem: Objectives and bounds.
            parents: Codes of good candidates [P, D].
            rng: Source of random draws.
            unknown: Which candidates [N, D] were not proposed yet [N]; by default all.

        Returns:
            Codes [N, D] and the candidates.
        """
        if self.small:
            return self._whole
        costed = self._reserve(problem)
        fresh = [
            self._draws(POOL // 4, rng),
            self.codes.children(costed.codes, POOL // 2, rng),
            self.codes.children(parents, POOL, rng),
        ]
        costed = costed.join(self._costed(problem, _new(np.concatenate(fresh), costed.codes)))
        for _ in range(ROUNDS):
            if np.count_nonzero(costed.excess <= 0) >= ENOUGH:
                break
            best = costed.codes[costed.nearest(rng)[: POOL // 5]]
            children = self.codes.children(best, POOL, rng)
            costed = costed.join(self._costed(problem, _new(children, costed.codes)))
        within = np.flatnonzero(costed.excess <= 0)
        if len(within) < ENOUGH:
            new = np.flatnonzero(unknown(costed.codes))
            new = new if len(new) else np.arange(len(costed.codes))
            within = new[costed.take(new).nearest(rng)]
            return self._with_features(costed.take(within[: 2 * POOL]))
        return self._with_features(costed.take(rng.permutation(within)[: 2 * POOL]))

    def children(
        self, problem: Problem, codes: Ints, best: Ints, rng: np.random.Generator
    ) -> tuple[Ints, Candidates]:
        """New children of some candidates that keep the exact bounds.

        Args:
            problem: Objectives and bounds.
            codes: Candidates [N, D], none of which is a child.
            best: Positions of the parents among them.
            rng: Source of random draws.

        Returns:
            The children's codes [C, D], and the children.
        """
        children = _new(self.codes.children(codes[best], POOL // 2, rng), codes)
        costed = self._costed(problem, children)
        return self._with_features(costed.take(np.flatnonzero(costed.excess <= 0)))

    def _draws(self, count: int, rng: np.random.Generator) -> Ints:
        candidates = self.domain.draws(count, rng) if self.domain.draws else None
        return self.codes.draws(count, rng) if candidates is None else self.codes.encode(candidates)

    def _reserve(self, problem: Problem) -> "Costed":
        """Random candidates that keep the exact bounds, however alike the best ones are.

        Where hardly any does, the nearest are among them. The same at each call.
        """
        bounds = problem.exact_bounds
        if bounds not in self._reserves:
            rng = np.random.default_rng(0)
            costed = self._costed(problem, self._draws(REFERENCE, rng))
            for _ in range(1, MOST_DRAWS // REFERENCE):
                if np.count_nonzero(costed.excess <= 0) >= RESERVE:
                    break
                costed = costed.join(self._costed(problem, self._draws(REFERENCE, rng)))
                costed = costed.take(costed.nearest(rng)[:RESERVE])
            costed = costed.take(costed.nearest(rng)[:RESERVE])
            self._reserves[bounds] = costed.take(costed.different)
        return self._reserves[bounds]

    def _with_features(self, costed: "Costed") -> tuple[Ints, Candidates]:
        if not len(costed.codes):
            return costed.codes, self._none
        return costed.codes, Candidates(self._features(costed.codes), costed.costs)

    def _costed(self, problem: Problem, codes: Ints) -> "Costed":
        costs = self._costs(codes) if len(codes) else self._none.costs
        return Costed(codes, costs, problem.excess(costs, problem.exact_bounds, len(codes)))


@dataclass(frozen=True, eq=False)
class Costed:
    """Candidates and by how much they exceed the exact bounds."""

    codes: Ints  # [N, D]
    costs: Mapping[str, Floats]  # metric -> [N]
    excess: Floats  # [N]

    def take(self, index: Ints) -> "Costed":
        """Some of the candidates."""
        costs = {name: values[index] for name, values in self.costs.items()}
        return Costed(self.codes[index], costs, self.excess[index])

    def join(self, more: "Costed") -> "Costed":
        """These candidates, then others."""
        costs = {name: np.concatenate([v, more.costs[name]]) for name, v in self.costs.items()}
        codes = np.concatenate([self.codes, more.codes])
        return Costed(codes, costs, np.concatenate([self.excess, more.excess]))

    def nearest(self, rng: np.random.Generator) -> Ints:
        """Positions of all candidates, the smallest excess first; ties at random."""
        return np.lexsort((rng.random(len(self.codes)), self.excess))

    @property
    def different(self) -> Ints:
        """Positions of the distinct candidates."""
        return np.unique(self.codes, axis=0, return_index=True)[1]


def _new(codes: Ints, known: Ints) -> Ints:
    """The distinct candidates that are not among the known ones."""
    rows = {row.tobytes() for row in known}
    fresh = {row.tobytes(): n for n, row in enumerate(codes)}
    return codes[[n for row, n in fresh.items() if row not in rows]]
