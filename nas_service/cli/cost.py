"""`nas cost`: what a network costs on a chip, and why two chips differ."""

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hw_models import HardwareReport, Profile, Workload, load_profile
from hw_models.difference import steps
from hw_models.effects import limits
from hw_models.files.numerals import parse_number
from hw_models.files.text_file import write_text
from hw_models.markdown import markdown
from hw_models.parameters import CHOICES
from hw_models.profile_file import DEFAULT
from hw_models.uncertainty import Ensemble
from nas_service.cli.chip import SET, assignment, settings_of
from nas_service.cli.common import FILE, Page, density_in, options, read_checked
from nas_service.cli.hardware import print_assumed, print_hardware
from nas_service.cli.network_options import STUDY, network_options
from nas_service.cli.terminal import heading, print_err, print_json, print_out, print_table
from nas_service.errors import SpecError, pick
from nas_service.metrics import check_range
from nas_service.text import (
    column,
    exact,
    metric_label,
    metric_limit,
    metric_number,
    metric_unit,
    percent,
)

if TYPE_CHECKING:
    from hw_models.network import Network
    from nas_service.importers.network_file import Given
    from nas_service.study.spec import StudySpec

LEVEL = 0.9  # of the intervals that are shown
SHOWN = ("memory_KiB", "area_mm2", "latency_ms", "energy_uJ")  # of a difference


