"""Commands about chips: what a network costs, why two chips differ, which part of a space fits."""

import json
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from hw_models import HardwareReport, Profile, Workload, load_profile
from hw_models.difference import Step, steps
from hw_models.markdown import markdown
from hw_models.profile import DEFAULT
from hw_models.uncertainty import Ensemble
from nas_service.cli.terminal import (
    err,
    heading,
    number,
    options,
    out,
    plain,
    print_hardware,
    print_json,
)
from nas_service.errors import SpecError, pick
from nas_service.importers import load_workload
from nas_service.json_file import read_json
from nas_service.metrics import METRICS
from nas_service.study.spec import load_spec

LEVEL = 0.9  # of the intervals that are shown
SHOWN = ("memory_KiB", "area_mm2", "latency_ms", "energy_uJ")  # of a difference
FILE = click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
SET = click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Change a setting.")
STUDY = click.option("--study", type=click.Path(path_type=Path, dir_okay=False), help="Its images.")
STEPS = click.option("--time-steps", type=click.IntRange(1, 65536), help="T, for a NIR graph.")
PATH = click.Path(path_type=Path, dir_okay=False)


@click.command()
@FILE
@click.option("--profile", default=DEFAULT, show_default=True, help="Name, or a TOML file.")
@SET
@STUDY
@STEPS
@click.option("--diff", nargs=2, metavar="A B", help="Two profiles: which setting moves what.")
@click.option(
    "--budget", "budgets", multiple=True, metavar="METRIC=VALUE", help="How likely it holds."
)
@click.option("--markdown", "as_markdown", is_flag=True, help="The whole report as Markdown.")
@click.option("--html", type=PATH, help="The whole report as one HTML file.")
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
    """Hardware figures of a layer list (.json), a NIR graph (.nir) or an architecture (--study)."""
    workload, drawn = _workload(file, study, time_steps)
    settings = {**drawn, **dict(_assignment(text) for text in changes)}
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
        bounds = {name: list(ends) for name, ends in intervals.items()}
        found = {
            "metrics": report.metrics(),
            "intervals": bounds,
            "level": LEVEL,
            "budgets": likely,
        }
        return print_json(report.to_json() | found | {"profile_digest": chip.digest})
    _print_metrics(report, intervals)
    for budget in likely:
        held = f"{budget['probability']:.1%} of the chips"
        said = f"{heading(budget['metric'])} <= {budget['at_most']:g}: holds on {held}"
        out.print(said, markup=False)
    print_hardware(report)


def _likely(ensemble: Ensemble, workload: Workload, metric: str, bound: str) -> dict[str, Any]:
    """How likely a budget holds, given the ranges of the profile's figures."""
    pick(dict.fromkeys(ensemble.metrics(workload)), metric, "hardware metric")
    try:
        at_most = float(bound)
    except ValueError:
        raise SpecError(f"--budget {metric}={bound!r:.60}: a number is needed") from None
    probability = ensemble.probability(workload, metric, at_most)
    return {"metric": metric, "at_most": at_most, "probability": probability}


def _print_metrics(report: HardwareReport, intervals: dict[str, tuple[float, float]]) -> None:
    table = Table("metric", "estimate", f"{100 * LEVEL:.0f} % interval", box=None)
    for metric, value in report.metrics().items():
        low, high = intervals[metric]
        between = "" if low == high else f"{number(metric, low)} .. {number(metric, high)}"
        table.add_row(heading(metric), number(metric, value), between)
    out.print(table)


def _print_difference(a: Profile, b: Profile, workload: Workload, as_json: bool) -> None:
    found = steps(a, b, workload)
    first, last = (chip.estimate(workload).metrics() for chip in (a, b))
    if as_json:
        rows = [vars(step) | {"defect": step.defect} for step in found]
        return print_json(
            {"from": a.name, "to": b.name, "before": first, "after": last, "steps": rows}
        )
    table = Table("", "setting", "now", *(heading(m) for m in SHOWN), box=None)
    table.columns[1].no_wrap = True
    table.add_row("", a.name, "", *(number(m, first[m]) for m in SHOWN), style="bold")
    for step in found:
        now = plain(step.after).lower()
        table.add_row(step.defect, step.key, now, *(_change(m, step) for m in SHOWN))
    table.add_row("", b.name, "", *(number(m, last[m]) for m in SHOWN), style="bold")
    out.print(table)
    out.print("each step keeps those above it; what a step moves depends on them")


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
    """The workload of a file, and the chip settings that were drawn with an architecture."""
    document = None if file.suffix == ".nir" else read_json(file)
    if not (isinstance(document, dict) and "cells" in document):
        return load_workload(file, time_steps), {}
    if study is None:
        raise SpecError("an architecture needs the --study whose images it is for")
    from nas_service.data import source_of
    from nas_service.snn.trace import trace
    from nas_service.spaces.architecture import Architecture
    from nas_service.spaces.operations import operations_of

    spec = load_spec(study)
    task = source_of(spec.data).task
    architecture = Architecture.from_json(document, operations_of(spec.space.operations))
    return trace(architecture, task, spec.network.votes), dict(architecture.chip)


