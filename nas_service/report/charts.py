"""Charts of one hardware report: costs by layer, a timeline, and the use of the crossbars."""

from collections.abc import Sequence

from markupsafe import Markup

from hw_models import Breakdown, HardwareReport
from nas_service.report.drawing import (
    TOP,
    WIDTH,
    Axis,
    bars,
    name_of_row,
    svg,
    svg_line,
    svg_text,
)

LABEL = 150  # width of the column with the names of layers, in pixels
ROW = 20  # height of a row, in pixels
DRAWN = 60  # deeper networks show this many of their costliest layers


def charts(report: HardwareReport) -> list[tuple[str, Markup]]:
    """Captions and charts of one report."""
    return [
        (
            "Energy in uJ by layer and component, estimated. Dashed: if every input spiked",
            _layer_bars(report, report.energy_J, "uJ", 1e6, report.dense_energy_J),
        ),
        (
            "Area in mm² by layer and component, estimated",
            _layer_bars(report, report.area_m2, "mm²", 1e6),
        ),
        (
            "Timeline: each layer from its first output to its last one, estimated. Orange: layers "
            "of the longest path, with their share of the latency",
            timeline(report),
        ),
        (
            "Use of the crossbars: share of cells that hold a weight, number of crossbars, and the "
            "converter bits that would represent every sum exactly",
            utilisation(report),
        ),
    ]


def _layer_bars(
    report: HardwareReport,
    table: Breakdown,
    unit: str,
    factor: float,
    dense: Breakdown | None = None,
) -> Markup:
    values = table.values * factor
    shown = _shown(values.sum(1).tolist())
    rows = [
        (report.rows[i], dict(zip(table.components, values[i].tolist(), strict=True)))
        for i in shown
        if values[i].any() or report.rows[i] != "shared"
    ]
    outlines = [] if dense is None else (dense.values.sum(1) * factor).tolist()
    return bars(rows, unit, [outlines[i] for i in shown][: len(rows)] if outlines else [], LABEL)


def _shown(costs: Sequence[float]) -> list[int]:
    """Indices of the rows that are drawn, in order: all, or the costliest of a deep network."""
    ranked = sorted(range(len(costs)), key=lambda i: -costs[i])[:DRAWN]
    return sorted(ranked)


def timeline(report: HardwareReport) -> Markup:
    """Layers as bars over time. Those of the longest path are marked."""
    shares = report.latency_s.by_row()
    shown = _shown(list(report.mapping.end_s))
    last = max(report.mapping.end_s)
    unit, factor = ("ms", 1e3) if last >= 1e-4 else ("us", 1e6)
    scale = Axis(0, last * factor, LABEL, WIDTH - 90)
    foot = TOP + ROW * len(shown)
    parts = [svg_line(scale.at(t), TOP - 4, scale.at(t), foot, "grid") for t in scale.ticks]
    parts += [svg_text(scale.at(t), foot + 14, f"{t:g}", "tick middle") for t in scale.ticks]
    parts.append(svg_text((LABEL + WIDTH - 90) / 2, foot + 30, f"time ({unit})", "label middle"))
    tag = Markup('<rect x="{}" y="{}" width="{}" height="12" class="{}"><title>{}</title></rect>')
    for row, i in enumerate(shown):
        start, end = (x[i] * factor for x in (report.mapping.start_s, report.mapping.end_s))
        y = TOP + ROW * row
        kind = "longest" if shares[i] else "busy"
        tip = f"{report.rows[i]}: {start:.4g} to {end:.4g} {unit}"
        width = max(1.0, round(scale.at(end) - scale.at(start), 2))
        parts += [
            name_of_row(LABEL - 6, y + 11, report.rows[i]),
            tag.format(scale.at(start), y, width, kind, tip),
        ]
        if shares[i]:
            share = f"{shares[i] / report.latency_s.total:.0%}"
            parts.append(svg_text(scale.at(end) + 5, y + 11, share, "tick"))
    return svg(WIDTH, foot + 38, parts)


def utilisation(report: HardwareReport) -> Markup:
    """For each layer a bar, filled by the share of cells that hold a weight."""
    m = report.mapping
    shown = _shown([float(n) for n in m.crossbars])
    width = 220
    tag = Markup('<rect x="{}" y="{}" width="{}" height="12" class="{}"><title>{}</title></rect>')
    parts: list[Markup] = []
    for row, i in enumerate(shown):
        y = TOP + ROW * row
        filled = round(width * m.utilisation[i], 2)
        text = f"{m.utilisation[i]:.0%} of {m.crossbars[i]} crossbars"
        parts += [
            name_of_row(LABEL - 6, y + 11, report.rows[i]),
            tag.format(LABEL, y, width, "empty", f"{report.rows[i]}: {text}"),
            tag.format(LABEL, y, filled, "busy", f"{report.rows[i]}: {text}"),
            svg_text(LABEL + width + 8, y + 11, text, "tick"),
            svg_text(WIDTH - 20, y + 11, f"{m.lossless_adc_bits[i]} bits lossless", "tick end"),
        ]
    return svg(WIDTH, TOP + ROW * len(shown) + 6, parts)
