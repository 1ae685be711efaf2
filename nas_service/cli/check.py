"""The command that validates a study file."""

from pathlib import Path

import click

from nas_service.cli.common import STUDY_FILE, options
from nas_service.cli.terminal import err, out, plain, print_json
from nas_service.searches import creation
from nas_service.searches.chip_notes import chip_notes
from nas_service.study.loading import load_spec


@click.command()
@STUDY_FILE
@options("json")
def check(study: Path, as_json: bool) -> None:
    """Validate a study file.

    Nothing is trained, and no store is opened.
    """
    spec = load_spec(study)
    notes = [*creation.check(spec, str(study)).initial.notes, *chip_notes(spec)]
    if as_json:
        document = {"study": spec.name, "valid": True, "notes": notes}
        return print_json(document | {"spec": spec.model_dump(mode="json")})
    for note in notes:
        err.print(f"note: {plain(note)}", markup=False)
    size = spec.space.build().size
    trainings = spec.search.trainings
    out.print(f"{study}: valid; {size:.3g} genotypes, {trainings} trainings", markup=False)
