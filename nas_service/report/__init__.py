"""A report as one HTML file without scripts, which loads nothing else."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from hw_models import HardwareReport
from hw_models.files.text_file import write_text
from nas_service.metrics import METRICS, Evaluation, written
from nas_service.report.charts import charts
from nas_service.report.drawing import Mark, bars, cell, plot
from nas_service.searches.candidate import Candidate
from nas_service.searches.recosting import Recosted
from nas_service.searches.results import Result
from nas_service.spaces.architecture import Architecture
from nas_service.study.rejection import MEMORY, NO_PATH, PATH

DRAWN = 6  # candidates whose cells and hardware are drawn
QUANTITIES = {
    "area": ("area_m2", "mm²", 1e6),
    "energy": ("energy_J", "uJ", 1e6),
    "latency": ("latency_s", "ms", 1e3),
    "memory": ("memory_B", "KiB", 1 / 1024),
}
OUTCOMES = {
    "trained": "trained",
    "scored": "scored",
    "diverged": "diverged in training",
    "rejected": "rejected before training",
    "cached": "answered from the archive",
    "continued": "trained further",
    "failed": "failed",
    "running": "running",
}
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class DrawnCandidate:
    """A candidate with its pictures."""

    candidate: Candidate
    evaluation: Evaluation
    cells: list[Markup]
    charts: list[tuple[str, Markup]]

    @property
    def sizes(self) -> str:
        """Everything of the architecture but its cells, in words."""
        a = self.evaluation.architecture
        return (
            f"{', '.join(map(str, a.widths))} channels, T = {a.time_steps}, {_bits(a)} weights, "
            f"hidden {a.hidden}, head pool {a.head_pool or 'global'}, threshold {a.threshold:g}"
            + "".join(f", {key.replace('_', ' ')} {value}" for key, value in a.chip)
        )


def _bits(a: Architecture) -> str:
    """`8-bit`, or the range if parts of the network differ."""
    least, most = min(a.all_bits), max(a.all_bits)
    return f"{least}-bit" if least == most else f"{least}- to {most}-bit"


def write(result: Result, path: Path) -> Path:
    """Writes the report about a study.

    The file appears complete or not at all.

    Args:
        result: The study.
        path: The HTML file. Missing folders are created.

    Returns:
        The path.
    """
    return write_text(path, render(result))


def write_hardware(report: HardwareReport, path: Path, title: str) -> Path:
    """Writes one hardware report as an HTML file.

    Args:
        report: The hardware report.
        path: The HTML file. Missing folders are created.
        title: Of the page.

    Returns:
        The path.
    """
    return write_text(path, render_hardware(report, title))


def render(result: Result) -> str:
    """The report about a study as HTML. Every text of the store is escaped."""
    rows = result.best_known
    drawn = [_draw(c, result.evaluation(c)) for c in rows[:DRAWN]]
    return (
        _pages()
        .get_template("report.html")
        .render(
            result=result,
            spec=result.spec,
            counts=result.counts,
            outcomes=OUTCOMES,
            checks={PATH: NO_PATH, MEMORY: "memory of a training"},
            metrics=_shown_metrics(result),
            units={name: metric.unit for name, metric in METRICS.items()},
            rows=rows,
            fronts=_fronts(result),
            history=_history(result),
            drawn=drawn,
            hardware=[(name, *_bars(name, drawn)) for name in QUANTITIES if drawn],
            specification=json.dumps(result.spec.model_dump(mode="json"), indent=2),
            versions=drawn[0].evaluation.versions if drawn else {},
            warnings=sorted({w for d in drawn for w in d.evaluation.hardware.warnings}),
        )
    )


def render_hardware(report: HardwareReport, title: str) -> str:
    """A hardware report as HTML.

    Args:
        report: The hardware report.
        title: Of the page.

    Returns:
        The text of one page, which loads nothing else.
    """
    page = _pages().get_template("hardware.html")
    return page.render(report=report, title=title, charts=charts(report))


def write_recosted(recosted: Recosted, path: Path) -> Path:
    """Writes the page of a study that was costed anew.

    Args:
        recosted: The study before and after.
        path: The HTML file. Missing folders are created.

    Returns:
        The path.
    """
    page = _pages().get_template("recosted.html")
    spec = recosted.after.spec
    named = [o.metric for o in spec.objectives] + [c.metric for c in spec.constraints]
    text = page.render(
        recosted=recosted,
        spec=spec,
        metrics=list(dict.fromkeys(named)),
        before=_fronts(recosted.before),
        after=_fronts(recosted.after),
    )
    return write_text(path, text)


def _pages() -> Environment:
    pages = Environment(
        loader=PackageLoader("nas_service", "report"), autoescape=True, undefined=StrictUndefined
    )
    pages.filters["metric"] = _metric
    pages.filters["plain"] = lambda text: CONTROL.sub("?", str(text))
    return pages


def _metric(value: float | None, name: str) -> str:
    return written(name, value)


def _shown_metrics(result: Result) -> list[str]:
    """Metrics of objectives and constraints, then all others that a candidate has."""
    named = [o.metric for o in result.spec.objectives]
    named += [c.metric for c in result.spec.constraints]
    known = {metric for c in result.candidates for metric in c.metrics}
    return [metric for metric in dict.fromkeys([*named, *METRICS]) if metric in {*named, *known}]


def _draw(candidate: Candidate, evaluation: Evaluation) -> DrawnCandidate:
    cells = [cell(c) for c in evaluation.architecture.cells]
    return DrawnCandidate(candidate, evaluation, cells, charts(evaluation.hardware))


def _tip(result: Result, c: Candidate) -> str:
    values = (f"{m} {_metric(v, m)}" for m, v in c.metrics.items())
    return f"trial {c.trial}, {c.outcome}\n" + "\n".join(values)


def label(metric: str) -> str:
    """A metric's name as the label of an axis, its unit in parentheses."""
    unit = METRICS[metric].unit
    suffix = unit.replace("1/", "per_")
    name = metric.removesuffix("_" + suffix.replace(" ", "_"))
    name = name.removesuffix("_" + suffix.replace(" ", ""))
    return name.replace("_", " ") + (f" ({unit})" if unit and unit != "share" else "")


