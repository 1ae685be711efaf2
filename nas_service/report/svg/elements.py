"""Parts that several drawings share. Lengths are in pixels."""

from collections.abc import Sequence

from markupsafe import Markup

from nas_service.report.plots import Dimension, Limit
from nas_service.report.scale import Scale
from nas_service.text import exact

WIDTH, HEIGHT = 560, 360
LEFT, RIGHT, TOP, BOTTOM = 58, 16, 32, 50
STRIP = 14  # height of the strip at the bottom for candidates without a measured value


def svg(width: float, height: float, parts: Sequence[Markup], kind: str = "plot") -> Markup:
    """An SVG element of these parts.

    Args:
        width: In pixels.
        height: In pixels.
        parts: The elements inside, each of them safe markup.
        kind: Its CSS class.

    Returns:
        The element.
    """
    tag = Markup('<svg class="{}" viewBox="0 0 {} {}" width="{}">')
    return tag.format(kind, width, height, width) + Markup("").join(parts) + Markup("</svg>")


def svg_text(x: float, y: float, text: str, kind: str) -> Markup:
    """Text at a point; `kind` is its CSS class."""
    return Markup('<text x="{}" y="{}" class="{}">{}</text>').format(x, y, kind, text)


def svg_line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A line between two points; `kind` is its CSS class."""
    tag = Markup('<line x1="{}" y1="{}" x2="{}" y2="{}" class="{}"/>')
    return tag.format(x1, y1, x2, y2, kind)


def linked(trial: int | None, element: Markup, tip: str, *, in_order: bool = False) -> Markup:
    """An element that leads to its candidate's place on the page and says what it is.

    Args:
        trial: Of the candidate; None for an element without one.
        element: The element, with a slot for its title.
        tip: The title.
        in_order: The keyboard reaches it.

    Returns:
        The link, or without a trial the element alone.
    """
    title = Markup("<title>{}</title>").format(tip) if tip else Markup("")
    if trial is None:
        return element.format(title)
    tag = Markup('<a href="#trial-{0}" data-trial="{0}" tabindex="{1}">{2}</a>')
    return tag.format(trial, 0 if in_order else -1, element.format(title))


def frame(x: Dimension, y: Dimension, foot: float = HEIGHT - BOTTOM) -> Markup:
    """Axes, grid, tick marks and labels of a diagram."""
    across, up = scales(x, y, foot)
    parts = [svg_line(across.at(t), TOP, across.at(t), foot, "grid") for t in across.ticks]
    parts += [svg_line(LEFT, up.at(t), WIDTH - RIGHT, up.at(t), "grid") for t in up.ticks]
    below = HEIGHT - BOTTOM
    parts += [svg_text(across.at(t), below + 19, exact(t), "tick middle") for t in across.ticks]
    parts += [svg_text(LEFT - 7, up.at(t) + 4, exact(t), "tick end") for t in up.ticks]
    parts += [
        svg_line(LEFT, foot, WIDTH - RIGHT, foot, "axis"),
        svg_line(LEFT, TOP, LEFT, foot, "axis"),
        _label((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x, "label middle"),
        _label(4, 15, y, "label"),
    ]
    return Markup("").join(parts)


def _label(x: float, y: float, axis: Dimension, kind: str) -> Markup:
    """The label of an axis, with the limits that lie beyond it."""
    tag = Markup('<text x="{}" y="{}" class="{}">{}<tspan class="note">{}</tspan></text>')
    return tag.format(x, y, kind, axis.label, "".join(f"  {text}" for text in axis.beyond))


def scales(x: Dimension, y: Dimension, foot: float = HEIGHT - BOTTOM) -> tuple[Scale, Scale]:
    """The scales of both axes of a diagram."""
    across = Scale(x.low, x.high, LEFT, WIDTH - RIGHT, x.whole)
    return across, Scale(y.low, y.high, foot, TOP, y.whole)


def upright_limit(limit: Limit, dimension: Dimension, scale: Scale, foot: float) -> Markup:
    """A budget of x as a dashed line; the label of the axis names one beyond it."""
    if not dimension.holds(limit.value):
        return Markup("")
    x = scale.at(limit.value)
    end = WIDTH - RIGHT if limit.from_above else LEFT
    tag = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="outside"/>')
    area = tag.format(min(x, end), TOP, round(abs(end - x), 1), foot - TOP)
    to_the_left = 2 * x > WIDTH
    text = svg_text(x + (-5 if to_the_left else 5), TOP + 14, limit.label,
                    "note end" if to_the_left else "note")  # fmt: skip
    return area + svg_line(x, TOP, x, foot, "budget") + text


def level_limit(limit: Limit, dimension: Dimension, scale: Scale, foot: float) -> Markup:
    """A budget of y as a dashed line; the label of the axis names one beyond it."""
    right = WIDTH - RIGHT
    if not dimension.holds(limit.value):
        return Markup("")
    y = scale.at(limit.value)
    end = TOP if limit.from_above else foot
    tag = Markup('<rect x="{}" y="{}" width="{}" height="{}" class="outside"/>')
    area = tag.format(LEFT, min(y, end), right - LEFT, round(abs(end - y), 1))
    near_top = y < TOP + 24
    text = svg_text(right - 4, y + (15 if near_top else -6), limit.label, "note end")
    return area + svg_line(LEFT, y, right, y, "budget") + text
