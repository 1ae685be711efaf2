"""The optimisation problem: objectives and bounds on named metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Values = Mapping[str, Floats]


@dataclass(frozen=True)
class Objective:
    """A metric to optimise.

    Args:
        name: The metric.
        direction: Whether less or more is better.
        reference: The worst value that still counts for the hypervolume; None: from observations.
    """

    name: str
    direction: Literal["minimize", "maximize"] = "minimize"
    reference: float | None = None

    @property
    def sign(self) -> float:
        """Factor that makes the metric one to minimise."""
        return 1.0 if self.direction == "minimize" else -1.0


@dataclass(frozen=True)
class Bound:
    """A budget on a metric, from above or from below.

    Raises:
        ValueError: Not exactly one of both is given.
    """

    name: str
    at_most: float | None = None
    at_least: float | None = None

    def __post_init__(self) -> None:
        if (self.at_most is None) == (self.at_least is None):
            raise ValueError(f"bound on {self.name!r}: exactly one of at_most and at_least")

    @property
    def level(self) -> float:
        """The budget."""
        return float(self.at_most if self.at_most is not None else self.at_least or 0.0)

    def violation(self, values: Floats) -> Floats:
        """Relative violation [N]: <= 0 is within the budget."""
        if self.at_most is not None:
            return np.asarray((values - self.at_most) / (abs(self.at_most) or 1.0))
        assert self.at_least is not None  # noqa: S101  checked above
        return np.asarray((self.at_least - values) / (abs(self.at_least) or 1.0))


@dataclass(frozen=True)
class Problem:
    """Objectives, bounds, and which of their metrics only a training gives."""

    objectives: tuple[Objective, ...]
    bounds: tuple[Bound, ...] = ()
    learned: tuple[str, ...] = ()  # the others are given by the costs, exactly
    measurement_variance: float = 0.0  # of the first learned metric, of its validation sample

    @property
    def metrics(self) -> tuple[str, ...]:
        """Every metric with an objective or a bound."""
        return tuple(
            dict.fromkeys([*(o.name for o in self.objectives), *(b.name for b in self.bounds)])
        )

    def optimises(self, name: str) -> bool:
        """Whether a metric is an objective."""
        return any(o.name == name for o in self.objectives)

    def samples(self, name: str) -> bool:
        """Whether a metric is measured on a finite validation sample."""
        return self.measurement_variance > 0 and self.learned[:1] == (name,)

    def sign(self, name: str) -> float:
        """Factor that makes less of a metric better; -1 for one that is only bounded from below."""
        signs = [o.sign for o in self.objectives if o.name == name]
        signs += [-1.0 for b in self.bounds if b.name == name and b.at_least is not None]
        return (signs or [1.0])[0]

    @property
    def exact_bounds(self) -> tuple[Bound, ...]:
        """Bounds on metrics that are known without a training."""
        return tuple(b for b in self.bounds if b.name not in self.learned)

    @property
    def learned_bounds(self) -> tuple[Bound, ...]:
        """Bounds on metrics that only a training gives."""
        return tuple(b for b in self.bounds if b.name in self.learned)

    def excess(self, values: Values, bounds: tuple[Bound, ...], count: int) -> Floats:
        """Sum of positive relative violations of each candidate.

        Args:
            values: metric -> [N].
            bounds: Budgets.
            count: Number N of candidates.

        Returns:
            [N]; 0 where all bounds are kept.
        """
        total = np.zeros(count)
        for bound in bounds:
            total += np.maximum(bound.violation(values[bound.name]), 0.0)
        return total
