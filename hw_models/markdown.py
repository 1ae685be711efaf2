"""A hardware report as Markdown."""

import re

from hw_models.report import HardwareReport

# quantity -> (heading, unit, factor from SI, attribute of the report)
QUANTITIES = {
    "memory_B": ("Memory", "B", 1.0),
    "area_m2": ("Area", "mm2", 1e6),
    "latency_s": ("Latency, longest path", "ms", 1e3),
    "energy_J": ("Energy, events", "uJ", 1e6),
    "dense_energy_J": ("Energy, dense", "uJ", 1e6),
}
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def markdown(report: HardwareReport) -> str:
    """Totals, layers and components as tables; every figure is an estimate."""
    parts = [
        f"# Hardware estimate on {cell(report.profile)}",
        table(["metric", "estimate"], [[k, f"{v:.6g}"] for k, v in report.metrics().items()]),
        "## Layers",
        table(_layer_head(), _layer_rows(report)),
        "## Components",
        *(_components(report, name) for name in QUANTITIES),
    ]
    if report.warnings:
        parts += ["## Notes", "\n".join(f"- {cell(w)}" for w in report.warnings)]
    return "\n\n".join(parts)


def compare(a: HardwareReport, b: HardwareReport) -> str:
    """Two designs side by side: what differs, the largest difference first."""
    first, second = a.metrics(), b.metrics()
    rows = [[k, f"{first[k]:.6g}", f"{second[k]:.6g}", _ratio(first[k], second[k])] for k in first]
    parts = [table(["metric", cell(a.profile), cell(b.profile), "ratio"], rows)]
    for name, (title, unit, factor) in QUANTITIES.items():
        one, two = (getattr(x, name).by_component() for x in (a, b))
        gaps = {c: (two.get(c, 0.0) - one.get(c, 0.0)) * factor for c in {**one, **two}}
        ranked = sorted(gaps.items(), key=lambda item: -abs(item[1]))
        rows = [[cell(c), f"{gap:+.6g}"] for c, gap in ranked if gap]
        parts += [f"## {title}", table(["component", f"difference {unit}"], rows)] if rows else []
    return "\n\n".join(parts)


def _ratio(a: float, b: float) -> str:
    return f"{b / a:.3f}" if a else "-"


def _layer_head() -> list[str]:
    columns = ["layer", "crossbars", "PEs", "utilisation %", "lossless ADC bits"]
    return columns + [f"{title} {unit}" for title, unit, _ in QUANTITIES.values()]


def _layer_rows(report: HardwareReport) -> list[list[str]]:
    m = report.mapping
    placed = zip(m.crossbars, m.pes, m.utilisation, m.lossless_adc_bits, strict=True)
    rows = [[str(n), str(p), f"{100 * u:.1f}", str(b)] for n, p, u, b in placed]
    figures = [
        [f"{x * factor:.4g}" for x in getattr(report, name).by_row()]
        for name, (_, _, factor) in QUANTITIES.items()
    ]
    return [
        [cell(name), *where, *(column[i] for column in figures)]
        for i, (name, where) in enumerate(zip(report.rows, [*rows, ["", "", "", ""]], strict=True))
    ]


def _components(report: HardwareReport, name: str) -> str:
    title, unit, factor = QUANTITIES[name]
    parts = getattr(report, name).by_component()
    total = getattr(report, name).total
    rows = [
        [cell(c), f"{x * factor:.4g}", f"{100 * x / total:.1f}" if total else "-"]
        for c, x in sorted(parts.items(), key=lambda item: -item[1])
    ]
    return f"### {title}\n\n" + table(["component", unit, "share %"], rows)


def table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def cell(text: str) -> str:
    """Text that stays within its cell."""
    return CONTROL.sub("?", str(text)).replace("\\", "\\\\").replace("|", "\\|")
