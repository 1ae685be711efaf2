"""The front of a study as a plotly figure, for a notebook."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas_service.text import metric_label, metric_number, metric_unit, printable

if TYPE_CHECKING:
    from plotly.graph_objects import Figure

SHOWN_AXES = 3  # objectives beyond these become parallel coordinates
MARGIN = 0.06  # of an axis, on each side of what has to be seen
WORDS = ("front", "feasible", "below reference", "over budget")
COLOURS = ("#0b6e99", "#8fb8c9", "#c98a1b", "#b5b5b5")
SIZES = (10, 7, 7, 5)


@dataclass(frozen=True)
class Group:
    """Candidates that are drawn alike: trial numbers, and their metrics in the same order."""

    trials: Sequence[int]
    metrics: Sequence[Mapping[str, float]]


def front_figure(
    title: str,
    objectives: Sequence[str],
    groups: Sequence[Group],
    limits: Iterable[tuple[str, float]] = (),
) -> "Figure":
    """Draws candidates by their objectives.

    One objective is drawn by trial, two and three as axes, more as parallel coordinates. What is
    over budget sets no axis.

    Args:
        title: Above the figure.
        objectives: Names of metrics, the first one upwards.
        groups: Those on the front, other feasible ones, those below a reference, and those over
            budget, each with a value of every objective.
        limits: Metric and limit of each budget.

    Returns:
        The figure.
    """
    from plotly import graph_objects as go  # loaded when it is used

    title, groups = printable(title), list(groups)
    if len(objectives) > SHOWN_AXES:
        return go.Figure(_lines(objectives, groups)).update_layout(title=title)
    figure = go.Figure([_points(n, objectives, group) for n, group in enumerate(groups)])
    figure.update_layout(title=title, template="plotly_white", legend_title_text="")
    if len(objectives) == SHOWN_AXES:
        axes = dict(zip("xyz", map(_axis, objectives), strict=True))
        return figure.update_layout(scene={f"{k}axis_title": name for k, name in axes.items()})
    return _flat(figure, objectives, groups, dict(limits))


def _axis(metric: str) -> str:
    return f"{metric_label(metric)} [{metric_unit(metric) or '1'}]"


def _values(metric: str, group: Group) -> list[float]:
    factor = 100.0 if metric_unit(metric) == "%" else 1.0
    return [factor * values[metric] for values in group.metrics]


def _points(n: int, objectives: Sequence[str], group: Group) -> dict[str, object]:
    """A trace of markers, which name their trial and objectives under the pointer."""
    columns = [_values(metric, group) for metric in objectives]
    if len(columns) == 1:
        columns.append([float(t) for t in group.trials])
    names = ("x", "y", "z") if len(columns) == SHOWN_AXES else ("y", "x")
    marker = {"color": COLOURS[n], "size": SIZES[n], "symbol": "circle" if n != 3 else "x"}
    return {
        "type": "scatter3d" if len(columns) == SHOWN_AXES else "scatter",
        "mode": "markers",
        "name": f"{WORDS[n]} ({len(group.trials)})",
        "marker": marker,
        "hovertemplate": "%{text}<extra></extra>",
        "text": [
            _text(*pair, objectives) for pair in zip(group.trials, group.metrics, strict=True)
        ],
        **dict(zip(names, columns, strict=True)),
    }


def _text(trial: int, metrics: Mapping[str, float], objectives: Sequence[str]) -> str:
    shown = (f"{_axis(m)} {metric_number(m, metrics[m])}" for m in objectives)
    return "<br>".join((f"trial {trial}", *shown))


def _lines(objectives: Sequence[str], groups: Sequence[Group]) -> dict[str, object]:
    """A trace of parallel coordinates of everything within the budgets, the front coloured."""
    kept = [(n, group) for n, group in enumerate(groups[:3]) if group.trials]
    dimensions = [
        {"label": _axis(m), "values": [v for _, group in kept for v in _values(m, group)]}
        for m in objectives
    ]
    colours = [float(n == 0) for n, group in kept for _ in group.trials]
    scale = [[0.0, COLOURS[1]], [1.0, COLOURS[0]]]
    line = {"color": colours, "colorscale": scale, "cmin": 0, "cmax": 1}
    return {"type": "parcoords", "dimensions": dimensions, "line": line}


def _flat(
    figure: "Figure", objectives: Sequence[str], groups: Sequence[Group], limits: dict[str, float]
) -> "Figure":
    """A figure of two axes with its budgets; both axes span what is within the budgets."""
    names = {"y": objectives[0], **({"x": objectives[1]} if len(objectives) > 1 else {})}
    if "x" not in names:
        figure.update_xaxes(title="trial")
    for axis, metric in names.items():
        seen = [v for group in groups[:3] for v in _values(metric, group)]
        change = getattr(figure, f"update_{axis}axes")
        change(title=_axis(metric), range=_span(seen))
        if metric in limits:
            place = limits[metric] * (100.0 if metric_unit(metric) == "%" else 1.0)
            line = {"x": figure.add_vline, "y": figure.add_hline}[axis]
            line(place, line_dash="dot", annotation_text="budget")
    return figure


def _span(values: Sequence[float]) -> tuple[float, float] | None:
    """The range of an axis; None lets plotly choose."""
    if not values or min(values) == max(values):
        return None
    margin = MARGIN * (max(values) - min(values))
    return min(values) - margin, max(values) + margin