@click.command()
@click.argument("file", type=FILE, required=False)
@click.option(
    "--profile",
    show_default=f"{DEFAULT}, or the study's chip",
    help="Name of a chip profile, or a TOML file.",
)
@SET
@STUDY
@network_options
@click.option(
    "--diff", nargs=2, metavar="A B", help="Show which setting causes which difference of A and B."
)
@click.option(
    "--budget",
    "budgets",
    multiple=True,
    metavar="METRIC=VALUE",
    help="Show how likely a chip keeps this budget; may be repeated.",
)
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the whole report as Markdown.")
@click.option("--html", type=Page(), help="Write the whole report to this HTML file.")
@click.option("--layers", type=FILE, help="Write the network as a layer list to this JSON file.")
@click.option("--force", is_flag=True, help="Replace the file of --layers if it exists.")
@click.option(
    "--validate",
    is_flag=False,
    flag_value="all",
    metavar="[CHIP]",
    help="Show the model beside measured chips, of all or of one; no FILE.",
)
@options("measured_data", "json")
def cost(
    file: Path | None,
    profile: str | None,
    changes: tuple[str, ...],
    study: Path | None,
    given: "Given",
    diff: tuple[str, str] | None,
    budgets: tuple[str, ...],
    as_markdown: bool,
    html: Path | None,
    layers: Path | None,
    force: bool,
    validate: str | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Estimate the hardware costs of a network.

    FILE is a layer list (.json), a NIR graph (.nir), or with --study an architecture or what `nas
    show --json` prints of a trial (.json). Figures that it does not say are assumed and named;
    --weight-bits, --input-bits, --spike-rate, --time-steps and --input say them, or replace what
    the file says.
    """
    from nas_service.importers.network_file import read_network

    if validate is not None:
        return _print_validation(validate, file, as_json)
    if file is None:
        raise click.UsageError("Missing argument 'FILE'.")
    _demand_one_output(diff, budgets, as_markdown, as_json, html)
    if layers is not None:
        _demand_new(layers, force)
    spec = None if study is None else read_checked(study)
    network = read_network(file, given, spec, density_in(spec, data))
    settings = settings_of(changes)
    if diff is not None:
        a, b = (load_profile(name).with_values({**network.chip, **settings}) for name in diff)
        _write_layers(network, layers)
        return _print_difference(a, b, network, as_json)
    base, fixed = _base(profile, spec, network)
    chip = base.with_values({**fixed, **settings})
    ensemble = Ensemble(chip)
    bounds = [assignment(text, "--budget") for text in budgets]
    likely = [_likely(ensemble, network.workload, *bound) for bound in bounds]
    report = _report(chip, network, limits(base, settings, network.workload, fixed))
    _write_layers(network, layers)
    if html is not None:
        from nas_service.report import write_hardware

        print_err(f"report: {write_hardware(report, html, file.stem)}")
    if as_markdown:
        return print(markdown(report))
    intervals = ensemble.interval(network.workload, LEVEL)
    if as_json:
        return print_json(
            report.to_json()
            | {
                "assumed": [x.to_json() for x in report.assumed],
                "metrics": report.metrics(),
                "intervals": {name: list(ends) for name, ends in intervals.items()},
                "level": LEVEL,
                "budgets": likely,
                "profile_digest": chip.digest,
                "area_mm2_by_tiles": _areas(chip, network.workload),
                "scaled_figures": chip.scaled,
            }
        )
    _print_metrics(report, intervals)
    _print_areas(_areas(chip, network.workload))
    _print_scaled(chip)
    _print_likely(likely)
    print_out()
    print_hardware(report)
    if all(assumption.figure != "spike_rate" for assumption in report.assumed):
        place = file if given.spike_rate is None else "--spike-rate"
        print_out(f"costs at the spike rates of {place}")


def _print_validation(name: str, file: Path | None, as_json: bool) -> None:
    """Prints measured chips; SpecError where a network is given as well."""
    from nas_service.cli.validate import print_validation

    if file is not None:
        raise SpecError(f"--validate compares crossbars with measured chips, without {file}")
    print_validation(name, as_json)


def _base(
    name: str | None, spec: "StudySpec | None", network: "Network"
) -> tuple[Profile, dict[str, Any]]:
    """The profile to cost a network on, by default that of its study, and settings of its chip."""
    if name is not None or spec is None:
        return load_profile(name or DEFAULT), dict(network.chip)
    return load_profile(spec.hardware.profile), {**spec.hardware.overrides, **network.chip}


def _demand_one_output(
    diff: tuple[str, str] | None,
    budgets: tuple[str, ...],
    as_markdown: bool,
    as_json: bool,
    html: Path | None,
) -> None:
    """SpecError for options of which one would be ignored."""
    asked = {"--markdown": as_markdown, "--html": html, "--budget": budgets}
    if diff is not None and (extra := [name for name, value in asked.items() if value]):
        raise SpecError(f"--diff prints the difference of two chips only, without {extra[0]}")
    if as_markdown and (as_json or budgets):
        other = "--json" if as_json else "--budget"
        raise SpecError(f"--markdown and {other}: one of them is possible at a time")


def _demand_new(layers: Path, force: bool) -> None:
    if layers.suffix.lower() != ".json":
        raise SpecError(f"--layers {layers}: a name that ends in .json is needed")
    if os.path.lexists(layers) and not force:
        raise SpecError(f"{layers} exists already: --force replaces it")


def _report(chip: Profile, network: "Network", notes: list[str]) -> HardwareReport:
    """The costs of a network, with what was assumed and what limits its settings."""
    report = chip.estimate(network.workload)
    return replace(report, assumed=network.assumed, warnings=(*report.warnings, *notes))


def _write_layers(network: "Network", path: Path | None) -> None:
    """Writes a network as a layer list, where one is asked for."""
    if path is not None:
        write_text(path, json.dumps(network.workload.to_json(), indent=1) + "\n")
        print_err(f"layer list: {path}")


def _likely(ensemble: Ensemble, workload: Workload, metric: str, bound: str) -> dict[str, Any]:
    """How likely a budget is kept, given the ranges of the profile's figures."""
    pick(dict.fromkeys(ensemble.metrics(workload)), metric, "hardware metric")
    if (at_most := parse_number(bound)) is None:
        raise SpecError(f"--budget {metric}={bound!r:.60}: a number is needed")
    try:
        check_range(metric, {"--budget": at_most})
    except ValueError as error:
        raise SpecError(str(error)) from None
    probability = ensemble.probability(workload, metric, at_most)
    return {"metric": metric, "at_most": at_most, "probability": probability}


def _print_likely(budgets: list[dict[str, Any]]) -> None:
    for budget in budgets:
        name, share = budget["metric"], percent(budget["probability"])
        bound = metric_limit(name, budget["at_most"])
        limit = f"{bound} {metric_unit(name)}".rstrip()
        print_out(f"{metric_label(name)} <= {limit}: kept by {share} of the chips")


def _print_metrics(report: HardwareReport, intervals: dict[str, tuple[float, float]]) -> None:
    rows = []
    for name, value in report.metrics().items():
        ends = intervals[name]
        between = "" if ends[0] == ends[1] else " .. ".join(metric_number(name, x) for x in ends)
        rows.append([metric_label(name), metric_number(name, value), between, metric_unit(name)])
    print_table(["metric", "estimate", f"{percent(LEVEL, 2)} interval", "unit"], rows)


def _areas(chip: Profile, workload: Workload) -> dict[str, float]:
    """Area in mm2 of the crossbars that a network uses, and of the whole tiles that hold them."""
    chips = {tiles: chip.with_values({"tiles": tiles}) for tiles in CHOICES["tiles"]}
    return {tiles: each.estimate(workload).area_m2.total * 1e6 for tiles, each in chips.items()}


def _print_areas(areas: dict[str, float]) -> None:
    used, whole = (metric_number("area_mm2", areas[tiles]) for tiles in ("used", "whole"))
    print_out(f"area: {used} mm2 of what is used, {whole} mm2 of whole tiles")


def _print_scaled(chip: Profile) -> None:
    """Says which figures of the chip were scaled, where any were."""
    if chip.scaled:
        print_out(
            f"{len(chip.scaled)} figures are scaled to another node or supply: --json says how"
        )


def _print_difference(a: Profile, b: Profile, network: "Network", as_json: bool) -> None:
    workload = network.workload
    changes = steps(a, b, workload)
    before, after = (chip.estimate(workload).metrics() for chip in (a, b))
    if as_json:
        documents = [vars(step) | {"defect": step.defect} for step in changes]
        return print_json(
            {"from": a.name, "to": b.name, "before": before, "after": after, "steps": documents}
            | {"assumed": [x.to_json() for x in network.assumed]}
        )
    rows = [("", a.name, ""), *((s.defect, s.key, _setting(s.after)) for s in changes)]
    rows.append(("", b.name, ""))
    costs = [_changes(before[m], [s.change[m] for s in changes], after[m]) for m in SHOWN]
    cells = ([*row, *values] for row, *values in zip(rows, *costs, strict=True))
    print_table(["", "setting", "now", *map(heading, SHOWN)], cells)
    print_out("Each step keeps the changes above it, and its effect depends on them.")
    print_assumed(network.assumed)


def _setting(value: float | str | bool) -> str:
    """The value of a setting as a profile would have it."""
    return str(value).lower() if isinstance(value, bool | str) else exact(value)


def _changes(before: float, changes: list[float], after: float) -> list[str]:
    """A cost before and after, and between them by how much each step changes it."""
    first, *steps_shown, last = column([before, *changes, after])
    signs = ["+" if change > 0 else "" for change in changes]
    shown = zip(changes, signs, steps_shown, strict=True)
    return [first, *(sign + text if change else "" for change, sign, text in shown), last]
