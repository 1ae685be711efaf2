"""Rows of bars, by matplotlib."""

from matplotlib.axes import Axes

from nas_service.report.colours import KINDS as COLOURS
from nas_service.report.colours import component
from nas_service.report.paper.scatter import typeset
from nas_service.report.plots import Bars, Fill, Grid, Timeline
from nas_service.text import multiple

LIGHT = "#dbe1e7"


def bars(axes: Axes, plot: Bars) -> None:
    """Stacked bars; the axis is in the multiple of the unit that fits the longest."""
    size, unit = plot.scale
    _names(axes, [name for name, _ in plot.rows])
    shown = dict.fromkeys(part for _, parts in plot.rows for part in plot.parts(parts))
    starts = [0.0] * len(plot.rows)
    for name in shown:
        widths = [plot.parts(parts).get(name, 0.0) / size for _, parts in plot.rows]
        axes.barh(range(len(widths)), widths, 0.7, starts, color=component(name),
                  label=name.replace("_", " "))  # fmt: skip
        starts = [start + width for start, width in zip(starts, widths, strict=True)]
    if plot.outlines:
        axes.barh(
            range(len(plot.outlines)), [x / size for x in plot.outlines], 0.7, fill=False,
            edgecolor="#566473", linestyle=(0, (2, 2)), linewidth=0.5,
        )  # fmt: skip
    axes.set_xlabel(typeset(f"{plot.label} ({unit})"))
    if shown:
        axes.figure.legend(
            loc="outside upper center", ncols=4, handlelength=0.8, handletextpad=0.4,
            columnspacing=0.9,
        )  # fmt: skip


def timeline(axes: Axes, plot: Timeline) -> None:
    """Layers over the time of one inference."""
    _names(axes, [span.name for span in plot.spans])
    size, unit = multiple(plot.last_s, "s")
    for n, span in enumerate(plot.spans):
        colour = COLOURS["front" if span.share else "feasible"]
        width = max(span.end_s - span.start_s, 0.002 * plot.last_s)
        axes.barh(n, width / size, 0.7, span.start_s / size, color=colour)
    axes.set_xlabel(typeset(f"time ({unit})"))


def fill(axes: Axes, plot: Fill) -> None:
    """Bars that are filled by a share."""
    _names(axes, [name for name, _, _ in plot.rows])
    axes.barh(range(len(plot.rows)), [100.0] * len(plot.rows), 0.7, color=LIGHT)
    shares = [100 * share for _, share, _ in plot.rows]
    axes.barh(range(len(shares)), shares, 0.7, color=COLOURS["feasible"])
    axes.set_xlim(0, 100)
    axes.set_xlabel("memory cells that hold a weight (%)")


def grid(axes: Axes, plot: Grid) -> None:
    """Shares by row and column, as shades with their numbers."""
    shares = [[100 * (s or 0.0) for s in row] for _, row in plot.rows]
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100, aspect="auto")
    for row, (_, values) in enumerate(plot.rows):
        for column, share in enumerate(values):
            text = "-" if share is None else f"{100 * share:.0f} %"
            colour = "white" if (share or 0) > 0.6 else "black"
            axes.text(column, row, text, ha="center", va="center", fontsize=6.5, color=colour)
    axes.set_yticks(range(len(plot.rows)), [name for name, _ in plot.rows])
    axes.set_xticks(range(len(plot.columns)), plot.columns, rotation=30, ha="left")
    axes.tick_params(length=0, top=True, labeltop=True, bottom=False, labelbottom=False)


def _names(axes: Axes, names: list[str]) -> None:
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.grid(visible=True, axis="x")
