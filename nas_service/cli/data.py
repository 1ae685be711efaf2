"""The command about data sets: which are known, which files are present, which are official."""

import json
from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError

from nas_service.cli.common import options
from nas_service.cli.number_types import WholeNumber
from nas_service.cli.terminal import print_err, print_json, print_out, print_table
from nas_service.errors import SpecError
from nas_service.study.faults import reason
from nas_service.study.sections import Data
from nas_service.text import number, quantity

ENCODINGS = {
    "direct": "one image, the same at every time step",
    "events": "one frame of counted events per time step",
}

MAX_SIDE = 1024  # largest size of an image that a study may state, in pixels


@click.command()
@click.argument("name", required=False)
@options("data")
@click.option("--archive", metavar="PATH", help="Read this file or folder below --data instead.")
@click.option(
    "--size", type=WholeNumber(1), help="Side of the images of an image_folder, in pixels."
)
@click.option(
    "--classes", type=WholeNumber(1), help="Number of classes that an image_folder must have."
)
@click.option("--resize", is_flag=True, help="Crop and scale the images of an image_folder.")
@click.option("--read", is_flag=True, help="Read all samples, which also fills the cache.")
@click.option(
    "--time-steps",
    type=WholeNumber(1, 64),
    default=4,
    show_default=True,
    help="With --read, number of frames that a recording of events is counted into.",
)
@options("json")
def data(
    name: str | None,
    data: Path,
    archive: str | None,
    size: int | None,
    classes: int | None,
    resize: bool,
    read: bool,
    time_steps: int,
    as_json: bool,
) -> None:
    """List the data sets and check their files.

    With a NAME: the files of this data set, whether they are the official ones, and where those
    are published.
    """
    from nas_service.data import source_of
    from nas_service.data.dataset import Files
    from nas_service.data.sets import image_folder

    if name is None:
        given = {"archive": archive, "size": size, "classes": classes, "resize": resize}
        if ignored := [key for key, value in {**given, "read": read}.items() if value]:
            raise SpecError(f"--{ignored[0]}: NAME, a data set, is needed; `nas data` lists them")
        return _print_all(_all(data), as_json)
    if name == image_folder.NAME and archive and (size is None or classes is None):
        survey = image_folder.survey(data, _data(name, archive=archive))
        if not (read or resize or size or classes):
            return _print_survey(survey, as_json)
        size, classes = size or _side(survey), classes or len(survey["classes"])
        resize = resize or _needs_resize(survey, size)
    settings = {"archive": archive, "size": size, "classes": classes, "resize": resize or None}
    section = _data(name, **{key: value for key, value in settings.items() if value is not None})
    source = source_of(section)
    if isinstance(source, Files):  # a missing file is no error unless it is named, or to be read
        for part in ("train", "test") if read else ("train",) if archive else ():
            source.find(data, part)
    document = _described(source, section, data, time_steps if read else None)
    print_json(document) if as_json else _print_one(document)


def _data(name: str, **settings: Any) -> Data:
    """The section `data` of a study with these settings."""
    try:
        return Data(name=name, **settings)
    except ValidationError as error:
        fault = error.errors()[0]
        raise SpecError(f"--{fault['loc'][0]}: {reason([fault])}") from None


def _all(folder: Path) -> list[dict[str, Any]]:
    from nas_service.data import DATASETS

    return [
        {
            "name": name,
            **vars(source.task),
            "encoding": source.task.encoding,
            "present": all(_is_present(source, folder, part) for part in ("train", "test")),
            "home": source.home,
            "licence": source.licence,
        }
        for name, source in DATASETS.items()
    ]


def _is_present(source: Any, folder: Path, part: str) -> bool:
    from nas_service.data.dataset import Files

    return not isinstance(source, Files) or source.location(folder, part) is not None


