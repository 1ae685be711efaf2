"""The command that writes a first study file."""

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from nas_service.cli.terminal import print_err, print_out
from nas_service.errors import NasError, SpecError
from nas_service.study.fields import study_name

if TYPE_CHECKING:
    from nas_service.searches.first_study import FirstStudy

KINDS = ("digits", "pictures", "events")


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
@click.option(
    "--data",
    "kind",
    type=click.Choice(KINDS),
    help="What the study is about: handwritten digits, which need no files; your own pictures; or "
    "recordings of an event camera.",
)
@click.option(
    "--path",
    type=click.Path(path_type=Path),
    help="Folder or archive of the pictures, or of the event camera's set.",
)
@click.option("--name", help="Name of the study and of its file; by default that of the data.")
def init(folder: Path, kind: str | None, path: Path | None, name: str | None) -> None:
    """Write a commented study file to start from.

    It is written into FOLDER, by default the present one. Without --data a terminal is asked;
    elsewhere the study is that of the digits. No file is overwritten.
    """
    asked = kind is None and _is_terminal()
    if name is not None:
        study_name(name)
    if kind is None:
        kind = _ask(path) if asked else "digits" if path is None else "pictures"
    if kind == "pictures" and path is None:
        if not asked:
            raise SpecError("--data pictures: --path, their folder or archive, is needed")
        path = Path(_prompt("Folder or archive with a folder for each class"))
    if kind == "digits" and path is not None:
        raise SpecError(f"--path {str(path)!r:.90}: the digits need no files")
    _write(folder, kind, path, name)


def _is_terminal() -> bool:
    return sys.stdin.isatty()


def _ask(path: Path | None) -> str:
    if path is not None:
        return _prompt("Data of --path", KINDS[1:])
    return _prompt("Data: handwritten digits, your own pictures, or events of a camera", KINDS)


def _prompt(text: str, choices: tuple[str, ...] = ()) -> str:
    kind = click.Choice(choices) if choices else None
    try:
        answer: str = click.prompt(
            text, type=kind, default=choices[0] if choices else None, err=True
        )
    except click.Abort:
        raise NasError("no answer: nothing is written") from None
    return answer


def _write(folder: Path, kind: str, path: Path | None, name: str | None) -> None:
    from nas_service.searches import first_study  # loads torch

    data_folder = Path(os.environ.get("NAS_DATA") or "data")
    if kind == "digits":
        study = first_study.digits(name or kind, folder)
    elif kind == "events":
        study = first_study.events(name or "", folder, path, data_folder)
    else:
        assert path is not None  # noqa: S101  asked for above
        study = first_study.pictures(name or first_study.name_for(path), folder, path, data_folder)
    first_study.write(study)
    for note in study.notes:
        print_err(f"note: {note}")
    _print_next(study)


def _print_next(study: "FirstStudy") -> None:
    file = study.file
    print_out(f"{file}: a study to start from; read it, and change what you need")
    data = [] if study.data_folder is None else ["--data", str(study.data_folder)]
    for words in (["check", str(file)], ["run", str(file), *data]):
        print_out(f"  {shlex.join(['nas', *words])}")
