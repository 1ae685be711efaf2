"""`nas cost --validate`: the model of a crossbar beside chips that were measured."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from hw_models.silicon.measured import FIGURES, GROUPS, known_chips, load_chip
from hw_models.silicon.validation import ENOUGH, Ratio, Summary, Validation, validate
from hw_models.silicon.verdict import BAND, figures_of, missed, range_of, verdicts
from nas_service.cli.terminal import print_json, print_out, print_table
from nas_service.text import number

ALL = "all"  # what --validate means without a name


def print_validation(name: str, as_json: bool) -> None:
    """Prints the model beside the measurements of one chip, or of all.

    Args:
        name: One of `known_chips()`, or "all".
        as_json: As one JSON document.

    Raises:
        ProfileError: There is no such chip.
    """
    names = known_chips() if name == ALL else [name]
    validations = [validate(load_chip(each)) for each in names]
    if as_json:
        return print_json(_document(validations))
    if name == ALL:
        return _print_all(validations)
    _print_chip(validations[0])


def _document(validations: Sequence[Validation]) -> dict[str, Any]:
    document: dict[str, Any] = {
        "chips": [v.to_json() | {"verdicts": verdicts(v)} for v in validations]
    }
    if len(validations) > 1:
        document["summary"] = asdict(Summary.of(validations))
    return document


def _print_all(validations: Sequence[Validation]) -> None:
    """One line a chip: the range of its ratios of model to measurement; then what is missed."""
    order = sorted(validations, key=lambda v: (list(GROUPS).index(v.chip.group), v.chip.name))
    headings = "chip|node, cells|energy|latency|area|worst\nfit"
    print_table(headings.split("|"), [_row(v) for v in order])
    groups = "; ".join(f"{name[0]}: {text}" for name, text in GROUPS.items())
    print_out(f"Columns are model over measurement, ! is outside of {BAND}. {groups}.")
    for line in _sentences(Summary.of(validations)):
        print_out(line)
    print_out("\nWhat is missed or not modelled:")
    for v in order:
        for name in missed(v):
            print_out(f"{v.chip.name}, {verdicts(v)[name]}")


def _row(v: Validation) -> list[str]:
    structure = v.chip.macro
    place = [f"{v.chip.group[0]} {v.chip.name}", f"{structure.node:g} nm {structure.kind}"]
    figures = [_range(figures_of(v)[name]) for name in FIGURES]
    return [*place, *figures, _errors(v)]


def _sentences(summary: Summary) -> list[str]:
    return [
        f"Energy is within {BAND} times the measurement at all points of {_of(summary.energy)} "
        f"counted chips ({_of(summary.energy_unseen)} of group B), area of {_of(summary.area)}, "
        f"latency of {_of(summary.latency)}.",
        "Fit: every second point is fitted, the others are predicted; median error "
        f"{summary.calibration_median:.1%}, worst {summary.calibration_worst:.1%} "
        f"({summary.calibration_worst_at}).",
    ]


def _of(counts: tuple[int, int]) -> str:
    return f"{counts[0]} of {counts[1]}"


def _print_chip(v: Validation) -> None:
    """Every measured figure of one chip beside the model's."""
    print_out(v.chip.title)
    ratios = [*v.energies, *v.latencies, *([v.area] if v.area else []), *v.splits]
    rows = [
        [x.point, _figure(x), number(x.model, 4), number(x.measured, 4), _ratio(x)] for x in ratios
    ]
    print_table(["point", "figure", "model", "measured", "ratio"], rows)
    for text in verdicts(v).values():
        print_out(text)
    for c in v.calibrations:
        of_data = f" of {c.data}" if c.data else ""
        print_out(
            f"calibrated with {c.fitted} points{of_data}, {c.parameters} parameters: median error "
            f"{c.median:.1%}, worst {c.worst:.1%} at {len(c.errors)} others"
        )
    for data, count in v.uncalibrated.items():
        of_data = f" of {data}" if data else ""
        print_out(f"not calibrated: {count} points{of_data}, at least {ENOUGH} are needed")
    print_out(f"group {v.chip.group}: {GROUPS[v.chip.group]}")
    print_out(f"source: {v.chip.source}")
    print_out(" ".join(v.chip.notes.split()))


def _figure(ratio: Ratio) -> str:
    name, _, unit = ratio.figure.rpartition("_")
    return f"{name} {unit}" if name else f"{ratio.figure} pJ"


def _ratio(ratio: Ratio) -> str:
    return f"{ratio.ratio:.2f}" + ("" if ratio.within else " !")


def _range(ratios: Sequence[Ratio]) -> str:
    """Least and largest ratio, marked where one is outside of the band."""
    if not ratios:
        return "-"
    return range_of(ratios) + ("" if all(x.within for x in ratios) else " !")


def _errors(v: Validation) -> str:
    errors = [abs(e) for c in v.calibrations for e in c.errors]
    return f"{max(errors):.1%}" if errors else "-"