@click.command()
@click.argument("study", type=PATH)
@click.option("--limit", type=click.IntRange(1, 10**8), default=100_000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--list", "listed", type=click.IntRange(1), help="Print so many that keep all.")
@options("json")
def census(study: Path, limit: int, seed: int, listed: int | None, as_json: bool) -> None:
    """Which part of a study's space keeps its budgets: costed, not trained."""
    from itertools import islice

    from nas_service.evaluation import census as counting

    spec = load_spec(study)
    if listed is not None:
        for architecture in islice(counting.feasible(spec), listed):
            print(json.dumps(architecture.to_json()))
        return
    found = counting.census(spec, limit, seed)
    if as_json:
        return print_json({"study": spec.name, "seed": seed} | found.to_json())
    kind = "all" if found.exhaustive else "random"
    rate = spec.hardware.assumed_rate
    out.print(f"{spec.name}: {found.candidates} {kind} candidates, at spike rate {rate:g}")
    table = Table("keeps", "share", "10 % .. 50 % .. 90 % of the candidates")
    table.add_row("a path from input to output", f"{found.connected:.1%}", "")
    for name, share in found.within.items():
        table.add_row(heading(name), f"{share:.1%}", _spread(name, found.quantiles))
    if found.survivors is not None:
        part = f"{found.survivors / spec.build_space().size:.2%}"
        known = f"exactly {found.survivors:,} candidates of the space"
        table.add_row(" and ".join(map(heading, found.counted)), part, known)
    table.add_row("everything", f"{found.feasible:.2%}", "", style="bold")
    out.print(table)


def _spread(name: str, quantiles: dict[str, list[float]]) -> str:
    metric = name.removesuffix("_min")
    known = metric in METRICS
    return " .. ".join(number(metric, x) if known else f"{x:.3g}" for x in quantiles[metric])


@click.command()
@click.argument("measurements", type=PATH)
@click.option("--profile", default=DEFAULT, show_default=True)
@click.option("--fit", "keys", multiple=True, metavar="KEY", help="Figures to fit; else all.")
@SET
@click.option("-o", "output", type=PATH, required=True, help="The new profile.")
@click.option("--force", is_flag=True, help="Replace a profile that is there.")
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
    """Fit a chip's figures to measurements (CSV) and write a new profile with the residuals."""
    from hw_models.calibration import fit
    from hw_models.measurements import read_measurements
    from hw_models.profile_writer import write_profile

    if output.exists() and not force:
        raise SpecError(f"{output} is there already: --force replaces it")
    chip = load_profile(profile).with_values(dict(_assignment(text) for text in changes))
    found = fit(chip, read_measurements(measurements), keys)
    write_profile(found, measurements, output)
    if as_json:
        return print_json(found.to_json())
    table = Table("figure", "was", "is", "90 % interval")
    for c in found.figures:
        told = "the data cannot tell" if not c.identified else f"{c.low:.4g} .. {c.high:.4g}"
        table.add_row(c.key, f"{c.before:.4g}", f"{c.after:.4g}", told)
    out.print(table)
    residuals = Table("measurement", "metric", "measured", "before", "after", "left out")
    for r in found.residuals:
        ends = (f"{100 * x:+.1f} %" for x in (r.before, r.after))
        left = "" if r.left_out is None else f"{100 * r.left_out:+.1f} %"
        residuals.add_row(plain(r.name), r.metric, f"{r.measured:.4g}", *ends, left)
    out.print(residuals)
    out.print(f"profile: {output}", markup=False)
