"""Commands about chips: what a network costs, why two chips differ, which part of a space fits."""

import json
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.table import Table

from hw_models import HardwareReport, Profile, Workload, load_profile
from hw_models.difference import Step, steps
from hw_models.json_file import read_json
from hw_models.markdown import markdown
from hw_models.numerals import parse_number
from hw_models.profile import DEFAULT
from hw_models.uncertainty import Ensemble
from nas_service.cli.common import FILE, options
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import (
    err,
    heading,
    number,
    out,
    plain,
    print_hardware,
    print_json,
)
from nas_service.errors import SpecError, pick
from nas_service.importers import GRAPH_SUFFIXES, load_workload
from nas_service.metrics import METRICS
from nas_service.study.loading import load_spec

if TYPE_CHECKING:
    from hw_models.calibration import Calibration
    from nas_service.evaluation.census import Census
    from nas_service.study.spec import StudySpec

LEVEL = 0.9  # of the intervals that are shown
SHOWN = ("memory_KiB", "area_mm2", "latency_ms", "energy_uJ")  # of a difference
PROFILE = click.option(
    "--profile", default=DEFAULT, show_default=True, help="Name of a chip profile, or a TOML file."
)
SET = click.option(
    "--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting of the profile."
)


@click.command()
@click.argument("file", type=FILE)
@PROFILE
@SET
@click.option("--study", type=FILE, help="Study whose images an architecture is for.")
@click.option(
    "--time-steps", type=WholeNumber(1, 65536), metavar="T", help="Time steps of a NIR graph."
)
@click.option(
    "--diff", nargs=2, metavar="A B", help="Show which setting causes which difference of A and B."
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    metavar="METRIC=VALUE",
    help="Show how likely a chip keeps this budget.",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the whole report as Markdown.")
@click.option("--html", type=FILE, help="Write the whole report to this HTML file.")
@options("json")
def cost(
    file: Path,
    profile: str,
    changes: tuple[str, ...],
    study: Path | None,
    time_steps: int | None,
    diff: tuple[str, str] | None,
    budgets: tuple[str, ...],
    as_markdown: bool,
    html: Path | None,
    as_json: bool,
) -> None:
    """Estimate the hardware costs of a network.

    FILE is a layer list (.json), a NIR graph (.nir), or an architecture (.json with --study).
    """
    workload, searched = _workload(file, study, time_steps)
    settings = {**searched, **dict(_assignment(text) for text in changes)}
    if diff is not None:
        a, b = (load_profile(name).with_values(settings) for name in diff)
        return _print_difference(a, b, workload, as_json)
    chip = load_profile(profile).with_values(settings)
    report = chip.estimate(workload)
    if html is not None:
        from nas_service.report import write_hardware

        err.print(f"report: {write_hardware(report, html, file.stem)}", markup=False)
    if as_markdown:
        return print(markdown(report))
    ensemble = Ensemble(chip)
    intervals = ensemble.interval(workload, LEVEL)
    likely = [_likely(ensemble, workload, *_assignment(text)) for text in budgets]
    if as_json:
        return print_json(
            report.to_json()
            | {
                "metrics": report.metrics(),
                "intervals": {name: list(ends) for name, ends in intervals.items()},
                "level": LEVEL,
                "budgets": likely,
                "profile_digest": chip.digest,
            }
        )
    _print_metrics(report, intervals)
    _print_likely(likely)
    print_hardware(report)


def _likely(ensemble: Ensemble, workload: Workload, metric: str, bound: str) -> dict[str, Any]:
    """How likely a budget is kept, given the ranges of the profile's figures."""
    pick(dict.fromkeys(ensemble.metrics(workload)), metric, "hardware metric")
    if (at_most := parse_number(bound)) is None:
        raise SpecError(f"--budget {metric}={bound!r:.60}: a number is needed")
    probability = ensemble.probability(workload, metric, at_most)
    return {"metric": metric, "at_most": at_most, "probability": probability}


def _print_likely(budgets: list[dict[str, Any]]) -> None:
    for budget in budgets:
        name, bound = heading(budget["metric"]), budget["at_most"]
        out.print(
            f"{name} <= {bound:g}: kept by {budget['probability']:.1%} of the chips", markup=False
        )


def _print_metrics(report: HardwareReport, intervals: dict[str, tuple[float, float]]) -> None:
    table = Table("metric", "estimate", f"{100 * LEVEL:.0f} % interval", box=None)
    for metric, value in report.metrics().items():
        low, high = intervals[metric]
        between = "" if low == high else f"{number(metric, low)} .. {number(metric, high)}"
        table.add_row(heading(metric), number(metric, value), between)
    out.print(table)


def _print_difference(a: Profile, b: Profile, workload: Workload, as_json: bool) -> None:
    changes = steps(a, b, workload)
    before, after = (chip.estimate(workload).metrics() for chip in (a, b))
    if as_json:
        rows = [vars(step) | {"defect": step.defect} for step in changes]
        return print_json(
            {"from": a.name, "to": b.name, "before": before, "after": after, "steps": rows}
        )
    table = Table("", "setting", "now", *(heading(m) for m in SHOWN), box=None)
    table.columns[1].no_wrap = True
    table.add_row("", a.name, "", *(number(m, before[m]) for m in SHOWN), style="bold")
    for step in changes:
        now = plain(step.after).lower()
        table.add_row(step.defect, step.key, now, *(_change(m, step) for m in SHOWN))
    table.add_row("", b.name, "", *(number(m, after[m]) for m in SHOWN), style="bold")
    out.print(table)
    out.print("Each step keeps the changes above it, and its effect depends on them.")


def _change(metric: str, step: Step) -> str:
    value = step.change[metric]
    return f"{'+' if value > 0 else ''}{number(metric, value)}" if value else ""


def _assignment(text: str) -> tuple[str, str]:
    key, sign, value = text.partition("=")
    if not sign:
        raise SpecError(f"--set {text!r}: KEY=VALUE is needed")
    return key.strip(), value.strip()


def _workload(
    file: Path, study: Path | None, time_steps: int | None
) -> tuple[Workload, dict[str, Any]]:
    """The workload of a file, and the chip settings that an architecture brings with it."""
    document = None if file.suffix.lower() in GRAPH_SUFFIXES else read_json(file)
    if not (isinstance(document, dict) and "cells" in document):
        return load_workload(file, time_steps), {}
    if study is None:
        raise SpecError("an architecture needs --study, the study whose images it is for")
    from nas_service.data import source_of
    from nas_service.snn.trace import trace
    from nas_service.spaces.architecture import Architecture
    from nas_service.spaces.operations import operations_of

    spec = load_spec(study)
    task = source_of(spec.data).task
    architecture = Architecture.from_json(document, operations_of(spec.space.operations))
    return trace(architecture, task, spec.network.votes), dict(architecture.chip)


@click.command()
@click.argument("study", type=FILE)
@click.option(
    "--limit",
    type=WholeNumber(1, 10**8),
    default=100_000,
    show_default=True,
    help="Larger spaces are sampled at random, with this many candidates.",
)
@click.option(
    "--seed", type=WholeNumber(0), default=0, show_default=True, help="Seed of the sample."
)
@click.option(
    "--list",
    "listed",
    type=WholeNumber(1),
    metavar="N",
    help="Only print N architectures that keep all budgets.",
)
@options("json")
def census(study: Path, limit: int, seed: int, listed: int | None, as_json: bool) -> None:
    """Count the candidates within the budgets.

    Each candidate of a study's space is costed, none is trained.
    """
    from nas_service.evaluation import census as counting

    spec = load_spec(study)
    if listed is not None:
        for architecture in islice(counting.feasible(spec), listed):
            print(json.dumps(architecture.to_json()))
        return
    count = counting.census(spec, limit, seed)
    if as_json:
        return print_json({"study": spec.name, "seed": seed} | count.to_json())
    _print_census(spec, count)


def _print_census(spec: "StudySpec", count: "Census") -> None:
    kind = "all" if count.exhaustive else "random"
    rate = spec.hardware.assumed_rate
    out.print(f"{spec.name}: {count.candidates} {kind} candidates, at spike rate {rate:g}")
    table = Table("keeps", "share", "10 % .. 50 % .. 90 % of the candidates")
    table.add_row("a path from input to output", f"{count.connected:.1%}", "")
    for name, share in count.within.items():
        table.add_row(heading(name), f"{share:.1%}", _spread(name, count.quantiles))
    if count.survivors is not None:
        part = f"{count.survivors / spec.build_space().size:.2%}"
        known = f"exactly {count.survivors:,} candidates of the space"
        table.add_row(" and ".join(map(heading, count.counted)), part, known)
    table.add_row("everything", f"{count.feasible:.2%}", "", style="bold")
    out.print(table)


def _spread(name: str, quantiles: dict[str, list[float]]) -> str:
    metric = name.removesuffix("_min")
    known = metric in METRICS
    return " .. ".join(number(metric, x) if known else f"{x:.3g}" for x in quantiles[metric])


@click.command()
@click.argument("measurements", type=FILE)
@PROFILE
@click.option(
    "--fit", "keys", multiple=True, metavar="KEY", help="Fit this figure only; may be repeated."
)
@SET
@click.option("-o", "output", type=FILE, required=True, help="File for the new profile.")
@click.option("--force", is_flag=True, help="Replace the file if it exists.")
@options("json")
def calibrate(
    measurements: Path,
    profile: str,
    keys: tuple[str, ...],
    changes: tuple[str, ...],
    output: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Fit a chip profile to measurements.

    MEASUREMENTS is a CSV file. The new profile holds the fitted figures, and the residuals.
    """
    from hw_models.calibration import fit
    from hw_models.measurements import read_measurements
    from hw_models.profile_writer import write_profile

    if output.exists() and not force:
        raise SpecError(f"{output} exists already: --force replaces it")
    chip = load_profile(profile).with_values(dict(_assignment(text) for text in changes))
    calibration = fit(chip, read_measurements(measurements), keys)
    write_profile(calibration, measurements, output)
    if as_json:
        return print_json(calibration.to_json())
    _print_calibration(calibration)
    out.print(f"profile: {output}", markup=False)


def _print_calibration(calibration: "Calibration") -> None:
    table = Table("figure", "before", "after", "90 % interval")
    for c in calibration.figures:
        interval = f"{c.low:.4g} .. {c.high:.4g}" if c.identified else "not determined by the data"
        table.add_row(c.key, f"{c.before:.4g}", f"{c.after:.4g}", interval)
    out.print(table)
    residuals = Table("measurement", "metric", "measured", "before", "after", "left out")
    for r in calibration.residuals:
        errors = (f"{100 * x:+.1f} %" for x in (r.before, r.after))
        left_out = "" if r.left_out is None else f"{100 * r.left_out:+.1f} %"
        residuals.add_row(plain(r.name), r.metric, f"{r.measured:.4g}", *errors, left_out)
    out.print(residuals)
