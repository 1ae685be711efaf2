"""Points and lines over axes, by matplotlib."""

import re
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from nas_service.report.colours import KINDS as COLOURS
from nas_service.report.plots import (
    KINDS,
    Dimension,
    Limit,
    Lines,
    Parallel,
    Point,
    Scatter,
    Spread,
)

GREY = "#566473"
MARKS = {  # marker, size in points, filled
    "front": ("o", 4.5, True),
    "feasible": ("o", 3.0, True),
    "cached": ("o", 5.5, False),
    "infeasible": ("o", 2.5, True),
    "below": ("D", 3.2, False),
    "rejected": ("|", 3.5, True),
    "diverged": ("x", 3.0, True),
}
SHORT = {  # for the legend of a narrow picture
    "front": "front",
    "feasible": "feasible",
    "cached": "proposed again",
    "infeasible": "over budget",
    "below": "below reference",
    "rejected": "rejected",
    "diverged": "diverged",
}


def typeset(label: str) -> str:
    """A label with the signs of a paper: `µJ` and `mm²`."""
    return re.sub(r"\bu(?=[JWsm]2?\b)", "µ", label).replace("mm2", "mm²").replace("m2", "m²")


def scatter(axes: Axes, plot: Scatter) -> None:
    """Candidates over two metrics."""
    _axes(axes, plot.x, plot.y)
    for limit in plot.x.limits:
        if plot.x.holds(limit.value):
            _limit(axes, limit, plot.x, upright=True)
    for limit in plot.y.limits:
        if plot.y.holds(limit.value):
            _limit(axes, limit, plot.y, upright=False)
    for order, kind in enumerate(KINDS):
        points = [p for p in plot.points if p.kind == kind]
        _points(axes, plot, kind, points, order)
    if len(plot.steps) > 1:
        xs, ys = zip(*plot.steps, strict=True)
        axes.plot(xs, ys, color=COLOURS["front"], linewidth=0.9, zorder=3)
    present = [kind for kind in reversed(KINDS) if any(p.kind == kind for p in plot.points)]
    handles = [_mark(kind, SHORT[kind]) for kind in present]
    if handles:
        axes.figure.legend(
            handles=handles, loc="outside upper center", ncols=min(4, len(handles)),
            handletextpad=0.2, columnspacing=0.9,
        )  # fmt: skip


def _axes(axes: Axes, x: Dimension, y: Dimension) -> None:
    axes.set_xlim(x.low, x.high)
    axes.set_ylim(y.low, y.high)
    axes.set_xlabel(typeset(x.label))
    axes.set_ylabel(typeset(y.label))
    axes.grid(visible=True)


def _limit(axes: Axes, limit: Limit, dimension: Dimension, *, upright: bool) -> None:
    look: dict[str, Any] = {"color": GREY, "linewidth": 0.7, "linestyle": (0, (4, 3))}
    end = dimension.high if limit.from_above else dimension.low
    near, far = sorted((limit.value, end))
    if upright:
        axes.axvline(limit.value, **look)
        axes.axvspan(near, far, color=GREY, alpha=0.1, linewidth=0)
        left = limit.value > (dimension.low + dimension.high) / 2
        axes.annotate(
            limit.label, (limit.value, 1), xycoords=("data", "axes fraction"),
            xytext=(-3 if left else 3, -8), textcoords="offset points", fontsize=6.5, color=GREY,
            ha="right" if left else "left",
        )  # fmt: skip
        return
    axes.axhline(limit.value, **look)
    axes.axhspan(near, far, color=GREY, alpha=0.1, linewidth=0)
    axes.annotate(
        limit.label, (1, limit.value), xycoords=("axes fraction", "data"), xytext=(-3, 2),
        textcoords="offset points", fontsize=6.5, color=GREY, ha="right",
    )  # fmt: skip


def _points(axes: Axes, plot: Scatter, kind: str, points: list[Point], order: int) -> None:
    """The points of one kind; those beyond an axis are triangles at its border."""
    sides: dict[str, list[Point]] = {}
    for p in points:
        sides.setdefault(_side(plot, p), []).append(p)
    for side, some in sides.items():
        mark = _mark(kind, "")
        axes.plot(
            [plot.x.inside(p.x) for p in some],
            [plot.y.low if p.y is None else plot.y.inside(p.y) for p in some],
            linestyle="none", marker=side or mark.get_marker(), markersize=mark.get_markersize(),
            color=COLOURS[kind], markerfacecolor=mark.get_markerfacecolor(), markeredgewidth=0.7,
            alpha=0.9 if kind in ("front", "below") else 0.7, clip_on=False, zorder=4 + order,
        )  # fmt: skip
    for p in points:
        if p.interval is not None and p.y is not None:
            low, high = map(plot.y.inside, p.interval)
            axes.plot([p.x, p.x], [low, high], color=COLOURS[kind], linewidth=0.6, alpha=0.6)


