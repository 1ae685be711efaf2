"""`nas recost`: the front that a study would have on another chip or under other budgets."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from hw_models.files.numerals import parse_number
from nas_service.cli.chip import assignments, settings_of
from nas_service.cli.common import STUDY_NAME, Page, options, read_result
from nas_service.cli.terminal import (
    NOTHING_FEASIBLE,
    heading,
    print_err,
    print_json,
    print_out,
    print_table,
)
from nas_service.errors import SpecError
from nas_service.text import metric_label, metric_number, metric_unit, number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from nas_service.searches.recosting import Change, Recosted


LISTED = 10  # candidates without a training


@click.command()
@STUDY_NAME
@click.option(
    "--profile", help="Name of a chip profile, or a TOML file; by default the study's chip."
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the chip; may be repeated.",
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    metavar="METRIC=VALUE",
    help="Give a budget another limit, or add a budget: at least VALUE where more is better, else "
    "at most. METRIC_min is the lower limit of two; may be repeated.",
)
@click.option(
    "--html", type=Page(), help="Write a report of the study as it would be to this file."
)
@options("storage", "any_disk", "json")
def recost(
    name: str,
    profile: str | None,
    changes: tuple[str, ...],
    budgets: tuple[str, ...],
    html: Path | None,
    storage: str | None,
    any_disk: bool,
    as_json: bool,
) -> None:
    """Cost a study anew on another chip.

    Every candidate of the store is costed at its measured spike rates; nothing is trained or
    stored. Shown are the candidates of the old front and of the new one, and why they enter or
    leave. With [hardware] record = "traces" in the study, energies counted in the recorded inputs
    of each layer are shown beside theirs. If none is within the budgets, the exit code is 3.
    """
    from nas_service.searches import recosting

    limits = {k: _limit(k, v) for k, v in assignments(budgets, "--budget").items()}
    result = read_result(storage, name, any_disk, computes=True)
    recosted = recosting.recost(result, profile, settings_of(changes), limits)
    if html is not None:
        from nas_service.report import write_recosted

        print_err(f"report: {write_recosted(recosted, html)}")
    if as_json:
        print_json(recosted.to_json())
    else:
        _print(recosted)
    if not recosted.after.front:
        raise SystemExit(NOTHING_FEASIBLE)


def _limit(metric: str, value: str) -> float:
    if (limit := parse_number(value)) is None:
        raise SpecError(f"--budget {metric}={value!r:.60}: a number is needed")
    return limit


def _print(recosted: "Recosted") -> None:
    before, after = recosted.before, recosted.after
    chip = ", ".join(f"{k} = {v}" for k, v in after.spec.hardware.overrides.items())
    print_out(f"{after.spec.name} on {after.spec.hardware.profile}" + (chip and f", {chip}"))
    if budgets := ", ".join(c.described for c in after.spec.constraints):
        print_out(f"budgets: {budgets}")
    print_out(
        f"front of {len(after.front)}, was {len(before.front)}; hypervolume "
        f"{number(after.hypervolume)}, was {number(before.hypervolume)}"
    )
    metrics = list(dict.fromkeys(o.metric for o in after.spec.objectives))
    headings = ["trial", "change", *map(heading, metrics)]
    if recosted.changes:
        print_table(headings, (_row(change, metrics) for change in recosted.changes))
    if recosted.traced:
        _print_traced(recosted)
    for line in _lines(recosted):
        print_out(line)


def _row(change: "Change", metrics: list[str]) -> list[str]:
    old, new = change.before.metrics, change.after.metrics
    return [str(change.after.trial), change.kind, *(_cell(m, old, new) for m in metrics)]


def _cell(metric: str, before: "Mapping[str, float]", after: "Mapping[str, float]") -> str:
    """The value of a metric, or both where it changes."""
    old, new = (metric_number(metric, values.get(metric)) for values in (before, after))
    return new if old == new else f"{old} -> {new}"


def _print_traced(recosted: "Recosted") -> None:
    """Prints costs at spike rates beside those counted in traces."""
    metrics = recosted.traced_metrics
    names = [
        f"{metric_label(m)} {which}\n{metric_unit(m)}"
        for m in metrics
        for which in ("at rates", "from traces")
    ]
    headings = ["trial", "validation samples", *names]
    print_table(headings, (_traced_row(c, metrics) for c in recosted.changes if c.traced))


def _traced_row(change: "Change", metrics: list[str]) -> list[str]:
    traced = change.traced
    assert traced is not None  # noqa: S101  its caller
    cells = [str(change.after.trial), str(traced.samples)]
    for m in metrics:
        cells.append(_cell(m, change.before.metrics, change.after.metrics))
        cells.append(_cell(m, traced.before, traced.after))
    return cells


def _lines(recosted: "Recosted") -> "Iterator[str]":
    if note := recosted.after.nothing_known:
        yield note
    for change in recosted.changes:
        if change.reason:
            yield f"trial {change.after.trial} {change.kind}: {change.reason}"
    if recosted.untrained:
        trials = ", ".join(str(c.trial) for c in recosted.untrained[:LISTED])
        if more := len(recosted.untrained[LISTED:]):
            trials += f" and {more} more"
        yield f"untrained, within the budgets at the assumed spike rate: {trials}"
    for note in recosted.notes:
        yield f"note: {note}"
