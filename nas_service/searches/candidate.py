"""One finished trial of a study, with what is known of its candidate."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from nas_service.errors import StudyError
from nas_service.metrics import MEASURED

Loader = Callable[["Candidate"], Any]  # of the network of a trained candidate


@dataclass(frozen=True)
class Candidate:
    """One finished trial with what is known of its candidate."""

    trial: int
    digest: str
    outcome: str  # trained, scored, cached, continued, rejected, diverged
    archived: str  # outcome of the trial that measured the candidate, another one if cached
    metrics: dict[str, float]  # all that are measured, after the last epoch so far
    violations: dict[str, float]  # of the constraints whose metric is measured
    test_accuracy: float | None
    reason: str = ""  # why it was not trained, or what went wrong
    rejected_by: tuple[str, ...] = ()  # the checks that it failed before training
    missed_references: tuple[str, ...] = ()  # objectives whose value is worse than the reference
    loader: Loader | None = field(default=None, repr=False, compare=False)

    @property
    def measured(self) -> bool:
        """True where this trial measured all that the study asks for."""
        return self.outcome in MEASURED

    @property
    def feasible(self) -> bool:
        """True where the candidate is measured, in any trial, and within every budget."""
        return self.archived in MEASURED and all(v <= 0 for v in self.violations.values())

    @property
    def below_reference(self) -> bool:
        """True for a feasible candidate that is worse than the reference of an objective."""
        return self.feasible and bool(self.missed_references)

    def row(self) -> dict[str, Any]:
        """Its facts as one flat row of a table."""
        facts = {"trial": self.trial, "outcome": self.outcome, "feasible": self.feasible}
        return {**facts, "below_reference": self.below_reference, **self.metrics}

    def load(self) -> Any:
        """The trained network, to classify images with.

        Returns:
            What `nas_service.load` returns for the exported network.

        Raises:
            StudyError: The candidate was not trained, its weights are not on this machine, or
                the result was not read by `nas_service.search`.
            DataError: The file of weights is damaged.
        """
        if self.loader is None:
            raise StudyError(
                f"trial {self.trial}: candidates of `nas_service.search` can be loaded; "
                "`nas export` writes the network of any other"
            )
        return self.loader(self)
