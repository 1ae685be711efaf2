"""Why a search has nothing feasible: the budgets that bind, and what would let a candidate in."""

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nas_service.errors import SpecError
from nas_service.metrics import MEASURED, metric_of
from nas_service.searches.candidate import Candidate
from nas_service.spaces.architecture import Architecture
from nas_service.study.rejection import MEMORY, PATH, total_violation
from nas_service.study.sections import Constraint
from nas_service.study.spec import StudySpec

DIGITS = 4  # of a loosened budget
COSTED = 100  # candidates whose memory is computed


@dataclass(frozen=True)
class Binding:
    """A budget that candidates break, with the best value that any of them has."""

    constraint: Constraint
    best: float
    source: str  # of the best value: exact, measured, or assumed spike rates
    kept: int  # candidates that keep this budget
    known: int  # candidates whose value is known

    def to_json(self) -> dict[str, Any]:
        """The budget, its best value, and how many candidates keep it."""
        limit = self.constraint.model_dump(exclude_none=True)
        return {**limit, "best": self.best, "source": self.source, "kept": self.kept}

    def __str__(self) -> str:
        word = "least" if self.constraint.at_most is not None else "most"
        kept = f"kept by {self.kept} of {self.known}" if self.kept else f"none of {self.known}"
        value = self.constraint.shown(self.best)
        return f"{self.constraint.described} ({kept}, {word} {value}, {self.source})"


@dataclass(frozen=True)
class Infeasible:
    """Why no candidate of a study is feasible, from those that it knows."""

    candidates: int  # different ones
    without_path: int
    over_memory: int  # rejected by the memory that a training may take
    memory_GiB: float | None  # the least that any of these needs
    diverged: int
    binding: tuple[Binding, ...]
    trial: int | None  # of the candidate that the smallest loosening lets in
    loosening: tuple[tuple[Constraint, float], ...]  # budgets, and limits that it keeps
    is_measured: bool  # the candidate is trained; else only its costs are known

    @property
    def lines(self) -> tuple[str, ...]:
        """For people: the budgets that bind, then the smallest loosening."""
        if not self.candidates:
            return ()
        lines = [f"nothing feasible among {self.candidates} candidates{self._others}"]
        if self.binding:
            lines[0] += f"; budgets that bind: {', '.join(map(str, self.binding))}"
        if self.loosening:
            what = "is measured" if self.is_measured else "is not trained: costs only"
            limits = ", ".join(c.with_limit(value).described for c, value in self.loosening)
            lines.append(f"smallest loosening: {limits} would let trial {self.trial} in ({what})")
        return tuple(lines)

    @property
    def _others(self) -> str:
        need = f" (least {self.memory_GiB:.3g})" if self.memory_GiB else ""
        counts = {
            "without a path": self.without_path,
            f"over {MEMORY}{need}": self.over_memory,
            "diverged": self.diverged,
        }
        others = [f"{count} {what}" for what, count in counts.items() if count]
        return f" ({', '.join(others)})" if others else ""

    def to_json(self) -> dict[str, Any]:
        """What a program needs of it."""
        return {
            "candidates": self.candidates,
            "over_memory": self.over_memory,
            "memory_GiB": self.memory_GiB,
            "binding": [x.to_json() for x in self.binding],
            "loosening": {c.measure: value for c, value in self.loosening},
            "trial": self.trial,
            "measured": self.is_measured,
        }