def _fronts(result: Result) -> list[Markup]:
    """The first objective over each of the others; a single one over the trials."""
    first, *others = [o.metric for o in result.spec.objectives]
    if not others:
        marks = [_mark(result, c, c.trial, c.metrics.get(first)) for c in result.candidates]
        return [plot(marks, "trial", label(first), _bounds(result, first))]
    return [
        plot(
            [
                _mark(result, c, c.metrics[other], c.metrics.get(first))
                for c in result.candidates
                if other in c.metrics
            ],
            label(other),
            label(first),
            _bounds(result, first),
            _bounds(result, other),
        )
        for other in others
    ]


def _mark(result: Result, c: Candidate, x: float, y: float | None) -> Mark:
    kind = "feasible" if c.feasible else "infeasible"
    kind = "below" if c.below_reference else kind
    kind = "front" if c.trial in result.front_trials else kind
    return Mark(x, y, kind, _tip(result, c))


def _bounds(result: Result, metric: str) -> list[float]:
    bounds = [(c.at_most, c.at_least) for c in result.spec.constraints if c.metric == metric]
    return [value for pair in bounds for value in pair if value is not None]


def _history(result: Result) -> Markup:
    steps = result.hypervolume_history()
    marks = [Mark(t, v, "step", f"trial {t}: {v:.4f}") for t, v in steps]
    return plot(marks, "trial", "hypervolume", [], joined=True)


def _bars(name: str, drawn: list[DrawnCandidate]) -> tuple[str, Markup]:
    attribute, unit, factor = QUANTITIES[name]
    rows: list[tuple[str, dict[str, float]]] = []
    for d in drawn:
        parts: Any = getattr(d.evaluation.hardware, attribute).by_component()
        rows.append((f"trial {d.candidate.trial}", {k: v * factor for k, v in parts.items()}))
    return unit, bars(rows, unit)
