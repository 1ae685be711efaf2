"""A hardware report as Markdown."""

import re
from collections.abc import Iterable

from hw_models.report import Breakdown, HardwareReport

# attribute of the report -> (heading, unit, factor from SI)
QUANTITIES = {
    "memory_B": ("Memory", "B", 1.0),
    "area_m2": ("Area", "mm2", 1e6),
    "latency_s": ("Latency, longest path", "ms", 1e3),
    "energy_J": ("Energy, events", "uJ", 1e6),
    "dense_energy_J": ("Energy, dense", "uJ", 1e6),
}
# Controls, and marks that change the direction of writing.
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")
# A number, or two around dots: an interval.
NUMBER = re.compile(r"[+-]?[\d.,]+(e[+-]?\d+)?( \.\. [+-]?[\d.,]+(e[+-]?\d+)?)?")


def markdown(report: HardwareReport) -> str:
    """A report as tables of totals, layers and components.

    Args:
        report: Costs of one inference.

    Returns:
        Markdown text; names in it are escaped.
    """
    parts = [
        f"# Hardware estimate on {cell(report.profile)}",
        table(["metric", "estimate"], [[k, f"{v:.6g}"] for k, v in report.metrics().items()]),
        "## Layers",
        table(_layer_head(), _layer_rows(report)),
        "## Components",
        *(_components(report, name) for name in QUANTITIES),
    ]
    if report.assumed:
        parts += ["## Assumed", "\n".join(f"- {cell(x.text)}" for x in report.assumed)]
    if report.warnings:
        parts += ["## Notes", "\n".join(f"- {cell(w)}" for w in report.warnings)]
    return "\n\n".join(parts)


def compare(a: HardwareReport, b: HardwareReport) -> str:
    """Two designs side by side.

    Args:
        a: Costs of the first design.
        b: Costs of the second design.

    Returns:
        Markdown text: the totals with their ratio b / a, then what each component adds, the
        largest difference first.
    """
    first, second = a.metrics(), b.metrics()
    rows = [[k, f"{first[k]:.6g}", f"{second[k]:.6g}", _ratio(first[k], second[k])] for k in first]
    parts = [table(["metric", cell(a.profile), cell(b.profile), "ratio"], rows)]
    for name, (title, unit, factor) in QUANTITIES.items():
        rows = _differences(getattr(a, name), getattr(b, name), factor)
        parts += [f"## {title}", table(["component", f"difference {unit}"], rows)] if rows else []
    return "\n\n".join(parts)


def _differences(a: Breakdown, b: Breakdown, factor: float) -> list[list[str]]:
    """What each component adds from `a` to `b`, the largest difference first."""
    first, second = a.by_component(), b.by_component()
    names = {**first, **second}
    gaps = {name: (second.get(name, 0.0) - first.get(name, 0.0)) * factor for name in names}
    ranked = sorted(gaps.items(), key=lambda item: -abs(item[1]))
    return [[cell(name), f"{gap:+.6g}"] for name, gap in ranked if gap]


def _ratio(a: float, b: float) -> str:
    return f"{b / a:.3f}" if a else "-"


def _layer_head() -> list[str]:
    columns = ["layer", "crossbars", "PEs", "utilisation %", "lossless ADC bits"]
    return columns + [f"{title} {unit}" for title, unit, _ in QUANTITIES.values()]


def _layer_rows(report: HardwareReport) -> list[list[str]]:
    mapping = report.mapping
    placed = zip(
        mapping.crossbars, mapping.pes, mapping.utilisation, mapping.lossless_adc_bits, strict=True
    )
    rows = [[str(n), str(pes), f"{100 * u:.1f}", str(bits)] for n, pes, u, bits in placed]
    figures = [
        [_figure(value * factor) for value in getattr(report, name).by_row()]
        for name, (_, _, factor) in QUANTITIES.items()
    ]
    return [
        [cell(name), *place, *(column[i] for column in figures)]
        for i, (name, place) in enumerate(zip(report.rows, [*rows, ["", "", "", ""]], strict=True))
    ]


def _components(report: HardwareReport, name: str) -> str:
    title, unit, factor = QUANTITIES[name]
    parts = getattr(report, name).by_component()
    total = getattr(report, name).total
    rows = [
        [cell(component), _figure(value * factor), f"{100 * value / total:.1f}" if total else "-"]
        for component, value in sorted(parts.items(), key=lambda item: -item[1])
    ]
    return f"### {title}\n\n" + table(["component", unit, "share %"], rows)


def _figure(value: float) -> str:
    """Four significant digits, and every digit before the point."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table: columns of numbers are aligned right, those of text left.

    Args:
        head: Names of the columns.
        rows: Cells as text, row by row; `cell` escapes what would end one.

    Returns:
        The lines of the table, without an end of line.
    """
    columns = list(zip(*rows, strict=True)) or [()] * len(head)
    rule = ["---:" if _has_numbers(column) else "---" for column in columns]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *rows])


def _has_numbers(column: Iterable[str]) -> bool:
    """True where a column has numbers, and nothing else but empty cells and dashes."""
    values = [text for text in column if text not in ("", "-")]
    return bool(values) and all(NUMBER.fullmatch(text) for text in values)


def cell(text: str) -> str:
    """Text with everything escaped that would end its cell or line."""
    return CONTROL.sub("?", str(text)).replace("\\", "\\\\").replace("|", "\\|")