def infeasible(
    spec: StudySpec,
    candidates: Iterable[Candidate],
    architectures: Callable[[Sequence[Candidate]], Mapping[str, Architecture]] = lambda _: {},
) -> Infeasible:
    """Why nothing is feasible.

    A budget binds where no candidate keeps it, or where the nearest candidate breaks it.

    Args:
        spec: The study.
        candidates: Finished candidates, of which none is feasible.
        architectures: Architectures of some candidates, by digest.

    Returns:
        The budgets that bind, and the limits that would let the nearest candidate in.
    """
    distinct = list({c.digest: c for c in reversed(list(candidates))}.values())
    connected = [c for c in distinct if PATH not in c.rejected_by]
    large = [c for c in connected if MEMORY in c.rejected_by]
    nearest = _nearest(connected)
    broken = {name for name, v in nearest.violations.items() if v > 0} if nearest else set()
    loosened = [c for c in spec.constraints if spec.constraint_name(c) in broken]
    return Infeasible(
        candidates=len(distinct),
        without_path=len(distinct) - len(connected),
        over_memory=len(large),
        memory_GiB=_memory_GiB(spec, architectures(_smallest(large)).values()),
        diverged=sum(c.archived == "diverged" for c in distinct),
        binding=tuple(b for c in spec.constraints if (b := _binding(spec, c, connected, broken))),
        trial=None if nearest is None else nearest.trial,
        loosening=tuple((c, _loosened(c, nearest.metrics)) for c in loosened if nearest),
        is_measured=nearest is not None and nearest.archived in MEASURED,
    )


def _smallest(candidates: Sequence[Candidate]) -> list[Candidate]:
    """COSTED candidates of the fewest parameters."""
    return sorted(candidates, key=lambda c: c.metrics.get("parameters", 0.0))[:COSTED]


def _memory_GiB(spec: StudySpec, architectures: Iterable[Architecture]) -> float | None:
    """The least memory that a training of one of these takes at most; None if it is not known."""
    if not (known := list(architectures)):
        return None
    from nas_service.evaluation.screening import Budgets  # costs candidates

    try:
        return min(map(Budgets.of(spec).memory_GiB, known))
    except SpecError:  # its data set or chip is that of a plug-in that is not loaded
        return None


def _nearest(candidates: Sequence[Candidate]) -> Candidate | None:
    """The candidate of least total violation: a measured one where there is any, else a costed."""
    over = [c for c in candidates if MEMORY not in c.rejected_by and max(_violations(c)) > 0]
    measured = [c for c in over if c.archived in MEASURED]
    return min(measured or over, key=lambda c: (_total(c), c.trial), default=None)


def _violations(candidate: Candidate) -> list[float]:
    return [0.0, *candidate.violations.values()]


def _total(candidate: Candidate) -> float:
    return float(total_violation(candidate.violations.values()))


def _binding(
    spec: StudySpec,
    constraint: Constraint,
    candidates: Sequence[Candidate],
    broken: Container[str],
) -> Binding | None:
    """The budget where it binds; None where it does not."""
    name = spec.constraint_name(constraint)
    known = [c for c in candidates if name in c.violations]
    if _depends_on_rates(constraint):  # measured rates count, where there are any
        known = [c for c in known if c.archived in MEASURED] or known
    kept = sum(c.violations[name] <= 0 for c in known)
    if not known or (kept and name not in broken):
        return None
    best = min(known, key=lambda c: c.violations[name])
    value, source = best.metrics[constraint.measure], _source(constraint, best)
    return Binding(constraint, value, source, kept, len(known))


def _depends_on_rates(constraint: Constraint) -> bool:
    return metric_of(constraint.measure).grows_with_rate


def _source(constraint: Constraint, candidate: Candidate) -> str:
    if metric_of(constraint.measure).costed and not _depends_on_rates(constraint):
        return "exact"
    return "measured" if candidate.archived in MEASURED else "at the assumed spike rate"


def _loosened(constraint: Constraint, metrics: Mapping[str, float]) -> float:
    """The value of a candidate, rounded to DIGITS digits in the direction that lets it in."""
    value = metrics[constraint.measure]
    if not value:
        return value
    unit = 10.0 ** (math.floor(math.log10(abs(value))) - DIGITS + 1)
    whole = math.ceil(value / unit) if constraint.at_most is not None else math.floor(value / unit)
    return float(f"{whole * unit:.{DIGITS + 2}g}")
