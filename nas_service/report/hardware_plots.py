"""Plots of one hardware report: costs by layer, a timeline, and the use of the crossbars."""

from collections.abc import Sequence

from hw_models import Breakdown, HardwareReport
from nas_service.report.plots import Bars, Figure, Fill, Span, Timeline
from nas_service.text import number, percent

DRAWN = 60  # deeper networks show this many of their costliest layers
QUANTITIES = {  # name -> table of the report, and its unit
    "energy": ("energy_J", "J"),
    "area": ("area_m2", "m2"),
    "latency": ("latency_s", "s"),
    "memory": ("memory_B", "B"),
}


def hardware_figures(report: HardwareReport) -> list[Figure]:
    """Energy and area by layer and component, the timeline, and the use of the crossbars.

    Args:
        report: Costs of one network on one chip.

    Returns:
        The figures.
    """
    return [
        Figure(
            "energy-by-layer",
            "Energy by layer and component",
            _by_layer(report, "energy", report.dense_energy_J),
            "Estimated. Dashed frame: if every input spiked in every time step.",
        ),
        Figure(
            "area-by-layer", "Area by layer and component", _by_layer(report, "area"), "Estimated."
        ),
        Figure(
            "timeline",
            "Timeline of one inference",
            timeline(report),
            "Each layer from its first output to its last one, estimated. Orange: layers on "
            "the longest path, with their share of the latency.",
        ),
        Figure(
            "crossbars",
            "Use of the crossbars",
            utilisation(report),
            "Filled: the share of memory cells that hold a weight, of how many crossbars, and the "
            "converter resolution that would read each column's sum exactly.",
        ),
    ]


def by_component(name: str, reports: Sequence[tuple[str, HardwareReport]]) -> Figure:
    """One quantity of several networks, stacked by component.

    Args:
        name: Of the quantity, a key of QUANTITIES.
        reports: What each network is called, and its costs.

    Returns:
        The figure.
    """
    table, unit = QUANTITIES[name]
    rows = [(title, getattr(r, table).by_component()) for title, r in reports]
    title = f"{name[:1].upper()}{name[1:]} by component"
    return Figure(f"{name}-by-component", title, Bars(name, unit, tuple(rows)), "Estimated.")


def _by_layer(report: HardwareReport, name: str, dense: Breakdown | None = None) -> Bars:
    attribute, unit = QUANTITIES[name]
    table: Breakdown = getattr(report, attribute)
    values = table.values
    shown = [
        i
        for i in _costliest(values.sum(1).tolist())
        if values[i].any() or report.rows[i] != "shared"
    ]
    rows = tuple(
        (report.rows[i], dict(zip(table.components, values[i].tolist(), strict=True)))
        for i in shown
    )
    outlines = [] if dense is None else dense.values.sum(1).tolist()
    return Bars(name, unit, rows, tuple(outlines[i] for i in shown) if outlines else ())


def _costliest(costs: Sequence[float]) -> list[int]:
    """Indices of the rows that are drawn, in order: all, or the costliest of a deep network."""
    return sorted(sorted(range(len(costs)), key=lambda i: -costs[i])[:DRAWN])


def timeline(report: HardwareReport) -> Timeline:
    """Layers over time."""
    m, shares = report.mapping, report.latency_s.by_row()
    total = report.latency_s.total or 1.0
    spans = (
        Span(report.rows[i], m.start_s[i], m.end_s[i], shares[i] / total)
        for i in _costliest(list(m.end_s))
    )
    return Timeline(tuple(spans))


def utilisation(report: HardwareReport) -> Fill:
    """For each layer the share of its crossbars' cells that hold a weight."""
    m = report.mapping
    return Fill(
        tuple(
            (
                report.rows[i],
                m.utilisation[i],
                f"{percent(m.utilisation[i], 2)} of {number(m.crossbars[i])}, "
                f"{m.lossless_adc_bits[i]} bits for exact sums",
            )
            for i in _costliest([float(n) for n in m.crossbars])
        )
    )