def _print_all(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        return print_json(rows)
    cells = [
        [row["name"], "yes" if row["present"] else "no", _shape(row), row["classes"],
         row["encoding"], row["licence"]]
        for row in rows
    ]  # fmt: skip
    headings = ("data set", "present", "sample", "classes", "encoding", "licence")
    print_table(headings, [*cells, ["image_folder", "", "", "-", "direct", ""]])
    print_out("\nnas data NAME: where the official files are published, and their hashes")
    print_out("nas data image_folder --archive PATH: any folder or archive of images")


def _shape(task: dict[str, Any]) -> str:
    return f"{task['channels']} x {task['size']} x {task['size']}"


def _described(source: Any, section: Data, folder: Path, frames: int | None) -> dict[str, Any]:
    """The document about one data set. With `frames`, all samples are read, into the cache."""
    parts = {part: _part(source, folder, part, frames) for part in ("train", "test")}
    held_out = (parts["train"] or {}).get("validation_part") or source.validation_samples
    notes = dict.fromkeys(note for part in parts.values() if part for note in part.pop("notes"))
    return {
        "name": section.name,
        **vars(source.task),
        "encoding": source.task.encoding,
        "validation_samples": held_out,
        "parts": parts,
        "notes": list(notes),
        "home": source.home,
        "licence": source.licence,
        "published": dict(getattr(source, "published", {})),
        "folder": str(folder.resolve()),
    }


def _part(source: Any, folder: Path, part: str, frames: int | None) -> dict[str, Any] | None:
    """The document about one part, or None if no file of it is present.

    Raises:
        DataError: A file is damaged, or not the official one.
    """
    from nas_service.data.dataset import Files

    reader = source.read_train if part == "train" else source.read_test
    if not isinstance(source, Files):
        return _counted(reader(folder, 1), source.task.classes) | {"files": []}
    if not _is_present(source, folder, part):
        return None
    files = [
        {
            "path": str(c.path.relative_to(folder)),
            "bytes": c.path.stat().st_size,
            "published": c.published,
        }
        for c in source.check(folder, part)
    ]
    place = {"place": str(source.find(folder, part).path), "files": files}
    if frames is not None:
        return place | _counted(reader(folder, frames), source.task.classes)
    samples = source.samples(folder, part)
    facts = {"validation_part": samples.validation_part, "notes": samples.notes.lines()}
    return place | {"samples": samples.count} | facts


def _counted(images: Any, classes: int) -> dict[str, Any]:
    import numpy as np

    per_class = np.bincount(images.labels, minlength=classes)
    return {
        "samples": len(images),
        "shape": list(images.shape),
        "of_a_class": [int(per_class.min()), int(per_class.max())],
        "digest": images.digest,
        "validation_part": images.validation_part,
        "notes": images.notes,
    }


def _print_one(document: dict[str, Any]) -> None:
    _print_notes(document)
    encoding = document["encoding"]
    print_out(f"{document['name']}: {_shape(document)}, {document['classes']} classes")
    print_out(f"{encoding}: {ENCODINGS[encoding]}\n")
    _print_parts(document["parts"])
    paths = [file["path"] for part in document["parts"].values() if part for file in part["files"]]
    for place in dict.fromkeys(str(Path(document["folder"], path).parent) for path in paths):
        print_out(f"in {place}")
    if None in document["parts"].values():
        print_out(f"\nmissing below {document['folder']}; the official files:")
        _print_published(document["published"])
    print_out()
    if document["validation_samples"]:
        print_out(f"validation samples held out of train: {document['validation_samples']}")
    print_out(f"published at: {document['home']}")
    print_out(f"licence: {document['licence']}")


def _print_notes(document: dict[str, Any]) -> None:
    for note in document["notes"]:
        print_err(f"note: {note}")


def _print_parts(parts: dict[str, Any]) -> None:
    rows: list[tuple[str, ...]] = []
    for name, part in parts.items():
        if part is None:
            rows.append((name, "missing", "", "", "", ""))
            continue
        least, most = part.get("of_a_class", ("", ""))
        spread = str(least) if least == most else f"{least}..{most}"
        files = [_file_cells(file) for file in part["files"]] or [(part.get("place", ""), "", "")]
        rows.append((name, number(part["samples"]), spread, *files[0]))
        rows += [("", "", "", *file) for file in files[1:]]
    headings = ("part", "samples", "per class", "file", "size", "hash")
    print_table(headings if any(row[3] for row in rows) else headings[:3], rows)


def _file_cells(file: dict[str, Any]) -> tuple[str, str, str]:
    kind = file["published"].partition(":")[0]
    verdict = f"{kind} matches" if kind else "not published"
    return Path(file["path"]).name, quantity(file["bytes"], "B"), verdict


def _print_published(published: dict[str, str]) -> None:
    """Prints hashes as sha256sum does, for comparison by hand."""
    for name, value in published.items():
        print_out(f"  {value.replace(':', ' ')}  {name}")


def _print_survey(survey: dict[str, Any], as_json: bool) -> None:
    from nas_service.data.file_names import shown

    if as_json:
        return print_json(survey)
    _print_notes(survey)
    count = len(survey["classes"])
    names = ", ".join(map(shown, survey["classes"][:8])) + (", ..." if count > 8 else "")
    sizes = ", ".join(f"{w} x {h}" for w, h in survey["sizes"])
    print_out(survey["archive"])
    print_out(f"{count} classes: {names}")
    parts = [f"{survey[part]} {part}" for part in ("train", "validation", "test") if survey[part]]
    print_out(f"images: {', '.join(parts)}")
    print_out(f"sizes of the first image of each class: {sizes}\n")
    print_out("In a study:")
    print_out("\n".join(line for line in _data_section(survey)))


def _data_section(survey: dict[str, Any]) -> list[str]:
    """Lines of a study file that use this folder of images."""
    side = _side(survey)
    archive = json.dumps(survey["archive"], ensure_ascii=False)  # which is TOML as well
    lines = ["[data]", 'name = "image_folder"', f"archive = {archive}"]
    lines += [f"size = {side}", f"classes = {len(survey['classes'])}"]
    lines += [f"validation_samples = {survey['validation_samples']}"]
    return lines + (["resize = true"] if _needs_resize(survey, side) else [])


def _side(survey: dict[str, Any]) -> int:
    """The suggested side of the images, in pixels: that of the smallest one."""
    smallest: int = min(min(size) for size in survey["sizes"])
    return min(smallest, MAX_SIDE)


def _needs_resize(survey: dict[str, Any], side: int) -> bool:
    return set(survey["sizes"]) != {(side, side)}
