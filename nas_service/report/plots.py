"""What a plot shows, without how it is drawn: pages and figures for papers draw the same objects.

Values over an axis are in its unit, shares in percent; bars and times are in units of SI.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from nas_service.spaces.cell import Cell
from nas_service.text import multiple, number, quantity

KINDS = {  # of candidates, those below in the drawing first, with the words of the legend
    "rejected": "rejected before training, on the strip at the bottom",
    "diverged": "diverged in training, on the strip at the bottom",
    "infeasible": "trained, over a budget",
    "below": "within all budgets, worse than a reference",
    "feasible": "within all budgets",
    "cached": "proposed again, answered from the archive",
    "front": "feasible front",
}


@dataclass(frozen=True)
class Limit:
    """A budget or a reference: the values on one side of it are not wanted."""

    value: float
    label: str
    from_above: bool  # larger values are not wanted


@dataclass(frozen=True)
class Dimension:
    """One axis: what it measures and which range it shows."""

    label: str
    low: float
    high: float
    limits: tuple[Limit, ...] = ()
    minimised: bool = True
    whole: bool = False  # it counts something: no tick mark lies between whole numbers

    @property
    def beyond(self) -> list[str]:
        """The limits outside the range, with the direction in which they lie."""
        low = [f"< {limit.label}" for limit in self.limits if limit.value < self.low]
        return low + [f"{limit.label} >" for limit in self.limits if limit.value > self.high]

    def holds(self, value: float) -> bool:
        """True where the value is inside the range."""
        return self.low <= value <= self.high

    def inside(self, value: float) -> float:
        """The value, or the end of the range that is nearest to it."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Point:
    """One candidate in a scatter plot."""

    x: float
    y: float | None  # None: not measured, drawn on the strip
    kind: str  # one of KINDS
    tip: str = ""
    trial: int | None = None
    interval: tuple[float, float] | None = None  # of y


@dataclass(frozen=True)
class Scatter:
    """Candidates over two metrics."""

    x: Dimension
    y: Dimension
    points: tuple[Point, ...]
    joined: bool  # the front is a staircase

    @property
    def outside(self) -> int:
        """Number of points beyond an axis, which are drawn at its border."""
        return sum(
            not (self.x.holds(p.x) and (p.y is None or self.y.holds(p.y))) for p in self.points
        )

    @property
    def steps(self) -> list[tuple[float, float]]:
        """Corners of the staircase through the front: what it dominates lies beyond it."""
        front = sorted((p.x, p.y) for p in self.points if p.kind == "front" and p.y is not None)
        corners = front[:1]
        for (x, y), (before_x, before_y) in zip(front[1:], front, strict=False):
            corners += [(x, before_y) if self.x.minimised else (before_x, y), (x, y)]
        return corners if self.joined else []


@dataclass(frozen=True)
class Line:
    """A line of a diagram, as steps or straight from point to point."""

    name: str
    kind: str  # a kind of candidate, or "baseline"
    points: tuple[tuple[float, float], ...]
    trial: int | None = None
    steps: bool = False


@dataclass(frozen=True)
class Lines:
    """Lines over a common axis."""

    x: Dimension
    y: Dimension
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Track:
    """One candidate across the axes of parallel coordinates."""

    values: tuple[float, ...]
    kind: str
    tip: str
    trial: int


@dataclass(frozen=True)
class Parallel:
    """Candidates across several upright axes; the better end of each is at the top."""

    axes: tuple[Dimension, ...]
    tracks: tuple[Track, ...]


@dataclass(frozen=True)
class Bars:
    """Stacked horizontal bars: for each name its values by component."""

    label: str  # what is measured
    unit: str  # of SI, without prefix
    rows: tuple[tuple[str, Mapping[str, float]], ...]
    outlines: tuple[float, ...] = ()  # a second total of each bar, drawn as a frame

    @property
    def largest(self) -> float:
        """The length of the longest bar or frame; 1 where all are 0."""
        return max([*(sum(p.values()) for _, p in self.rows), *self.outlines], default=0) or 1.0

    def shown(self, value: float) -> str:
        """A value with its unit; areas are in mm2, whatever their size."""
        return f"{number(1e6 * value)} mm2" if self.unit == "m2" else quantity(value, self.unit)

    @property
    def scale(self) -> tuple[float, str]:
        """The multiple of the unit that fits the longest bar: its size in the unit, and name."""
        return (1e-6, "mm2") if self.unit == "m2" else multiple(self.largest, self.unit)

    @property
    def components(self) -> list[str]:
        """Components that have a colour: those with 2 % of the longest bar in one of them."""
        names = dict.fromkeys(name for _, parts in self.rows for name in parts)
        least = 0.02 * self.largest
        return [n for n in names if any(p.get(n, 0) >= least for _, p in self.rows)]

    def parts(self, values: Mapping[str, float]) -> dict[str, float]:
        """A bar's values by component, the small components together as `other`."""
        named = self.components
        parts = {name: values.get(name, 0.0) for name in named}
        other = sum(value for name, value in values.items() if name not in parts)
        return parts | ({"other": other} if other else {})


@dataclass(frozen=True)
class Span:
    """A layer's time on the chip."""

    name: str
    start_s: float
    end_s: float
    share: float  # of the latency; 0 where the layer is not on the longest path


@dataclass(frozen=True)
class Timeline:
    """Layers over the time of one inference."""

    spans: tuple[Span, ...]

    @property
    def last_s(self) -> float:
        """When the last layer ends."""
        return max((span.end_s for span in self.spans), default=0.0) or 1.0


@dataclass(frozen=True)
class Fill:
    """How far each of several things is used: name, share 0..1, words."""

    rows: tuple[tuple[str, float, str], ...]


@dataclass(frozen=True)
class Spread:
    """Several measurements of each of several things, on a common axis."""

    x: Dimension
    rows: tuple[tuple[str, tuple[float, ...], tuple[float, float] | None], ...]
    """Name, values, and the interval of their mean where it is known."""


@dataclass(frozen=True)
class Grid:
    """Shares (0..1) by row and column."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[float | None, ...]], ...]


@dataclass(frozen=True)
class CellGraph:
    """The working edges of a cell."""

    cell: Cell


Plot = Scatter | Lines | Parallel | Bars | Timeline | Fill | Spread | Grid | CellGraph


@dataclass(frozen=True)
class Figure:
    """A plot with its name, for files, and its caption."""

    name: str
    title: str
    plot: Plot
    note: str = ""
