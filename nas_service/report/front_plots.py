"""Plots of a study's candidates over its objectives."""

import itertools
import math
from collections.abc import Mapping, Sequence

from nas_service.metrics import MEASURED
from nas_service.report.plots import Dimension, Figure, Limit, Parallel, Point, Scatter, Track
from nas_service.report.scale import axis_range, middle_of
from nas_service.report.study_data import StudyData
from nas_service.searches.candidate import Candidate
from nas_service.searches.results import Result
from nas_service.statistics import Interval
from nas_service.text import exact, metric, metric_label, metric_unit

TRIAL = "trial"  # the x axis of a study with one objective
MANY = 400  # infeasible candidates that parallel coordinates show; more would hide the others


def axis_label(name: str) -> str:
    """A metric's name as the label of an axis, its unit in parentheses."""
    unit = metric_unit(name)
    return metric_label(name) + (f" ({unit})" if unit else "")


def shown(name: str, value: float) -> float:
    """A value of a metric in the unit of its axis: shares are in percent."""
    return 100 * value if metric_unit(name) == "%" else value


def kind_of(result: Result, candidate: Candidate) -> str:
    """How a candidate is drawn: one of `plots.KINDS`."""
    if candidate.archived not in MEASURED:
        return "diverged" if candidate.archived == "diverged" else "rejected"
    if candidate.trial in result.front_trials:
        return "front"
    if not candidate.measured:
        return "cached"
    if not candidate.feasible:
        return "infeasible"
    return "below" if candidate.below_reference else "feasible"


def tip(result: Result, candidate: Candidate) -> str:
    """What the pointer shows over a candidate: its metrics line by line."""
    lines = [
        f"{metric_label(m)} {metric(m, candidate.metrics[m])}" for m in _named(result, candidate)
    ]
    return "\n".join([f"trial {candidate.trial}, {candidate.outcome}", *lines])


def _named(result: Result, candidate: Candidate) -> list[str]:
    """Metrics of objectives and budgets that are measured."""
    return [m for m in dict.fromkeys(result.spec.metrics) if m in candidate.metrics]


def limits_of(result: Result, name: str) -> tuple[Limit, ...]:
    """The budgets of a metric, and its reference where it is an objective and no budget is it."""
    limits = [
        Limit(shown(name, bound), f"budget {exact(shown(name, bound))}", c.at_most is not None)
        for c in result.spec.constraints
        if c.metric == name and (bound := c.at_most if c.at_most is not None else c.at_least)
    ]
    for o in (o for o in result.spec.objectives if o.metric == name):
        value = shown(name, result.spec.reference(o))
        if o.reference is not None and all(value != limit.value for limit in limits):
            label = f"reference {exact(value)}"
            limits.append(Limit(value, label, o.direction == "minimize"))
    return tuple(limits)


def dimension(result: Result, name: str) -> Dimension:
    """The axis of a metric: around the front, or without one around what was measured."""
    core = [c.metrics[name] for c in result.front if name in c.metrics]
    if len(set(core)) < 2:
        core += middle_of([c.metrics[name] for c in result.candidates if name in c.metrics])
    limits = limits_of(result, name)
    most = 100.0 if metric_unit(name) == "%" else math.inf
    values = [shown(name, value) for value in core]
    low, high = axis_range(values, [limit.value for limit in limits], most)
    maximised = any(o.metric == name and o.direction == "maximize" for o in result.spec.objectives)
    return Dimension(axis_label(name), low, high, limits, not maximised)


Looks = Mapping[int, tuple[str, str]]  # kind and tip of each trial


def _looks(result: Result) -> Looks:
    return {c.trial: (kind_of(result, c), tip(result, c)) for c in result.candidates}


def scatter(data: StudyData, looks: Looks, y: str, x: str) -> Scatter:
    """Candidates over two metrics; a candidate that was not measured has no y."""
    result = data.result
    points = tuple(
        _point(data, looks, c, shown(x, c.metrics[x]), y)
        for c in result.candidates
        if x in c.metrics
    )
    joined = len(result.spec.objectives) == 2
    return Scatter(dimension(result, x), dimension(result, y), points, joined)


def over_trials(data: StudyData, looks: Looks, y: str) -> Scatter:
    """The only objective over the trials."""
    result = data.result
    last = max((c.trial for c in result.candidates), default=1)
    points = tuple(_point(data, looks, c, c.trial, y) for c in result.candidates)
    axis = Dimension(TRIAL, -0.5, last + 0.5, whole=True)
    return Scatter(axis, dimension(result, y), points, joined=False)


def _point(data: StudyData, looks: Looks, c: Candidate, x: float, y: str) -> Point:
    value = c.metrics.get(y) if c.archived in MEASURED else None
    interval = data.intervals.get(c.digest) if y == "accuracy" and c.measured else None
    return Point(
        x,
        None if value is None else shown(y, value),
        *looks[c.trial],
        c.trial,
        None if interval is None else _ends(interval),
    )


def _ends(interval: Interval) -> tuple[float, float]:
    return 100 * interval.low, 100 * interval.high


def parallel(data: StudyData, looks: Looks) -> Parallel:
    """Measured candidates across the objectives and the metrics with a budget."""
    result = data.result
    names = list(dict.fromkeys(result.spec.metrics))
    measured = [c for c in result.candidates if c.measured and all(m in c.metrics for m in names)]
    infeasible = [c.trial for c in measured if looks[c.trial][0] == "infeasible"]
    hidden = set(infeasible[MANY:])
    tracks = tuple(
        Track(tuple(shown(m, c.metrics[m]) for m in names), *looks[c.trial], c.trial)
        for c in measured
        if c.trial not in hidden
    )
    return Parallel(tuple(dimension(result, m) for m in names), tracks)


def front_figures(data: StudyData) -> list[Figure]:
    """The front over each pair of objectives, and across all where there are more than two.

    Args:
        data: The study.

    Returns:
        Figures; none for a study without candidates.
    """
    if not data.result.candidates:
        return []
    names, looks = [o.metric for o in data.spec.objectives], _looks(data.result)
    if len(names) == 1:
        title = f"{_words(names[0])} of the candidates"
        return [Figure("front", title, over_trials(data, looks, names[0]))]
    pairs: Sequence[tuple[str, str]] = list(itertools.combinations(names, 2))
    figures = [
        Figure(
            "front" if n == 0 else f"front-{y}-{x}".replace("_", "-"),
            f"{_words(y)} and {metric_label(x)}",
            scatter(data, looks, y, x),
        )
        for n, (y, x) in enumerate(pairs)
    ]
    if len(names) > 2:
        title = "All objectives and budgets of each measured candidate"
        figures.append(Figure("parallel", title, parallel(data, looks)))
    return figures


def _words(name: str) -> str:
    words = metric_label(name)
    return words[:1].upper() + words[1:]
