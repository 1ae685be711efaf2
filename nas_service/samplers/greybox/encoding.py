"""Candidates to choose from: a whole space where it is small, else children of the best and draws.

N candidates, D parameters. A candidate is a row of codes [D]: the position of each parameter's
value among its choices.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

Ints = NDArray[np.intp]
Params = Mapping[str, Any]
Columns = Mapping[str, Ints]  # candidates by parameter: places among its choices, each [N]
MOST_VALUES = 4096  # of one parameter that can be listed
MUTATED = 0.15  # share of parameters that a child has anew, beside one


def listable(distributions: Mapping[str, BaseDistribution]) -> bool:
    """True where every parameter has a list of values."""
    return bool(distributions) and all(_count(d) for d in distributions.values())


def _count(d: BaseDistribution) -> int:
    """Values of a parameter; 0 where they cannot be listed."""
    if isinstance(d, CategoricalDistribution):
        return len(d.choices)
    if isinstance(d, IntDistribution):
        count = (d.high - d.low) // d.step + 1
        return count if count <= MOST_VALUES else 0
    return 0


@dataclass(frozen=True, eq=False)
class Codes:
    """Parameters as whole numbers, and back."""

    distributions: Mapping[str, BaseDistribution]

    @cached_property
    def names(self) -> tuple[str, ...]:
        return tuple(self.distributions)

    @cached_property
    def values(self) -> tuple[tuple[Any, ...], ...]:
        """Choices of each parameter."""
        found: list[tuple[Any, ...]] = []
        for d in self.distributions.values():
            if isinstance(d, CategoricalDistribution):
                found.append(tuple(d.choices))
            elif isinstance(d, IntDistribution):
                found.append(tuple(range(d.low, d.high + 1, d.step)))
        return tuple(found)

    @cached_property
    def counts(self) -> Ints:
        return np.array([len(v) for v in self.values], dtype=np.intp)

    @property
    def size(self) -> int:
        size = 1
        for count in self.counts.tolist():
            size *= count
        return size

    @cached_property
    def ordered(self) -> NDArray[np.bool_]:
        """Parameters whose values have an order [D]."""
        kinds = self.distributions.values()
        return np.array([isinstance(d, IntDistribution) for d in kinds], dtype=np.bool_)

    def decode(self, codes: Ints) -> list[dict[str, Any]]:
        """Candidates [N, D] as Optuna has them."""
        return [
            {name: v[c] for name, v, c in zip(self.names, self.values, row, strict=True)}
            for row in codes.tolist()
        ]

    def columns(self, codes: Ints) -> Columns:
        """Candidates [N, D] by parameter."""
        return dict(zip(self.names, codes.T, strict=True))

    @cached_property
    def _places(self) -> tuple[dict[Any, int], ...]:
        return tuple({_hashed(v): i for i, v in enumerate(values)} for values in self.values)

    def places(self, params: Params) -> tuple[int, ...] | None:
        """A candidate's row of codes; None where a parameter is missing or has another value."""
        found = []
        for name, places in zip(self.names, self._places, strict=True):
            place = places.get(_hashed(params[name])) if name in params else None
            if place is None:
                return None
            found.append(place)
        return tuple(found)

    def rows(self, found: Sequence[tuple[int, ...]]) -> Ints:
        """Codes [N, D] of candidates by their rows."""
        return np.array(found, dtype=np.intp).reshape(len(found), len(self.names))

    def encode(self, listed: Sequence[Params]) -> Ints:
        """Codes [N, D] of candidates of this space; ValueError for one that is of another."""
        found = [self.places(params) for params in listed]
        if foreign := [p for p, row in zip(listed, found, strict=True) if row is None]:
            raise ValueError(f"{foreign[0]} is no candidate of {', '.join(self.names)}")
        return self.rows([row for row in found if row is not None])

    def all(self) -> Ints:
        """The whole space [size, D]."""
        numbers = np.unravel_index(np.arange(self.size), tuple(self.counts.tolist()))
        return np.stack(numbers, -1).astype(np.intp)

    def draws(self, count: int, die: np.random.Generator) -> Ints:
        return np.asarray(die.integers(self.counts, size=(count, len(self.counts))), dtype=np.intp)

    def children(self, parents: Ints, count: int, die: np.random.Generator) -> Ints:
        """Each of one or two parents, if there are any, with one parameter or more anew; ordered
        ones mostly move by a step."""
        if not len(parents):
            return parents
        first, second = die.integers(len(parents), size=(2, count))
        crossed = (die.random(count) < 0.5)[:, None] & (die.random((count, len(self.counts))) < 0.5)
        found = np.where(crossed, parents[second], parents[first])
        anew = die.random(found.shape) < MUTATED * die.random((count, 1))
        anew[np.arange(count), die.integers(len(self.counts), size=count)] = True
        step = found + die.choice([-1, 1], size=found.shape)
        near = self.ordered & (die.random(found.shape) < 0.7)
        moved = np.where(near, np.clip(step, 0, self.counts - 1), self.draws(count, die))
        return np.where(anew, moved, found)


def _hashed(value: Any) -> tuple[type, Any]:
    """True and 1 are different choices, and so are nan and nan alike."""
    return (type(value), repr(value) if isinstance(value, float) else value)
