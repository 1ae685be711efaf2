"""A candidate that was trained several times, each with a seed of its own."""

from dataclasses import dataclass

from nas_service.searches.candidate import Candidate
from nas_service.store.records import Repeat


@dataclass(frozen=True)
class Finalist:
    """A candidate with its repeats, by number; None where one is missing."""

    candidate: Candidate
    repeats: tuple[Repeat | None, ...]
    within: int  # repeats that keep every budget of the study

    @property
    def trained(self) -> list[Repeat]:
        """The repeats that did not diverge."""
        return [r for r in self.repeats if r is not None and r.evaluation.trained]

    @property
    def accuracies(self) -> list[float]:
        """Validation accuracies of `trained`, 0..1."""
        return [r.evaluation.accuracy for r in self.trained if r.evaluation.accuracy is not None]

    @property
    def test_accuracies(self) -> list[float]:
        """Test accuracies of `trained`, 0..1, where they are measured."""
        return [r.test_accuracy for r in self.trained if r.test_accuracy is not None]

    @property
    def diverged(self) -> int:
        """Number of repeats that diverged."""
        return sum(r is not None and not r.evaluation.trained for r in self.repeats)
