"""One finished trial of a study, with what is known of its candidate."""

from dataclasses import dataclass

from nas_service.metrics import MEASURED


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

    @property
    def measured(self) -> bool:
        """True where this trial measured all that the study asks for."""
        return self.outcome in MEASURED

    @property
    def feasible(self) -> bool:
        """True where the candidate is measured, in any trial, and within every budget."""
        return self.archived in MEASURED and all(v <= 0 for v in self.violations.values())
