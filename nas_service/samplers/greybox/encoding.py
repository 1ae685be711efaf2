"""Candidates as rows of whole numbers.

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
Columns = Mapping[str, Ints]  # candidates by parameter: positions among its choices, each [N]
MOST_VALUES = 4096  # of one parameter that can be listed
MUTATED = 0.15  # share of parameters that change in a child, in addition to one


def listable(distributions: Mapping[str, BaseDistribution]) -> bool:
    """True where every parameter has a list of values."""
    return bool(distributions) and all(_count(d) for d in distributions.values())


def _count(distribution: BaseDistribution) -> int:
    """Number of values of a parameter; 0 where they cannot be listed."""
    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if isinstance(distribution, IntDistribution):
        count = (distribution.high - distribution.low) // distribution.step + 1
        return count if count <= MOST_VALUES else 0
    return 0


@dataclass(frozen=True, eq=False)
class Codes:
    """Conversion between parameters of Optuna and rows of codes."""

    distributions: Mapping[str, BaseDistribution]

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Parameters, in the order of a row."""
        return tuple(self.distributions)

    @cached_property
    def values(self) -> tuple[tuple[Any, ...], ...]:
        """Choices of each parameter."""
        values: list[tuple[Any, ...]] = []
        for d in self.distributions.values():
            if isinstance(d, CategoricalDistribution):
                values.append(tuple(d.choices))
            elif isinstance(d, IntDistribution):
                values.append(tuple(range(d.low, d.high + 1, d.step)))
        return tuple(values)

    @cached_property
    def counts(self) -> Ints:
        """Number of values of each parameter [D]."""
        return np.array([len(v) for v in self.values], dtype=np.intp)

    @property
    def size(self) -> int:
        """Candidates of the whole space."""
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
        """Candidates [N, D] as Optuna's parameters."""
        return [
            {name: v[c] for name, v, c in zip(self.names, self.values, row, strict=True)}
            for row in codes.tolist()
        ]

    def columns(self, codes: Ints) -> Columns:
        """Candidates [N, D] by parameter, each [N]."""
        return dict(zip(self.names, codes.T, strict=True))

    @cached_property
    def _places(self) -> tuple[dict[Any, int], ...]:
        return tuple({_hashed(v): i for i, v in enumerate(values)} for values in self.values)

    def places(self, params: Params) -> tuple[int, ...] | None:
        """A candidate's row of codes; None where a parameter is missing or has another value."""
        row = []
        for name, places in zip(self.names, self._places, strict=True):
            place = places.get(_hashed(params[name])) if name in params else None
            if place is None:
                return None
            row.append(place)
        return tuple(row)

    def rows(self, rows: Sequence[tuple[int, ...]]) -> Ints:
        """Rows of codes as an array [N, D]."""
        return np.array(rows, dtype=np.intp).reshape(len(rows), len(self.names))

    def encode(self, candidates: Sequence[Params]) -> Ints:
        """Codes [N, D] of candidates.

        Raises:
            ValueError: A candidate of another space.
        """
        rows = [self.places(params) for params in candidates]
        if foreign := [p for p, row in zip(candidates, rows, strict=True) if row is None]:
            raise ValueError(f"{foreign[0]} is not a candidate of {', '.join(self.names)}")
        return self.rows([row for row in rows if row is not None])

    def all(self) -> Ints:
        """The whole space [size, D]."""
        numbers = np.unravel_index(np.arange(self.size), tuple(self.counts.tolist()))
        return np.stack(numbers, -1).astype(np.intp)

    def draws(self, count: int, rng: np.random.Generator) -> Ints:
        """Draws candidates uniformly, with replacement.

        Args:
            count: Number of draws.
            rng: Source of the draws.

        Returns:
            Codes [count, D].
        """
        return np.asarray(rng.integers(self.counts, size=(count, len(self.counts))), dtype=np.intp)

    def children(self, parents: Ints, count: int, rng: np.random.Generator) -> Ints:
        """Children of one or two parents, with one or more parameters drawn again.

        Ordered parameters mostly move by a step.

        Args:
            parents: Codes [P, D]; without any there are no children.
            count: Number of children.
            rng: Source of random draws.

        Returns:
            Codes [count, D].
        """
        if not len(parents):
            return parents
        first, second = rng.integers(len(parents), size=(2, count))
        crossed = (rng.random(count) < 0.5)[:, None] & (rng.random((count, len(self.counts))) < 0.5)
        mixed = np.where(crossed, parents[second], parents[first])
        anew = rng.random(mixed.shape) < MUTATED * rng.random((count, 1))
        anew[np.arange(count), rng.integers(len(self.counts), size=count)] = True
        step = mixed + rng.choice([-1, 1], size=mixed.shape)
        near = self.ordered & (rng.random(mixed.shape) < 0.7)
        moved = np.where(near, np.clip(step, 0, self.counts - 1), self.draws(count, rng))
        return np.where(anew, moved, mixed)


def _hashed(value: Any) -> tuple[type, Any]:
    """A key by which True and 1 differ, and nan equals nan."""
    return (type(value), repr(value) if isinstance(value, float) else value)
