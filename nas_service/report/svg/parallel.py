"""Parallel coordinates: each candidate a line across upright axes, the better end at the top."""

from markupsafe import Markup

from nas_service.report.plots import KINDS, Dimension, Parallel, Track
from nas_service.report.scale import Scale
from nas_service.report.svg.elements import linked, svg, svg_line, svg_text
from nas_service.text import exact

HEIGHT, TOP, FOOT, SIDE, WIDTH = 340, 54, 320, 70, 1100
MANY = 150  # of more lines each is fainter
ORDER = tuple(KINDS)


def parallel(plot: Parallel) -> Markup:
    """The diagram as SVG."""
    step = (WIDTH - 2 * SIDE) / max(1, len(plot.axes) - 1)
    places = [round(SIDE + step * n, 1) for n in range(len(plot.axes))]
    ups = [_scale(axis) for axis in plot.axes]
    parts = [
        _axis(a, up, x, n) for n, (a, up, x) in enumerate(zip(plot.axes, ups, places, strict=True))
    ]
    ranked = sorted(plot.tracks, key=lambda t: ORDER.index(t.kind))
    tracks = [_track(track, plot.axes, ups, places) for track in ranked]
    kind = "plot parallel dim" if len(tracks) > MANY else "plot parallel"
    return svg(WIDTH, HEIGHT, [*tracks, *parts], kind)


def _scale(axis: Dimension) -> Scale:
    ends = (TOP, FOOT) if axis.minimised else (FOOT, TOP)
    return Scale(axis.low, axis.high, *ends)


def _axis(axis: Dimension, scale: Scale, x: float, number: int) -> Markup:
    """An axis; neighbours have their names at different heights, so that they stay apart."""
    parts = [svg_line(x, TOP, x, FOOT, "axis")]
    for tick in scale.ticks:
        parts += [svg_line(x - 3, scale.at(tick), x, scale.at(tick), "axis"),
                  svg_text(x - 6, scale.at(tick) + 4, exact(tick), "tick end")]  # fmt: skip
    for limit in axis.limits:
        if axis.holds(limit.value):
            y = scale.at(limit.value)
            tag = Markup('<path d="M{} {}h16" class="budget"><title>{}</title></path>')
            parts.append(tag.format(x - 8, y, limit.label))
    parts.append(svg_text(x, 16 + 20 * (number % 2), axis.label, "label middle"))
    return Markup("").join(parts)


def _track(
    track: Track, axes: tuple[Dimension, ...], ups: list[Scale], places: list[float]
) -> Markup:
    heights = (up.at(a.inside(v)) for up, a, v in zip(ups, axes, track.values, strict=True))
    path = "M" + "L".join(f"{x} {y}" for x, y in zip(places, heights, strict=True))
    shape = Markup('<path d="{}" class="line {}">{}</path>').format(path, track.kind, Markup("{}"))
    return linked(track.trial, shape, track.tip, in_order=track.kind == "front")
