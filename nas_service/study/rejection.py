"""Why a candidate is rejected before its training: names for programs, a sentence for people."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

PATH = "connected"  # the check that some path leads from input to output
MEMORY = "training.memory_GiB"  # the check that a training fits the memory it may take
NO_PATH = "no path from input to output"


@dataclass(frozen=True)
class Rejection:
    """The checks that a candidate fails (PATH, MEMORY or names of constraints), and the reason."""

    checks: tuple[str, ...]
    reason: str

    @classmethod
    def without_path(cls) -> "Rejection":
        """Of a candidate whose output does not depend on its input."""
        return cls((PATH,), NO_PATH)

    @classmethod
    def too_large(cls, need_GiB: float, limit_GiB: float) -> "Rejection":
        """Of a candidate whose training does not fit into memory.

        Args:
            need_GiB: What the training needs, estimated.
            limit_GiB: What it may take.

        Returns:
            The rejection, which names both numbers.
        """
        return cls((MEMORY,), f"training needs about {need_GiB:.3g} GiB of {limit_GiB:g}")

    @classmethod
    def out_of_memory(cls, failure: object) -> "Rejection":
        """Of a candidate for which memory ran out in two trainings, the last with `failure`."""
        return cls((MEMORY,), f"too large to train: twice {failure}")

    @classmethod
    def over_budget(cls, violations: Mapping[str, float]) -> "Rejection":
        """Of a candidate with relative violations, all above 0, of the named constraints."""
        texts = (f"{name} {100 * v:.3g} % over budget" for name, v in violations.items())
        return cls(tuple(violations), ", ".join(texts))

    def repaired(self, changes: object) -> "Rejection":
        """With the changes that would let the candidate keep all budgets."""
        return Rejection(self.checks, f"{self.reason}; fits with {changes}")

    def unrepaired(self, most: int) -> "Rejection":
        """Of a candidate that no change of up to `most` parameters would repair."""
        return Rejection(self.checks, f"{self.reason}; no repair found by up to {most} changes")


def total_violation(violations: Iterable[Any]) -> Any:
    """Sum of the relative violations that are above 0.

    Args:
        violations: Of one candidate numbers, of N candidates arrays [N].

    Returns:
        A number or an array [N]; 0 where every budget is kept.
    """
    return sum((np.maximum(violation, 0.0) for violation in violations), start=0.0)
