"""How far the proxies of a study rank its trained candidates as their accuracy does."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from nas_service.metrics import PROXY
from nas_service.searches.candidate import Candidate
from nas_service.statistics import Interval, spearman


@dataclass(frozen=True)
class Correlation:
    """How far a proxy ranks the trained candidates as their accuracy does."""

    candidates: int
    spearman: Interval | None  # None for fewer than four candidates, or where all are alike

    def to_json(self) -> dict[str, float | int | None]:
        """The correlation, both ends of its interval, and the number of candidates."""
        r = self.spearman
        ends = (None, None, None) if r is None else (r.value, r.low, r.high)
        named = dict(zip(("spearman", "low", "high"), ends, strict=True))
        return {**named, "candidates": self.candidates}

    def __str__(self) -> str:
        if self.spearman is None:
            return f"none yet, {self.candidates} candidates"
        r = self.spearman
        return f"{r.value:+.2f} ({r.low:+.2f} .. {r.high:+.2f}), {self.candidates} candidates"


def correlations(names: Iterable[str], candidates: Iterable[Candidate]) -> dict[str, Correlation]:
    """Each proxy against the accuracy of the trained candidates.

    The sampler chose these: over the whole space the correlation may be another. Of trainings
    that ended at different epochs those at the most frequent one count.

    Args:
        names: Of the proxies.
        candidates: Of the finished trials.

    Returns:
        The correlation of each proxy, by its name.
    """
    trained = [c.metrics for c in candidates if c.outcome == "trained"]
    most_frequent = Counter(m.get("epochs") for m in trained).most_common(1)
    trained = [m for m in trained if m.get("epochs") == most_frequent[0][0]]
    return {name: _correlation(PROXY + name, trained) for name in names}


def _correlation(metric: str, trained: Sequence[Mapping[str, float]]) -> Correlation:
    pairs = [(m[metric], m["accuracy"]) for m in trained if metric in m]
    return Correlation(len(pairs), spearman([x for x, _ in pairs], [y for _, y in pairs]))
