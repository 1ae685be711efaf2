"""Two fronts in one picture: before and after a change of the chip, or those of two studies."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from markupsafe import Markup

from nas_service.dashboard.figures import Drawn
from nas_service.report.front_plots import dimension, shown, tip
from nas_service.report.plots import Dimension
from nas_service.report.scale import Scale, axis_range
from nas_service.report.svg.elements import (
    BOTTOM,
    HEIGHT,
    WIDTH,
    frame,
    level_limit,
    scales,
    svg,
    upright_limit,
)
from nas_service.searches.candidate import Candidate
from nas_service.searches.results import Result
from nas_service.text import metric_label, metric_unit

PICTURES = 3  # pairs of objectives that are drawn
FOOT = HEIGHT - BOTTOM
SHAPES = ("M0-5.5L5.5 0L0 5.5L-5.5 0Z", "M-5 0a5 5 0 1 0 10 0a5 5 0 1 0-10 0Z")
KINDS = ("earlier", "front")  # CSS classes of the two


@dataclass(frozen=True)
class Side:
    """One of the two fronts."""

    name: str
    result: Result
    base: str  # the address of a trial's page, without its number


def two_fronts(first: Side, second: Side, *, moves: bool = False) -> list[Drawn]:
    """Both fronts, the first objective over each of the others.

    Args:
        first: A front, which is drawn below.
        second: Another one with the same objectives.
        moves: Lines lead from a candidate's place in the first to its place in the second.

    Returns:
        The pictures; none for one objective alone.
    """
    y, *others = [o.metric for o in second.result.spec.objectives]
    return [
        Drawn(f"{metric_label(y).capitalize()} and {metric_label(x)}",
              _picture((first, second), x, y, moves))
        for x in others[:PICTURES]
    ]  # fmt: skip


def _picture(sides: tuple[Side, Side], x: str, y: str, moves: bool) -> Markup:
    across, up = (_axis(sides, name) for name in (x, y))
    at_x, at_y = scales(across, up, FOOT)
    place = _Place(x, y, across, up, at_x, at_y)
    limits = [upright_limit(limit, across, at_x, FOOT) for limit in across.limits]
    limits += [level_limit(limit, up, at_y, FOOT) for limit in up.limits]
    parts = [frame(across, up), *limits, *(_moves(sides, place) if moves else [])]
    for side, kind, shape in zip(sides, KINDS, SHAPES, strict=True):
        joined = len(side.result.spec.objectives) == 2
        parts += [_staircase(side.result.front, place, kind) if joined else Markup("")]
        parts += [_mark(side, c, place, kind, shape) for c in side.result.front]
    return svg(WIDTH, HEIGHT, parts) + _legend(sides)


@dataclass(frozen=True)
class _Place:
    """Where a candidate is drawn."""

    x: str
    y: str
    across: Dimension
    up: Dimension
    at_x: Scale
    at_y: Scale

    def of(self, c: Candidate) -> tuple[float, float]:
        """Pixels of a candidate; one beyond an axis is at its border."""
        x, y = shown(self.x, c.metrics[self.x]), shown(self.y, c.metrics[self.y])
        return self.at_x.at(self.across.inside(x)), self.at_y.at(self.up.inside(y))


def _axis(sides: tuple[Side, Side], metric: str) -> Dimension:
    """An axis around both fronts, with the limits of the second study."""
    own = dimension(sides[1].result, metric)
    values = [shown(metric, c.metrics[metric]) for s in sides for c in s.result.front]
    if not values:
        return own
    most = 100.0 if metric_unit(metric) == "%" else math.inf
    low, high = axis_range(values, [limit.value for limit in own.limits], most)
    return replace(own, low=low, high=high)


def _moves(sides: tuple[Side, Side], place: _Place) -> list[Markup]:
    """Lines from the earlier to the later place of each candidate of either front."""
    before, after = ({c.digest: c for c in s.result.candidates if c.measured} for s in sides)
    digests = dict.fromkeys(c.digest for s in sides for c in s.result.front)
    tag = Markup('<path d="M{} {}L{} {}" class="move"/>')
    pairs = [
        (place.of(before[d]), place.of(after[d])) for d in digests if d in before and d in after
    ]
    return [tag.format(*a, *b) for a, b in pairs if a != b]


def _staircase(front: Sequence[Candidate], place: _Place, kind: str) -> Markup:
    corners = sorted(map(place.of, front))
    if len(corners) < 2:
        return Markup("")
    path = f"M{corners[0][0]} {corners[0][1]}"
    for (x, y), (_, before) in zip(corners[1:], corners, strict=False):
        path += f"L{x} {before}L{x} {y}"
    return Markup('<path d="{}" class="joined {}"/>').format(path, kind)


def _mark(side: Side, c: Candidate, place: _Place, kind: str, shape: str) -> Markup:
    tag = Markup(
        '<a href="{}{}"><path d="{}" class="{}" transform="translate({} {})">'
        "<title>{}</title></path></a>"
    )
    text = f"{side.name}: {tip(side.result, c)}"
    return tag.format(side.base, c.trial, shape, kind, *place.of(c), text)


def _legend(sides: tuple[Side, Side]) -> Markup:
    item = Markup(
        '<li><svg width="16" height="16" viewBox="-8 -8 16 16" aria-hidden="true">'
        '<path d="{}" class="{}"/></svg>{}</li>'
    )
    items = (item.format(d, k, s.name) for s, d, k in zip(sides, SHAPES, KINDS, strict=True))
    return Markup('<ul class="legend">{}</ul>').format(Markup("").join(items))
