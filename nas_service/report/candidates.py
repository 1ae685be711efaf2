"""The tables and cards of candidates on a report."""

from dataclasses import dataclass

from hw_models import HardwareReport
from nas_service.metrics import Evaluation
from nas_service.report.front_plots import kind_of
from nas_service.report.hardware_plots import hardware_figures
from nas_service.report.plots import CellGraph, Figure
from nas_service.report.study_data import StudyData
from nas_service.searches.candidate import Candidate
from nas_service.spaces.architecture import Architecture
from nas_service.study.sections import Constraint
from nas_service.text import exact, metric, metric_label, metric_unit, number, signed

CARDS = 12  # candidates with a card of their own
REJECTED = 500  # rejected candidates that the table of all lists
OUTCOMES = {
    "trained": "trained",
    "scored": "scored",
    "diverged": "diverged in training",
    "rejected": "rejected before training",
    "cached": "answered from the archive",
    "continued": "trained further",
    "failed": "failed",
    "running": "running",
}
WORDS = {
    "front": "front",
    "feasible": "feasible",
    "below": "below reference",
    "infeasible": "over budget",
}


@dataclass(frozen=True)
class Row:
    """A candidate as a line of a table."""

    candidate: Candidate
    kind: str
    verdict: str
    worst: str  # budget that it is nearest to or breaks most, with the distance


@dataclass(frozen=True)
class Budget:
    """One budget and what a candidate makes of it."""

    name: str
    bound: str
    value: str
    violation: str
    kept: bool | None  # None where it is not known


@dataclass(frozen=True)
class Card:
    """A candidate with its pictures."""

    row: Row
    evaluation: Evaluation
    accuracy: str  # mean of its repeats with the interval; empty without repeats
    budgets: list[Budget]
    cells: list[Figure]
    figures: list[Figure]

    @property
    def hardware(self) -> HardwareReport:
        """Its costs, layer by layer."""
        return self.evaluation.hardware

    @property
    def sizes(self) -> str:
        """Everything of the architecture but its cells, in words."""
        return sizes(self.evaluation.architecture)


def sizes(a: Architecture) -> str:
    """Everything of an architecture but its cells, in words."""
    return (
        f"{', '.join(map(str, a.widths))} channels, T = {a.time_steps}, {_bits(a)} weights, "
        f"hidden {a.hidden}, head pool {a.head_pool or 'global'}, threshold {a.threshold:g}"
        + "".join(f", {key.replace('_', ' ')} {value}" for key, value in a.chip)
    )


def _bits(a: Architecture) -> str:
    """`8-bit`, or the range if parts of the network differ."""
    least, most = min(a.all_bits), max(a.all_bits)
    return f"{least}-bit" if least == most else f"{least}- to {most}-bit"


def row(data: StudyData, candidate: Candidate) -> Row:
    """A candidate as a line of a table."""
    kind = kind_of(data.result, candidate)
    outcome = OUTCOMES.get(candidate.outcome, candidate.outcome)
    worst = max(candidate.violations.items(), key=lambda item: item[1], default=None)
    nearest = "" if worst is None else f"{_budget_name(worst[0])} {_distance(worst[1])}"
    return Row(candidate, kind, WORDS.get(kind, outcome), nearest)


def _budget_name(constraint: str) -> str:
    """What a constraint is called: by its metric, with `least` for a second, lower bound."""
    stem = constraint.removesuffix("_min")
    return metric_label(stem) + (", least" if stem != constraint else "")


def _distance(violation: float) -> str:
    return f"{signed(100 * violation, 2)} %"


def card(data: StudyData, candidate: Candidate) -> Card:
    """A candidate with its cells and its costs drawn."""
    evaluation = data.result.evaluation(candidate)
    cells = [
        Figure(f"trial-{candidate.trial}-cell-{n}", f"Cell {n}", CellGraph(cell))
        for n, cell in enumerate(evaluation.architecture.cells)
    ]
    figures = [
        Figure(f"trial-{candidate.trial}-{f.name}", f.title, f.plot, f.note)
        for f in hardware_figures(evaluation.hardware)
    ]
    return Card(
        row(data, candidate),
        evaluation,
        _accuracy(data, candidate),
        [_budget(data, c, candidate) for c in data.spec.constraints],
        cells,
        figures,
    )


def _accuracy(data: StudyData, candidate: Candidate) -> str:
    interval = data.intervals.get(candidate.digest)
    if interval is None:
        return ""
    mean, low, high = (number(100 * x) for x in (interval.value, interval.low, interval.high))
    return f"{mean} % ({low} to {high})"


def _budget(data: StudyData, constraint: Constraint, candidate: Candidate) -> Budget:
    name = data.spec.constraint_name(constraint)
    violation = candidate.violations.get(name)
    limit = constraint.at_most if constraint.at_most is not None else constraint.at_least
    sign = "≤" if constraint.at_most is not None else "≥"
    unit = metric_unit(constraint.metric)
    shown = exact(limit * 100 if unit == "%" and limit is not None else limit)
    return Budget(
        _budget_name(name),
        f"{sign} {shown} {unit}".rstrip(),
        metric(constraint.measure, candidate.metrics.get(constraint.measure)),
        "not measured" if violation is None else _distance(violation),
        None if violation is None else violation <= 0,
    )


def all_rows(data: StudyData) -> tuple[list[Row], int]:
    """Every finished trial by number, and how many rejected ones are left out."""
    rows = [row(data, c) for c in data.result.candidates]
    rejected = [r for r in rows if r.kind == "rejected"]
    left_out = {r.candidate.trial for r in rejected[REJECTED:]}
    return [r for r in rows if r.candidate.trial not in left_out], len(left_out)
