"""Several measurements of each of several things: dots, their mean, and its interval."""

from markupsafe import Markup

from nas_service.report.plots import Dimension, Spread
from nas_service.report.scale import Scale
from nas_service.report.svg.elements import WIDTH, svg, svg_line, svg_text
from nas_service.text import exact

LEFT, RIGHT, TOP, ROW = 76, 16, 8, 24


def spread(plot: Spread) -> Markup:
    """The diagram as SVG, one row for each thing."""
    x = Scale(plot.x.low, plot.x.high, LEFT, WIDTH - RIGHT)
    foot = TOP + ROW * len(plot.rows)
    parts = [svg_line(x.at(t), TOP, x.at(t), foot, "grid") for t in x.ticks]
    parts += [svg_text(x.at(t), foot + 19, exact(t), "tick middle") for t in x.ticks]
    parts.append(svg_text((LEFT + WIDTH - RIGHT) / 2, foot + 42, plot.x.label, "label middle"))
    for n, (name, values, ends) in enumerate(plot.rows):
        y = TOP + ROW * n + ROW / 2
        parts.append(svg_text(LEFT - 8, y + 4, name, "tick end"))
        parts.append(_row(values, ends, plot.x, x, y))
    return svg(WIDTH, foot + 50, parts)


def _row(
    values: tuple[float, ...],
    ends: tuple[float, float] | None,
    dimension: Dimension,
    x: Scale,
    y: float,
) -> Markup:
    parts = [Markup("")]
    if ends is not None:
        low, high = (x.at(dimension.inside(end)) for end in ends)
        tag = Markup('<rect x="{}" y="{}" width="{}" height="14" class="outline"/>')
        parts.append(tag.format(low, y - 7, round(high - low, 1)))
    tag = Markup('<circle cx="{}" cy="{}" r="3.5" class="feasible"><title>{}</title></circle>')
    parts += [tag.format(x.at(v), y, exact(round(v, 2))) for v in values]
    if len(values) > 1:
        mean = x.at(sum(values) / len(values))
        parts.append(svg_line(mean, y - 8, mean, y + 8, "mean"))
    return Markup("").join(parts)
