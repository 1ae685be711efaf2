"""Commands about chips: candidates within budgets counted, a chip fitted to measurements."""

import json
import os
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import click

from hw_models import WorkloadError, load_profile
from hw_models.profile_file import DEFAULT
from nas_service.cli.common import FILE, STUDY_FILE, density_in, options, read_checked
from nas_service.cli.network_options import STUDY, network_options
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import print_err, print_json, print_out, print_table
from nas_service.errors import NothingFitted, SpecError
from nas_service.study.rejection import MEMORY
from nas_service.text import (
    metric_label,
    metric_number,
    metric_unit,
    number,
    percent,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from hw_models.calibration.fit import Calibration, Residual
    from hw_models.calibration.measurements import Measurement
    from hw_models.network import Network
    from nas_service.evaluation.census import Census
    from nas_service.importers.network_file import Given
    from nas_service.spaces.architecture import Architecture
    from nas_service.study.spec import StudySpec

QUANTILES = ("10 % quantile", "median", "90 % quantile")
PROFILE = click.option(
    "--profile", default=DEFAULT, show_default=True, help="Name of a chip profile, or a TOML file."
)
SET = click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a setting of the profile; may be repeated.",
)


def assignment(text: str, option: str) -> tuple[str, str]:
    """Key and value of an option KEY=VALUE; SpecError for other text."""
    key, _, value = (part.strip() for part in text.partition("="))
    if "=" not in text or not key:
        raise SpecError(f"{option} {text!r:.60}: KEY=VALUE is needed")
    return key, value


def settings_of(changes: "Iterable[str]") -> dict[str, str]:
    """The settings that `--set` gives, by their keys.

    Args:
        changes: What was given, KEY=VALUE for each key.

    Returns:
        key -> value as text.

    Raises:
        SpecError: Another text, or two values for one key, of which one would be ignored.
    """
    return assignments(changes, "--set")


def assignments(texts: "Iterable[str]", option: str) -> dict[str, str]:
    """Keys and values of an option KEY=VALUE that may be given several times.

    Args:
        texts: What was given.
        option: Name of the option, for errors.

    Returns:
        key -> value as text.

    Raises:
        SpecError: Another text, or two values for one key, of which one would be ignored.
    """
    values: dict[str, str] = {}
    for key, value in (assignment(text, option) for text in texts):
        if key in values:
            raise SpecError(f"{option} {key}: {values[key]} and {value}, one of them is needed")
        values[key] = value
    return values


@click.command()
@STUDY_FILE
@click.option(
    "--limit",
    type=WholeNumber(1, 10**8),
    default=100_000,
    show_default=True,
    help="Count all candidates of a space of up to this size; of a larger one, a random sample "
    "of this size.",
)
@click.option(
    "--seed",
    type=WholeNumber(0),
    default=0,
    show_default=True,
    help="Draw the sample of a large space with this seed.",
)
@click.option(
    "--list",
    "listed",
    type=WholeNumber(1),
    metavar="N",
    help="Count nothing: print N architectures that keep all budgets.",
)
@options("measured_data", "json")
def census(
    study: Path, limit: int, seed: int, listed: int | None, data: Path | None, as_json: bool
) -> None:
    """Count the candidates within the budgets.

    Each candidate of a study's space is costed, none is trained.
    """
    from nas_service.evaluation import census as counting

    spec = read_checked(study)
    density = density_in(spec, data)
    if listed is not None:
        kept = counting.feasible(spec, limit, seed, density)
        return _print_feasible(islice(kept, listed), listed, limit)
    count = counting.census(spec, limit, seed, density)
    if as_json:
        facts = {"study": spec.name, "seed": seed, "input_density": density.to_json()}
        return print_json(facts | {"assumed_rate": spec.hardware.assumed_rate} | count.to_json())
    _print_census(spec, count)
    print_out(density.text)


def _print_feasible(feasible: "Iterator[Architecture]", wanted: int, limit: int) -> None:
    """One architecture a line, and a note where there are fewer than wanted."""
    count = 0
    for architecture in feasible:
        print(json.dumps(architecture.to_json()), flush=True)
        count += 1
    if count < wanted:
        print_err(
            f"note: {count} of {wanted} architectures: no other candidate keeps all budgets; a "
            f"space of more than {limit} candidates is sampled (--limit)"
        )


def _print_census(spec: "StudySpec", count: "Census") -> None:
    kind = "candidates, which are all" if count.exhaustive else "candidates chosen at random"
    rate = spec.hardware.assumed_rate
    print_out(f"{spec.name}: {count.candidates:,} {kind}, at spike rate {percent(rate)}")
    nothing = ("",) * len(QUANTILES)
    rows = [("a path from input to output", percent(count.connected), *nothing, "")]
    for name, share in count.within.items():
        metric = name.removesuffix("_min")
        values = (metric_number(metric, x) for x in count.quantiles[metric])
        label, unit = metric_label(metric), metric_unit(metric)
        if metric == MEMORY:
            label, unit = "memory of a training", "GiB"
        rows.append((label, percent(share), *values, unit))
    rows.append(("everything", percent(count.feasible), *nothing, ""))
    print_table(["candidates with", "share", *QUANTILES, "unit"], rows)
    if count.survivors is not None:
        part = percent(count.survivors / spec.build_space().size)
        counted = " and ".join(map(metric_label, count.counted))
        print_out(
            f"{counted}: kept by exactly {count.survivors:,} candidates of the space ({part})"
        )


