"""Candidates over two metrics, with budgets, references and the staircase of the front."""

from markupsafe import Markup

from nas_service.report.plots import KINDS, Dimension, Point, Scatter
from nas_service.report.scale import Scale
from nas_service.report.svg.elements import (
    BOTTOM,
    HEIGHT,
    STRIP,
    WIDTH,
    frame,
    level_limit,
    linked,
    scales,
    svg,
    svg_line,
    upright_limit,
)
from nas_service.text import number

ORDER = tuple(KINDS)
MANY, NEAR = 1000, 4  # of more points those within a square of NEAR pixels are drawn as one
SHAPES = {  # by kind, around the origin
    "front": Markup('<circle r="5.5" class="front"{}>{}</circle>'),
    "feasible": Markup('<circle r="4" class="feasible"{}>{}</circle>'),
    "cached": Markup('<circle r="7" class="cached"{}>{}</circle>'),
    "infeasible": Markup('<circle r="3.5" class="infeasible"{}>{}</circle>'),
    "below": Markup('<path d="M0-5L5 0L0 5L-5 0Z" class="below"{}>{}</path>'),
}
ARROWS = {  # from the direction of what lies beyond an axis, right and up
    (1, 0): "M-6-5L4 0L-6 5Z", (-1, 0): "M6-5L-4 0L6 5Z", (0, 1): "M-5 6L0-4L5 6Z",
    (0, -1): "M-5-6L0 4L5-6Z", (1, 1): "M-5-1L5-5L1 5Z", (1, -1): "M-5 1L5 5L1-5Z",
    (-1, 1): "M5-1L-5-5L-1 5Z", (-1, -1): "M5 1L-5 5L-1-5Z",
}  # fmt: skip


def scatter(plot: Scatter) -> Markup:
    """The plot as SVG; a line of text where it has no candidate with a place on it."""
    if not any(p.y is not None for p in plot.points):
        text = "No candidate was measured yet: there is no point to draw."
        return Markup("<p class='none'>{}</p>").format(text)
    strip = STRIP if any(p.y is None for p in plot.points) else 0
    foot = HEIGHT - BOTTOM - strip
    x, y = scales(plot.x, plot.y, foot)
    parts = [upright_limit(limit, plot.x, x, foot) for limit in plot.x.limits]
    parts += [level_limit(limit, plot.y, y, foot) for limit in plot.y.limits]
    ranked = sorted(plot.points, key=lambda p: ORDER.index(p.kind))
    parts += [_steps(plot, x, y), _strip(ranked, plot.x, x)]
    parts += [_interval(p, plot, x, y) for p in ranked]
    measured = [p for p in ranked if p.y is not None]
    marks = measured if len(measured) < MANY else _apart(measured, plot, x, y)
    parts += [_mark(p, plot, x, y) for p in marks]
    notes = [f"{number(plot.outside)} beyond the axes, at the border"] if plot.outside else []
    notes += ["marks at one place are drawn once"] if len(marks) < len(measured) else []
    picture = svg(WIDTH, HEIGHT, [frame(plot.x, plot.y, foot), *parts])
    return picture + (Markup("<p class='none'>{}.</p>").format("; ".join(notes)) if notes else "")


def _apart(points: list[Point], plot: Scatter, x: Scale, y: Scale) -> list[Point]:
    """One point of each kind in each square of NEAR pixels; all of the front."""
    chosen: dict[tuple[object, ...], Point] = {}
    for n, p in enumerate(points):
        at = (x.at(plot.x.inside(p.x)), y.at(plot.y.inside(p.y or 0.0)))
        place = (n,) if p.kind == "front" else (p.kind, at[0] // NEAR, at[1] // NEAR)
        chosen.setdefault(place, p)
    return list(chosen.values())


def _steps(plot: Scatter, x: Scale, y: Scale) -> Markup:
    corners = [(x.at(plot.x.inside(a)), y.at(plot.y.inside(b))) for a, b in plot.steps]
    if len(corners) < 2:
        return Markup("")
    path = "L".join(f"{a} {b}" for a, b in corners)
    return Markup('<path d="M{}" class="joined"/>').format(path)


def _strip(points: list[Point], dimension: Dimension, x: Scale) -> Markup:
    """Candidates without a measured value: one tick for all that share a pixel."""
    foot, parts = HEIGHT - BOTTOM, [Markup("")]
    for kind in ("rejected", "diverged"):
        of_kind = [p for p in points if p.y is None and p.kind == kind]
        places = {round(x.at(dimension.inside(p.x))): None for p in of_kind}
        if places:
            dash = f"v-{STRIP - 4}" if kind == "rejected" else "m-3 0l6 -10m-6 0l6 10"
            path = "".join(f"M{place} {foot - 2}{dash}" for place in places)
            title = f"{len(of_kind)} {KINDS[kind].partition(',')[0]}"
            tag = Markup('<path d="{}" class="{}"><title>{}</title></path>')
            parts.append(tag.format(path, kind, title))
    return Markup("").join(parts)


def _interval(p: Point, plot: Scatter, x: Scale, y: Scale) -> Markup:
    if p.interval is None or p.y is None or not plot.x.holds(p.x):
        return Markup("")
    low, high = (y.at(plot.y.inside(end)) for end in p.interval)
    at = x.at(p.x)
    caps = (svg_line(at - 4, end, at + 4, end, "interval") for end in (low, high))
    return svg_line(at, low, at, high, "interval") + Markup("").join(caps)


def _mark(p: Point, plot: Scatter, x: Scale, y: Scale) -> Markup:
    assert p.y is not None  # noqa: S101  chosen by the caller
    beyond = (_side(p.x, plot.x), _side(p.y, plot.y))
    at = Markup(' transform="translate({} {})"').format(
        x.at(plot.x.inside(p.x)), y.at(plot.y.inside(p.y))
    )
    if beyond == (0, 0):
        shape = SHAPES[p.kind].format(at, Markup("{}"))
    else:
        tag = Markup('<path d="{}" class="{} beyond"{}>{}</path>')
        shape = tag.format(ARROWS[beyond], p.kind, at, Markup("{}"))
    return linked(p.trial, shape, p.tip, in_order=p.kind == "front")


def _side(value: float, dimension: Dimension) -> int:
    """-1 below the axis, 1 above it, else 0."""
    return (value > dimension.high) - (value < dimension.low)


def legend(kinds: list[str]) -> Markup:
    """The marks of these kinds with their meaning, as a list."""
    item = Markup("<li>{}{}</li>")
    return Markup('<ul class="legend">{}</ul>').format(
        Markup("").join(item.format(_key(kind), KINDS[kind]) for kind in kinds)
    )


def _key(kind: str) -> Markup:
    if kind == "rejected":
        shape = Markup('<path d="M0 -5v10" class="rejected"/>')
    elif kind == "diverged":
        shape = Markup('<path d="M-3 -5l6 10m-6 0l6 -10" class="diverged"/>')
    else:
        shape = SHAPES[kind].format("", "")
    tag = Markup('<svg width="16" height="16" viewBox="-8 -8 16 16" aria-hidden="true">{}</svg>')
    return tag.format(shape)
