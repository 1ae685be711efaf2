"""A space with all that is known of it for nothing: costs, features, and which candidates agree."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .encoding import Codes, Params
from .expected_gain import Candidates
from .gaussian_process import Features, one_hot
from .problem import Bound, Problem

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
ENUMERABLE = 20_000  # candidates: a space up to this size is looked at whole
REFERENCE = 2000  # candidates that scale the features of a larger one
POOL = 600  # candidates of a larger one that are drawn and bred in each round
ENOUGH = 300  # candidates within the exact bounds
LOOKED_UP = 10_000  # candidates whose codes are remembered
RESERVE = 400  # draws of a larger one that keep the bounds, in every pool
MOST_DRAWS = 50_000  # among which these are looked for
ROUNDS = 8  # in which a pool is bred towards the bounds, at most


@dataclass(frozen=True, eq=False)
class Description:
    """Candidates as a model compares them."""

    numbers: Floats  # [N, F] sizes and counts, in any unit
    kinds: Ints  # [N, G] codes, compared by equality
    details: Ints  # [N, H] the same, of what should not matter
    score: Floats  # [N] how good each promises to be, in any unit; constant where nothing is known
    codes: int  # codes are 0 .. codes - 1


@dataclass(frozen=True, eq=False)
class DomainKnowledge:
    """What a user can tell of a space; whatever is left out follows from its parameters.

    `costs` and `describe` are asked of a list of dictionaries, or with `columns` of one dictionary
    that holds for each parameter the places of all candidates among its choices, [N].
    """

    costs: Callable[[Any], Mapping[str, Any]] | None = None  # metrics, without a training
    describe: Callable[[Any], Description] | None = None
    key: Callable[[Params], Hashable] | None = None  # equal for candidates that are the same
    columns: bool = False
    # so many candidates by chance, better ones than fair draws; None: fair draws will do
    draws: Callable[[int, np.random.Generator], Sequence[Params] | None] | None = None
    # by name, of a list of dictionaries: training-free, but too slow for all; nan where none is had
    scores: Mapping[str, Callable[[Sequence[Params]], Any]] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class CandidatePool:
    """A space of lists of values, and what is known of it."""

    codes: Codes
    knowledge: DomainKnowledge
    _keys: dict[tuple[int, ...], Hashable] = field(default_factory=dict, repr=False)
    _scores: dict[tuple[str, Hashable], float] = field(default_factory=dict, repr=False)
    _places: dict[int, tuple[Params, tuple[int, ...]]] = field(default_factory=dict, repr=False)
    _rows: dict[bytes, int] = field(default_factory=dict, repr=False)  # places in `_seen`
    _reserves: dict[tuple[Bound, ...], "Costed"] = field(default_factory=dict, repr=False)
    _seen: list[Candidates] = field(default_factory=list, repr=False)  # one, or none

    def places(self, params: Params) -> tuple[int, ...] | None:
        """A candidate's row of codes, each looked up once; None for one of another space."""
        known = self._places.get(id(params))
        if known is not None:
            return known[1]
        found = self.codes.places(params)
        if found is not None:  # what is kept keeps its id
            if len(self._places) >= LOOKED_UP:
                self._places.clear()
            self._places[id(params)] = params, found
        return found

    def encoded(self, listed: Sequence[Params]) -> Ints:
        """Codes [N, D] of candidates, without those of another space."""
        found = map(self.places, listed)
        return self.codes.rows([row for row in found if row is not None])

    def key(self, row: Ints) -> Hashable:
        """Equal for candidates of which only one is worth training."""
        codes = tuple(row.tolist())
        if self.knowledge.key is None:
            return codes
        if codes not in self._keys:
            self._keys[codes] = self.knowledge.key(self.codes.decode(row[None])[0])
        return self._keys[codes]

    def scores(self, codes: Ints) -> dict[str, Floats]:
        """Slow scores of candidates [N], each measured once."""
        rows = {self.key(row): row for row in codes}
        for name, measure in self.knowledge.scores.items():
            new = {k: row for k, row in rows.items() if (name, k) not in self._scores}
            if new:
                listed = self.codes.decode(np.stack(list(new.values())))
                found = np.asarray(measure(listed), dtype=np.float64).tolist()
                self._scores.update(zip(((name, k) for k in new), found, strict=True))
        keys = [self.key(row) for row in codes]
        return {n: np.array([self._scores[n, k] for k in keys]) for n in self.knowledge.scores}

    def candidates(self, codes: Ints) -> Candidates:
        """Candidates [N, D] with costs and scaled features."""
        return Candidates(self._features(codes), self._costs(codes))

    def seen(self, codes: Ints) -> Candidates:
        """The same of what was proposed, each looked at once."""
        rows = [row.tobytes() for row in np.ascontiguousarray(codes)]
        new = {row: n for n, row in enumerate(rows) if row not in self._rows}
        if new:
            self._rows.update({row: len(self._rows) + n for n, row in enumerate(new)})
            parts = [*self._seen, self.candidates(codes[list(new.values())])]
            self._seen[:] = [Candidates.join(parts)]
        found = self._seen[0] if self._seen else self._first
        return found.take(np.array([self._rows[row] for row in rows], dtype=np.intp))

    def _features(self, codes: Ints) -> Features:
        found = self._description(codes)
        middle, deviation = self._scale
        scaled = (np.column_stack([found.numbers, found.score]) - middle) / deviation
        return Features(
            scaled[:, :-1],
            one_hot(found.kinds, found.codes),
            one_hot(found.details, found.codes),
            scaled[:, -1],
            np.zeros((len(codes), 0)),
        )

    def _asked(self, codes: Ints) -> Any:
        columns = self.knowledge.columns
        return self.codes.columns(codes) if columns else self.codes.decode(codes)

    def _costs(self, codes: Ints) -> dict[str, Floats]:
        if self.knowledge.costs is None:
            return {}
        found = self.knowledge.costs(self._asked(codes))
        return {name: np.asarray(values, dtype=np.float64) for name, values in found.items()}

    @cached_property
    def _first(self) -> Candidates:
        return self.candidates(np.zeros((1, len(self.codes.names)), dtype=np.intp))

    @property
    def cost_names(self) -> frozenset[str]:
        """Metrics that the costs tell."""
        return frozenset(self._first.costs)

    def _description(self, codes: Ints) -> Description:
        if self.knowledge.describe is not None:
            return self.knowledge.describe(self._asked(codes))
        ordered, count = self.codes.ordered, int(self.codes.counts.max(initial=1))
        none = np.zeros((len(codes), 0), dtype=np.intp)
        numbers, kinds = codes[:, ordered].astype(np.float64), codes[:, ~ordered]
        return Description(numbers, kinds, none, np.zeros(len(codes)), count)

    @cached_property
    def _scale(self) -> tuple[Floats, Floats]:
        """Middle and deviation of numbers and score, over the space."""
        die = np.random.default_rng(0)
        codes = self.codes.all() if self.small else self.codes.draws(REFERENCE, die)
        found = self._description(codes)
        columns = np.column_stack([found.numbers, found.score])
        deviation = columns.std(0)
        return columns.mean(0), np.where(deviation > 0, deviation, 1.0)

    @property
    def small(self) -> bool:
        return self.codes.size <= ENUMERABLE

    @cached_property
    def _whole(self) -> tuple[Ints, Candidates]:
        codes = self.codes.all()
        return codes, self.candidates(codes)

    def pool(
        self, problem: Problem, parents: Ints, die: np.random.Generator
    ) -> tuple[Ints, Candidates]:
        """Candidates to choose from: all, or draws and children of the parents [P, D], bred on
        towards the exact bounds while few keep them. Their costs are known, so this is free."""
        if self.small:
            return self._whole
        found = self._reserve(problem)
        fresh = [
            self._draws(POOL // 4, die),
            self.codes.children(found.codes, POOL // 2, die),
            self.codes.children(parents, POOL, die),
        ]
        found = found.join(self._costed(problem, _new(np.concatenate(fresh), found.codes)))
        for _ in range(ROUNDS):
            if np.count_nonzero(found.excess <= 0) >= ENOUGH:
                break
            best = found.codes[found.nearest(die)[: POOL // 5]]
            children = self.codes.children(best, POOL, die)
            found = found.join(self._costed(problem, _new(children, found.codes)))
        kept = np.flatnonzero(found.excess <= 0)
        kept = kept if len(kept) else found.nearest(die)[:1]
        return self._kept(found.take(die.permutation(kept)[: 2 * POOL]))

    def children(
        self, problem: Problem, codes: Ints, best: Ints, die: np.random.Generator
    ) -> tuple[Ints, Candidates]:
        """Children of the best of some candidates that keep the exact bounds and are none of
        them."""
        children = _new(self.codes.children(codes[best], POOL // 2, die), codes)
        found = self._costed(problem, children)
        return self._kept(found.take(np.flatnonzero(found.excess <= 0)))

    def _draws(self, count: int, die: np.random.Generator) -> Ints:
        listed = self.knowledge.draws(count, die) if self.knowledge.draws else None
        return self.codes.draws(count, die) if listed is None else self.codes.encode(listed)

    def _reserve(self, problem: Problem) -> "Costed":
        """Draws that keep the exact bounds, fair ones of all that do, however alike the best are;
        where hardly any does, the nearest beside them. The same at each call."""
        bounds = problem.exact_bounds
        if bounds not in self._reserves:
            die = np.random.default_rng(0)
            found = self._costed(problem, self._draws(REFERENCE, die))
            for _ in range(1, MOST_DRAWS // REFERENCE):
                if np.count_nonzero(found.excess <= 0) >= RESERVE:
                    break
                more = self._costed(problem, self._draws(REFERENCE, die))
                found = found.join(more)
                found = found.take(found.nearest(die)[:RESERVE])
            found = found.take(found.nearest(die)[:RESERVE])
            self._reserves[bounds] = found.take(found.different)
        return self._reserves[bounds]

    def _kept(self, found: "Costed") -> tuple[Ints, Candidates]:
        if not len(found.codes):
            return found.codes, self._first.take(np.zeros(0, dtype=np.intp))
        return found.codes, Candidates(self._features(found.codes), found.costs)

    def _costed(self, problem: Problem, codes: Ints) -> "Costed":
        costs = self._costs(codes) if len(codes) else self._first.take(np.zeros(0, np.intp)).costs
        return Costed(codes, costs, problem.excess(costs, problem.exact_bounds, len(codes)))


@dataclass(frozen=True, eq=False)
class Costed:
    """Different candidates, and by how much they break the exact bounds."""

    codes: Ints  # [N, D]
    costs: Mapping[str, Floats]  # each [N]
    excess: Floats  # [N]

    def take(self, index: Ints) -> "Costed":
        costs = {name: values[index] for name, values in self.costs.items()}
        return Costed(self.codes[index], costs, self.excess[index])

    def join(self, more: "Costed") -> "Costed":
        costs = {name: np.concatenate([v, more.costs[name]]) for name, v in self.costs.items()}
        codes = np.concatenate([self.codes, more.codes])
        return Costed(codes, costs, np.concatenate([self.excess, more.excess]))

    def nearest(self, die: np.random.Generator) -> Ints:
        """All, those that break the bounds least first; ties by chance."""
        return np.lexsort((die.random(len(self.codes)), self.excess))

    @property
    def different(self) -> Ints:
        """Each once."""
        return np.unique(self.codes, axis=0, return_index=True)[1]


def _new(codes: Ints, known: Ints) -> Ints:
    """Those that are not among the known ones, each once."""
    rows = {row.tobytes() for row in known}
    fresh = {row.tobytes(): n for n, row in enumerate(codes)}
    return codes[[n for row, n in fresh.items() if row not in rows]]
