"""Lines over a common axis: hypervolume over the search, accuracy over the epochs."""

from markupsafe import Markup

from nas_service.report.plots import KINDS, Line, Lines
from nas_service.report.scale import Scale
from nas_service.report.svg.elements import HEIGHT, WIDTH, frame, linked, scales, svg

ORDER = ("baseline", *KINDS)
MANY = 100  # of more lines each is fainter


def lines(plot: Lines) -> Markup:
    """The diagram as SVG; lines without a trial have a legend of their names."""
    x, y = scales(plot.x, plot.y)
    ranked = sorted(plot.lines, key=lambda line: ORDER.index(line.kind))
    drawn = [_line(line, x, y) for line in ranked if len(line.points) > 1]
    named = [line for line in plot.lines if line.trial is None]
    kind = "plot dim" if len(drawn) > MANY else "plot"
    return svg(WIDTH, HEIGHT, [frame(plot.x, plot.y), *drawn], kind) + _legend(named)


def _line(line: Line, x: Scale, y: Scale) -> Markup:
    corners = [(x.at(a), y.at(b)) for a, b in line.points]
    if line.steps:
        path = f"M{corners[0][0]} {corners[0][1]}" + "".join(f"H{a}V{b}" for a, b in corners[1:])
    else:
        path = "M" + "L".join(f"{a} {b}" for a, b in corners)
    shape = Markup('<path d="{}" class="line {}">{}</path>').format(path, line.kind, Markup("{}"))
    return linked(line.trial, shape, line.name, in_order=line.kind == "front")


def _legend(named: list[Line]) -> Markup:
    tag = Markup(
        '<li><svg width="26" height="10" viewBox="0 0 26 10" aria-hidden="true">'
        '<path d="M0 5H26" class="line {}"/></svg>{}</li>'
    )
    items = Markup("").join(tag.format(line.kind, line.name) for line in named)
    return Markup('<ul class="legend">{}</ul>').format(items) if named else Markup("")
