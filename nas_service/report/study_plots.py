"""Plots of how a study went: its hypervolume, its trainings, its finalists, its parameters."""

import math
from itertools import accumulate

from nas_service.metrics import MEASURED
from nas_service.report.front_plots import kind_of
from nas_service.report.importance import importance
from nas_service.report.plots import Dimension, Figure, Grid, Line, Lines, Spread
from nas_service.report.scale import axis_range
from nas_service.report.study_data import StudyData
from nas_service.searches.candidate import Candidate
from nas_service.searches.results import Result
from nas_service.statistics import Interval
from nas_service.store.records import PAID
from nas_service.text import metric_label

ROWS = 12  # parameters that the table of importance shows
Row = tuple[str, tuple[float, ...], tuple[float, float] | None]  # of a `Spread`
COMPARED = 12  # candidates whose accuracies on simulated chips are drawn


def history(data: StudyData) -> Figure | None:
    """Hypervolume over the trainings, beside random searches in the same store."""
    own = _growth(data.result)
    if len(own) < 2:
        return None
    name = f"{data.spec.name} ({data.spec.search.sampler})"
    lines = [Line(name, "front", own, steps=True)]
    for other in data.baselines:
        label = f"{other.spec.name} (random search)"
        lines.append(Line(label, "baseline", _growth(other), steps=True))
    last = max(points[-1][0] for points in (line.points for line in lines) if points)
    top = max(value for line in lines for _, value in line.points)
    what = "trainings" if data.spec.training.epochs else "scored candidates"
    y = Dimension("hypervolume (share of the box)", 0.0, 1.08 * top or 1.0)
    plot = Lines(Dimension(what, 0.0, max(last, 1.0), whole=True), y, tuple(lines))
    note = "" if data.baselines else "No random search for the same goals is in the store."
    return Figure("hypervolume", "Hypervolume over the search", plot, note)


def _growth(result: Result) -> tuple[tuple[float, float], ...]:
    """(number of trainings, hypervolume) after each training of a feasible candidate."""
    trials = [c.trial for c in result.candidates]
    spent = accumulate(c.outcome in PAID for c in result.candidates)
    trainings = dict(zip(trials, spent, strict=True))
    steps = tuple((float(trainings[t]), v) for t, v in result.hypervolume_history())
    last = float(max(trainings.values(), default=0))
    return ((0.0, 0.0), *steps, (last, steps[-1][1])) if steps else ()


def curves(data: StudyData) -> Figure | None:
    """Validation accuracy after the epochs at which trainings were scored."""
    lines = [
        Line(f"trial {c.trial}", kind_of(data.result, c), points, c.trial)
        for c in data.distinct
        if len(points := _curve(data, c)) > 1
    ]
    if not lines:
        return None
    epochs = [epoch for line in lines for epoch, _ in line.points]
    low, high = axis_range([a for line in lines for _, a in line.points], most=100.0)
    x = Dimension("epoch", min(epochs), max(epochs), whole=True)
    plot = Lines(x, Dimension("validation accuracy (%)", low, high), tuple(lines))
    return Figure("training-curves", "Training curves", plot)


def _curve(data: StudyData, c: Candidate) -> tuple[tuple[float, float], ...]:
    return tuple((float(epoch), 100 * a) for epoch, a in data.facts[c.digest].curve)


def on_chip(data: StudyData) -> Figure | None:
    """Accuracy of the best candidates on each simulated chip."""
    best = [*data.result.front, *(c for c in data.distinct if c not in data.result.front)]
    chips = [(c, data.facts[c.digest].on_chip) for c in best if c.archived in MEASURED]
    named = [(f"trial {c.trial}", tuple(100 * a for a in x)) for c, x in chips if x]
    rows: list[Row] = [(name, values, None) for name, values in named[:COMPARED]]
    if not rows:
        return None
    title = "Validation accuracy on simulated chips"
    note = "One dot for each simulated chip, a bar at their mean; candidates of the front first."
    return Figure("accuracy-on-chip", title, _spread("accuracy on chip (%)", rows), note)


def finalists(data: StudyData) -> Figure | None:
    """Accuracies of retrained candidates with the interval of their mean."""
    rows: list[Row] = [
        (
            f"trial {f.candidate.trial}",
            tuple(100 * a for a in f.accuracies),
            _percent(data.interval(f)),
        )
        for f in data.finalists
        if f.accuracies
    ]
    if not rows:
        return None
    note = (
        "One dot for each training with its own seed; the frame is the 95 % interval of the mean."
    )
    plot = _spread("validation accuracy (%)", rows)
    return Figure("finalists", "Finalists, trained in full with several seeds", plot, note)


def _percent(interval: Interval | None) -> tuple[float, float] | None:
    return None if interval is None else (100 * interval.low, 100 * interval.high)


def _spread(label: str, rows: list[Row]) -> Spread:
    values = [v for _, row, _ in rows for v in row]
    values += [v for _, _, ends in rows for v in ends or ()]
    low, high = axis_range(values, most=100.0)
    return Spread(Dimension(label, low, high, minimised=False), tuple(rows))


def parameter_importance(data: StudyData) -> Figure | None:
    """How much of each metric's variance every parameter of the space explains alone."""
    columns = {m: importance(*_samples(data, m)) for m in dict.fromkeys(data.spec.metrics)}
    columns = {m: shares for m, shares in columns.items() if any(shares.values())}
    if not columns:
        return None
    names = list(dict.fromkeys(name for shares in columns.values() for name in shares))
    ranked = sorted(names, key=lambda n: -max(s.get(n) or 0.0 for s in columns.values()))
    rows = tuple((_plain(n), tuple(s.get(n) for s in columns.values())) for n in ranked[:ROWS])
    left, foreign = len(names) - len(rows), len(data.facts) - len(data.parameters)
    note = (
        "Share of the variance of a metric among the candidates of this study that one parameter "
        "explains alone (omega squared): costs over all candidates, accuracy over the trained ones."
        + (f" {left} parameters that explain less are left out." if left else "")
        + (f" {foreign} candidates are not of the study's space." if foreign else "")
    )
    plot = Grid(tuple(metric_label(m) for m in columns), rows)
    return Figure("importance", "Which parameters decide", plot, note)


def _samples(data: StudyData, name: str) -> tuple[list[dict[str, int | str]], list[float]]:
    """Parameters and values of the candidates that have a metric, all after equal epochs."""
    trained = [c.metrics.get("epochs") for c in data.distinct if c.archived in MEASURED]
    most = max(set(trained), key=trained.count, default=None)
    known = (c for c in data.distinct if c.digest in data.parameters)
    measured = [c for c in known if math.isfinite(c.metrics.get(name, math.nan))]
    same = [c for c in measured if name != "accuracy" or c.metrics.get("epochs") == most]
    return [data.parameters[c.digest] for c in same], [c.metrics[name] for c in same]


def _plain(parameter: str) -> str:
    """A parameter of the space in words, such as `cell 1, edge 0 to 3`."""
    cell, _, edge = parameter.partition("_edge")
    if edge and cell.startswith("cell"):
        return f"{cell.replace('cell', 'cell ')}, edge {edge[0]} to {edge[1:]}".replace("_", " ")
    return parameter.removesuffix("_index").replace("_", " ")


def study_figures(data: StudyData) -> list[Figure]:
    """All plots of this module that have something to show."""
    made = (history, parameter_importance, curves, on_chip, finalists)
    return [figure for make in made if (figure := make(data)) is not None]
