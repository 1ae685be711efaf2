"""A front for other programs: a CSV file with full precision, or a LaTeX table for a paper."""

import csv
import io
import re
from typing import TYPE_CHECKING

from nas_service.metrics import METRICS, metric_of
from nas_service.text import metric_label, metric_number, metric_unit, printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from nas_service.searches.candidate import Candidate
    from nas_service.searches.results import Result

TEST = "test_accuracy"
SPECIAL = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}",
}  # fmt: skip
UNITS = {"uJ": r"$\mu$J", "mm2": "mm$^2$", "1/s": "s$^{-1}$"}  # as LaTeX writes them


def csv_of(result: "Result") -> str:
    """The front as CSV: objectives and budgets first, then all other metrics that are known.

    Numbers are those of the store, in the units of the header; a share is 0..1.
    """
    named = _named(result)
    known = {name for c in result.front for name in c.metrics}
    names = [*named, *(n for n in METRICS if n in known and n not in named)]
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["trial", *map(_with_unit, names), "test accuracy (share)"])
    for c in result.front:
        values = [*(c.metrics.get(name) for name in names), c.test_accuracy]
        rows.writerow([c.trial, *("" if v is None else repr(v) for v in values)])
    return text.getvalue()


def _with_unit(name: str) -> str:
    unit = metric_of(name).unit
    return f"{metric_label(name)} ({unit})" if unit else metric_label(name)


def latex_of(result: "Result") -> str:
    """The front as a LaTeX table of the package booktabs, with as few digits as `nas front`."""
    names = _named(result)
    tested = any(c.test_accuracy is not None for c in result.front)
    labels = ["trial", *map(metric_label, names), *(["test accuracy"] if tested else [])]
    units = ["", *map(metric_unit, names), *(["%"] if tested else [])]
    spec = result.spec
    caption = (
        f"Front of the study {spec.name}: accuracy on validation images, hardware figures "
        f"estimated by the chip profile {spec.hardware.profile}."
    )
    rows = [_row(map(escaped, labels)), _row(map(_unit, units)), r"\midrule"]
    rows += [_row(_cells(c, names, tested)) for c in result.front]
    return "\n".join([
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"  \centering",
        rf"  \caption{{{escaped(caption)}}}",
        rf"  \begin{{tabular}}{{{'r' * len(labels)}}}",
        *(f"    {row}" for row in (r"\toprule", *rows, r"\bottomrule")),
        r"  \end{tabular}",
        r"\end{table}",
        "",
    ])  # fmt: skip


def _named(result: "Result") -> list[str]:
    """Metrics of the objectives, then the measures of the budgets, each once."""
    spec = result.spec
    named = [o.metric for o in spec.objectives] + [c.measure for c in spec.constraints]
    return list(dict.fromkeys(named))


def _row(cells: "Iterable[str]") -> str:
    return " & ".join(cells) + r" \\"


def _cells(c: "Candidate", names: "Sequence[str]", tested: bool) -> list[str]:
    values = [metric_number(name, c.metrics.get(name)) for name in names]
    test = [metric_number("accuracy", c.test_accuracy)] if tested else []
    return [str(c.trial), *map(_number, [*values, *test])]


def _number(text: str) -> str:
    """A number with its exponent as a power of ten, and its sign as a minus."""
    power = re.fullmatch(r"(.+)e(-?\d+)", text)
    if power:
        return rf"${power[1]} \times 10^{{{power[2]}}}$"
    return f"${text}$" if re.fullmatch(r"-\d.*", text) else escaped(text)


def _unit(unit: str) -> str:
    return UNITS.get(unit, escaped(unit))


def escaped(text: str) -> str:
    """Text in which LaTeX takes every character as itself."""
    return "".join(SPECIAL.get(character, character) for character in printable(text))