def _side(plot: Scatter, p: Point) -> str:
    """The triangle that points to what lies beyond an axis; empty inside both axes."""
    if p.y is None:
        return ""
    if not plot.x.holds(p.x):
        return ">" if p.x > plot.x.high else "<"
    if not plot.y.holds(p.y):
        return "^" if p.y > plot.y.high else "v"
    return ""


def _mark(kind: str, label: str) -> Line2D:
    marker, size, filled = MARKS[kind]
    face = COLOURS[kind] if filled else "none"
    return Line2D(
        [], [], linestyle="none", marker=marker, markersize=size, color=COLOURS[kind],
        markerfacecolor=face, markeredgewidth=0.7, label=label,
    )  # fmt: skip


def lines(axes: Axes, plot: Lines) -> None:
    """Lines over a common axis; those without a trial are named in a legend."""
    _axes(axes, plot.x, plot.y)
    for line in plot.lines:
        xs, ys = zip(*line.points, strict=True) if line.points else ((), ())
        strong = line.kind == "front"
        axes.plot(
            xs, ys, color=COLOURS[line.kind], linewidth=1.1 if strong else 0.6,
            linestyle=(0, (4, 2)) if line.kind == "baseline" else "-",
            alpha=1 if strong or line.trial is None else 0.4, zorder=3 if strong else 2,
            drawstyle="steps-post" if line.steps else "default",
            label=line.name if line.trial is None else "_",
        )  # fmt: skip
    if any(line.trial is None for line in plot.lines):
        axes.figure.legend(loc="outside upper center", ncols=2)


def parallel(axes: Axes, plot: Parallel) -> None:
    """Each candidate a line across upright axes, the better end at the top."""
    for track in sorted(plot.tracks, key=lambda t: list(KINDS).index(t.kind)):
        heights = [_height(a, v) for a, v in zip(plot.axes, track.values, strict=True)]
        strong = track.kind == "front"
        axes.plot(
            range(len(heights)), heights, color=COLOURS[track.kind],
            linewidth=1.0 if strong else 0.5, alpha=1 if strong else 0.25,
        )  # fmt: skip
    axes.set_axis_off()
    axes.set_xlim(-0.5, len(plot.axes) - 0.5)
    axes.set_ylim(-0.16, 1.26)
    for n, axis in enumerate(plot.axes):
        axes.plot([n, n], [0, 1], color=GREY, linewidth=0.6)
        ends = (axis.high, axis.low) if axis.minimised else (axis.low, axis.high)
        axes.text(n, -0.04, f"{ends[0]:.3g}", ha="center", va="top", fontsize=7)
        axes.text(
            n, 1.03, f"{ends[1]:.3g}\n{typeset(axis.label)}", ha="center", va="bottom", fontsize=7
        )


def _height(axis: Dimension, value: float) -> float:
    share = (axis.inside(value) - axis.low) / (axis.high - axis.low)
    return 1 - share if axis.minimised else share


def spread(axes: Axes, plot: Spread) -> None:
    """Several measurements of each of several things, with their mean and its interval."""
    axes.set_xlim(plot.x.low, plot.x.high)
    axes.set_xlabel(typeset(plot.x.label))
    axes.grid(visible=True, axis="x")
    axes.set_yticks(range(len(plot.rows)), [name for name, _, _ in plot.rows])
    axes.set_ylim(len(plot.rows) - 0.5, -0.5)
    for n, (_, values, ends) in enumerate(plot.rows):
        axes.plot(values, [n] * len(values), "o", markersize=2.5, color=COLOURS["feasible"])
        if len(values) > 1:
            axes.plot(sum(values) / len(values), n, "|", markersize=8, color=COLOURS["front"])
        if ends is not None:
            low, high = map(plot.x.inside, ends)
            axes.plot([low, high], [n, n], color=COLOURS["front"], linewidth=0.7, alpha=0.6)
