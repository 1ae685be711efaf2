"""The command that validates a study file."""

from pathlib import Path
from typing import Any

import click

from nas_service.cli.budgets import best_values, budgets_line
from nas_service.cli.common import STUDY_FILE, density_in, options
from nas_service.cli.terminal import print_aligned, print_err, print_json, print_out
from nas_service.evaluation.attainable import exact_attainable, prospects
from nas_service.evaluation.screening import Budgets
from nas_service.searches import creation
from nas_service.searches.chip_notes import chip_notes
from nas_service.spaces.input_density import InputDensity
from nas_service.study.loading import load_spec
from nas_service.study.spec import StudySpec
from nas_service.text import counted, number


@click.command()
@STUDY_FILE
@click.option(
    "--budgets",
    "costed",
    is_flag=True,
    help="Cost candidates of the space, to see what keeps all budgets.",
)
@options("measured_data", "json")
def check(study: Path, costed: bool, data: Path | None, as_json: bool) -> None:
    """Validate a study file.

    Beside each budget on parameters, memory or area the least of the space is shown. Nothing is
    trained, and no store is opened.
    """
    spec = load_spec(study)
    checked = creation.check(spec, str(study))
    density = density_in(spec, data)
    initial = creation.initial_trials_of(checked, density if data else None)
    notes = [*initial.notes, *chip_notes(spec)]
    if as_json:
        document = {"study": spec.name, "valid": True, "notes": notes}
        document |= {"input_density": density.to_json(), **_budgets(spec, costed, density)}
        return print_json(document | {"spec": spec.model_dump(mode="json")})
    for note in notes:
        print_err(f"note: {note}")
    size = spec.space.build().size
    trainings = spec.search.trainings
    print_out(f"{study}: valid; {number(float(size))} genotypes, {counted(trainings, 'training')}")
    print_aligned(best_values(spec))
    if costed and (line := budgets_line(spec, density)):
        print_out(line)
    elif data is not None:
        print_out(density.text)


def _budgets(spec: StudySpec, costed: bool, density: InputDensity) -> dict[str, Any]:
    if costed:
        return prospects(spec, density=density).to_json()
    return {"budgets": [x.to_json() for x in exact_attainable(Budgets.of(spec))]}
