"""The page that compares two studies: their fronts, figures, and settings that differ."""

from collections.abc import Sequence
from dataclasses import dataclass

from nas_service.dashboard.answers import Answer, Request, page
from nas_service.dashboard.figures import Drawn
from nas_service.dashboard.query import whole_number
from nas_service.dashboard.studies import ShownStudy, Studies
from nas_service.dashboard.study import shown_metrics
from nas_service.dashboard.two_fronts import Side, two_fronts
from nas_service.searches.candidate import Candidate
from nas_service.store.records import StudyName
from nas_service.study.sections import Objective

NAMES = ("a", "b")  # of the two studies in the address
LISTED = 30


@dataclass(frozen=True)
class Compared:
    """Two studies, and what can be compared of them."""

    a: ShownStudy
    b: ShownStudy

    @property
    def both(self) -> tuple[ShownStudy, ShownStudy]:
        """The studies in their order."""
        return self.a, self.b

    @property
    def same_objectives(self) -> bool:
        """True where both optimise the same metrics in the same directions."""
        first, second = (
            [(o.metric, o.direction) for o in s.result.spec.objectives] for s in self.both
        )
        return first == second

    @property
    def same_scale(self) -> bool:
        """True where the references and ideals are equal, too: hypervolumes can be compared."""
        a, b = self.a.result.spec, self.b.result.spec
        scales = [[(s.reference(o), s.ideal(o)) for o in s.objectives] for s in (a, b)]
        return self.same_objectives and scales[0] == scales[1]

    def covered(self, study: ShownStudy) -> int:
        """Number of candidates of a front that the other study's front dominates."""
        other = self.b if study is self.a else self.a
        goals = other.result.spec.objectives
        return sum(
            any(_dominates(theirs, own, goals) for theirs in other.result.front)
            for own in study.result.front
        )

    @property
    def metrics(self) -> list[str]:
        """Metrics of objectives and budgets of either study."""
        return list(dict.fromkeys([m for s in self.both for m in shown_metrics(s.result)]))

    @property
    def differences(self) -> list[tuple[str, str, str]]:
        """Keys in which the specifications differ, with both values."""
        pairs = self.a.result.spec.differences(self.b.result.spec)
        return [(key, _words(old), _words(new)) for key, (old, new) in pairs.items()]


def _words(value: object) -> str:
    return "none" if value is None else str(value)[:200]


def _dominates(candidate: Candidate, other: Candidate, objectives: Sequence[Objective]) -> bool:
    """True where a candidate is at least as good in every objective, and better in one."""
    signs = [-1 if o.direction == "maximize" else 1 for o in objectives]
    own = [s * candidate.metrics[o.metric] for s, o in zip(signs, objectives, strict=True)]
    their = [s * other.metrics[o.metric] for s, o in zip(signs, objectives, strict=True)]
    return own != their and all(x <= y for x, y in zip(own, their, strict=True))


def _figures(compared: Compared) -> list[Drawn]:
    first, second = (Side(s.name, s.result, f"studies/{s.id}/trials/") for s in compared.both)
    return two_fronts(first, second)


def studies_of(studies: Studies, request: Request) -> Sequence[int]:
    """Numbers of the two studies."""
    return _chosen([s for s in studies.listed() if s.is_ours], request)


def _chosen(ours: Sequence[StudyName], request: Request) -> list[int]:
    """The studies that the address names; the two newest where it names none."""
    newest = [s.id for s in ours]
    first = whole_number(request.query, "a", 0, 10**9)
    second = whole_number(request.query, "b", 0, 10**9)
    first = newest[0] if first is None and newest else first
    second = next((n for n in newest if n != first), None) if second is None else second
    return [n for n in (first, second) if n is not None]


def show(studies: Studies, request: Request) -> Answer:
    """The page."""
    ours = [s for s in studies.listed() if s.is_ours]
    chosen = _chosen(ours, request)
    compared = Compared(*map(studies.get, chosen)) if len(chosen) == 2 else None
    return page(
        request,
        "compare.html",
        title="Comparison",
        studies=ours[:200],
        chosen=chosen,
        compared=compared,
        figures=_figures(compared) if compared and compared.same_objectives else [],
        listed=LISTED,
    )