@click.command()
@click.argument("measurements", type=FILE)
@PROFILE
@click.option(
    "--fit", "keys", multiple=True, metavar="KEY", help="Fit this figure only; may be repeated."
)
@SET
@STUDY
@network_options
@click.option(
    "-o", "output", type=FILE, required=True, help="Write the new chip profile to this TOML file."
)
@click.option("--force", is_flag=True, help="Replace the file of -o if it exists.")
@options("measured_data", "json")
def calibrate(
    measurements: Path,
    profile: str,
    keys: tuple[str, ...],
    changes: tuple[str, ...],
    study: Path | None,
    given: "Given",
    output: Path,
    force: bool,
    data: Path | None,
    as_json: bool,
) -> None:
    """Fit a chip profile to measurements.

    MEASUREMENTS is a CSV file whose column `workload` names layer lists, or other files that `nas
    cost` reads. The new profile holds the fitted figures, and the residuals. Where the measurements
    determine no figure, no profile is written, and the exit code is 6.
    """
    from hw_models.calibration.fit import fit
    from hw_models.calibration.measurements import read_measurements
    from hw_models.calibration.profile_writer import write_profile

    if os.path.lexists(output) and not force:
        raise SpecError(f"{output} exists already: --force replaces it")
    chip = load_profile(profile).with_values(settings_of(changes))
    measured = read_measurements(measurements, _reader(given, study, data))
    calibration = fit(chip, measured, keys)
    if calibration.improved:
        write_profile(calibration, measurements, output)
    if as_json:
        assumed = {m.name: [x.to_json() for x in m.assumed] for m in measured if m.assumed}
        print_json(calibration.to_json() | {"assumed": assumed})
    else:
        _print_calibration(calibration)
        _print_assumed(measured)
    for residual in calibration.contradicting:
        print_err(f"note: {_contradiction(residual)}")
    for metric, error in calibration.unmoved.items() if calibration.improved else ():
        note = f"{metric} determines no figure, it remains {percent(error, 2)} off: check its unit"
        print_err(f"note: {note}, or measure more")
    if not calibration.improved:
        raise NothingFitted(
            f"nothing was fitted, and {output} was not written: the measurements determine no "
            f"figure, they are {percent(calibration.error, 2)} off the profile. Check their units, "
            "measure more, or name fewer figures by --fit"
        )
    if not as_json:
        print_out(f"profile: {output}")


def _contradiction(r: "Residual") -> str:
    predicted = r.measured * (1 + r.after)
    text = f"measurement {r.name} contradicts the others: {r.metric} = {number(r.measured, 4)}"
    return f"{text}, {number(predicted, 4)} by the fit of the others"


def _reader(given: "Given", study: Path | None, data: Path | None) -> "Callable[[Path], Network]":
    """Reads the network of a measurement."""
    from nas_service.importers.network_file import read_network

    spec = None if study is None else read_checked(study)
    density = density_in(spec, data)

    def read(path: Path) -> "Network":
        try:
            return read_network(path, given, spec, density)
        except SpecError as error:  # the row is named by what reads the measurements
            raise WorkloadError(str(error)) from None

    return read


def _print_assumed(measured: "Iterable[Measurement]") -> None:
    """Prints the figures that neither networks nor measurements say, each once."""
    names: dict[str, list[str]] = {}
    for m in measured:
        for assumption in m.assumed:
            names.setdefault(assumption.text, []).append(m.name)
    for text, where in names.items():
        rest = f" and {len(where) - 1} more" if len(where) > 1 else ""
        print_out(f"assumed: {text}, for {where[0]}{rest}")


def _print_calibration(calibration: "Calibration") -> None:
    rows = []
    for c in calibration.figures:
        low, high = (number(x, 4) for x in (c.low, c.high))
        interval = f"{low} .. {high}" if c.identified else "not determined by the data"
        rows.append([c.key, number(c.before, 4), number(c.after, 4), interval])
    print_table(["figure", "before", "after", "90 % interval"], rows)
    print_out()
    residuals = []
    for r in calibration.residuals:
        shares = (r.before, r.after, r.left_out)
        errors = ("-" if share is None else f"{100 * share:+.1f}" for share in shares)
        note = "contradicts" if r.contradicts else "" if r.fitted else "not fitted"
        residuals.append([r.name, r.metric, number(r.measured, 4), *errors, note])
    off = ("before\n%", "after\n%", "left out\n%")
    print_out(
        "how far the costs are off, before and after the fit, and where one is left out of it:"
    )
    print_table(["measurement", "metric", "measured", *off, ""], residuals)
