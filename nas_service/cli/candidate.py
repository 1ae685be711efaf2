"""A candidate on a terminal: its sizes, its cells, its budgets, its metrics and its costs."""

from collections.abc import Iterable, Mapping

from nas_service.cli.hardware import print_hardware
from nas_service.cli.terminal import print_aligned, print_out, print_table
from nas_service.metrics import Evaluation, measure
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGES, Cell
from nas_service.spaces.operations import BACK, operations_of
from nas_service.study.spec import StudySpec
from nas_service.text import (
    metric,
    metric_label,
    metric_limit,
    metric_number,
    metric_unit,
    percent,
)

DIGITS = 10  # operations that have a digit of their own in the text of a cell
NO_EDGE = "zeroize"


def print_candidate(
    evaluation: Evaluation,
    spec: StudySpec,
    stored: Mapping[str, float] | None = None,
    test_accuracy: float | None = None,
) -> None:
    """Prints an architecture, its budgets, all metrics, and the hardware costs of each layer.

    Args:
        evaluation: What is known of the candidate.
        spec: The study, whose budgets it is compared with.
        stored: Metrics of the candidate in its store.
        test_accuracy: Of the candidate, 0..1; None where it is not measured.
    """
    metrics = {**measure(evaluation), **(stored or {})}
    print_aligned(_sizes(evaluation.architecture))
    _print_cells(evaluation.architecture.cells, operations_of(spec.space.operations))
    _print_budgets(spec, metrics)
    print_out()
    _print_metrics(metrics, test_accuracy)
    if len(evaluation.curve) > 1:
        points = (f"{metric('accuracy', a)} after {n}" for n, a in evaluation.curve)
        print_out(f"accuracy by epochs: {', '.join(points)}")
    print_out()
    print_hardware(evaluation.hardware)
    if all(assumption.figure != "spike_rate" for assumption in evaluation.hardware.assumed):
        print_out(rates_line(evaluation, spec))


def broken_budgets(violations: Mapping[str, float]) -> str:
    """What a candidate breaks, such as `breaks area by 12 %`; `keeps all budgets` else."""
    broken = [f"{metric_label(k)} by {percent(v)}" for k, v in violations.items() if v > 0]
    return f"breaks {', '.join(broken)}" if broken else "keeps all budgets"


def margin(violation: float | None) -> str:
    """How far a value is from its budget: `2.3 % to spare` or `12 % over`."""
    if violation is None:
        return "not measured"
    return f"{percent(violation)} beyond" if violation > 0 else f"{percent(-violation)} to spare"


def rates_line(evaluation: Evaluation, spec: StudySpec) -> str:
    """Which spike rates the costs of a candidate are computed with."""
    if evaluation.spike_rates:
        return "costs at the spike rates that were measured in each layer after the training"
    return (
        f"costs at the assumed spike rate {percent(spec.hardware.assumed_rate)} "
        "(hardware.assumed_rate of the study): no training has measured any"
    )


def _print_metrics(metrics: Mapping[str, float], test_accuracy: float | None) -> None:
    rows = [[metric_label(k), metric_number(k, v), metric_unit(k)] for k, v in metrics.items()]
    if test_accuracy is not None:
        tested = ["test accuracy", metric_number("accuracy", test_accuracy), "%"]
        rows.insert(1 + [*metrics].index("accuracy") if "accuracy" in metrics else 0, tested)
    print_table(["metric", "value", "unit"], rows)


def _sizes(architecture: Architecture) -> dict[str, str]:
    document = {k: v for k, v in architecture.to_json().items() if k != "cells"}
    return {name.replace("_", " "): _size(value) for name, value in document.items()}


def _size(value: object) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_size(one)}" for name, one in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_size, value))
    return str(value)


def _print_cells(cells: Iterable[Cell], operations: tuple[str, ...]) -> None:
    """Prints the operation on each edge of each cell, and the cells as `nas` reads them."""
    known = list(cells)
    rows = [
        [f"{i} to {j}", *(_edge(cell, pair) for cell in known)] for pair, (i, j) in enumerate(EDGES)
    ]
    print_out()
    print_table(["nodes", *(f"cell {k}" for k in range(len(known)))], rows)
    if any("(unused)" in text for row in rows for text in row):
        print_out("(unused): on no path from node 0, the input, to node 3, the output")
    numbered = operations[:DIGITS]
    if not {o.removeprefix(BACK) for c in known for o in c.operations} <= set(numbered):
        return
    texts = (f"cell {k}: {cell.text(operations)}" for k, cell in enumerate(known))
    print_out("as text, " + "; ".join(texts))
    key = ", ".join(f"{i} {name}" for i, name in enumerate(numbered))
    print_out(f"(group i, digit j, both from 0: the edge from node i to node j; {key})")


def _edge(cell: Cell, pair: int) -> str:
    """The operation between two nodes; a dash for none."""
    state = cell.operations[pair]
    if state == NO_EDGE:
        return "-"
    name = state.removeprefix(BACK) + (" (backward)" if state.startswith(BACK) else "")
    return name if cell.live().operations[pair] == state else f"{name} (unused)"


def _print_budgets(spec: StudySpec, metrics: Mapping[str, float]) -> None:
    if not spec.constraints:
        return
    violations = spec.known_violations(dict(metrics))
    rows = []
    for c in spec.constraints:
        sign, limit = ("<=", c.at_most) if c.at_most is not None else (">=", c.at_least)
        assert limit is not None  # noqa: S101  a constraint has one of both
        value = metric(c.measure, metrics.get(c.measure))
        unit = "" if metric_unit(c.metric) == "%" else f" {metric_unit(c.metric)}".rstrip()
        bound = f"{sign} {metric_limit(c.metric, limit)}{unit}"
        rows.append(
            [metric_label(c.measure), value, bound, margin(violations.get(spec.constraint_name(c)))]
        )
    print_out()
    print_table(["budget", "value", "limit", ""], rows)
