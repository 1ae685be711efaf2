"""The command about data: which sets are known, which of their files are here, and are right."""

from pathlib import Path
from typing import Any

import click
from pydantic import ValidationError
from rich.table import Table

from nas_service.cli.terminal import options, out, plain, print_json
from nas_service.errors import SpecError
from nas_service.study.spec import Data

ENCODINGS = {
    "direct": "one image, the same at every time step",
    "events": "one frame of counted events per time step",
}


@click.command()
@click.argument("name", required=False)
@options("data")
@click.option("--archive", metavar="PATH", help="A file or folder of another name below --data.")
@click.option("--size", type=int, help="Pixels a side, of an image_folder.")
@click.option("--classes", type=int, help="How many, of an image_folder.")
@click.option("--resize", is_flag=True, help="Crop and scale the pictures of an image_folder.")
@click.option("--read", is_flag=True, help="Read everything, so that the cache is ready.")
@click.option("--time-steps", type=click.IntRange(1, 64), default=4, show_default=True,
              help="Frames per recording of events, for --read.")  # fmt: skip
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
    """The data sets, or one NAME: what is here, whether it is official, where it is to be had."""
    from nas_service.data import source_of
    from nas_service.data.sets import image_folder

    if name is None:
        return _print_all(_all(data), as_json)
    if name == image_folder.NAME and archive and (size is None or classes is None):
        return _print_survey(image_folder.survey(data, _asked(name, archive=archive)), as_json)
    given = {"archive": archive, "size": size, "classes": classes, "resize": resize or None}
    asked = _asked(name, **{key: value for key, value in given.items() if value is not None})
    document = _described(source_of(asked), asked, data, time_steps if read else None)
    print_json(document) if as_json else _print_one(document)


def _asked(name: str, **given: Any) -> Data:
    try:
        return Data(name=name, **given)
    except ValidationError as error:
        fault = error.errors()[0]
        said = fault["msg"].removeprefix("Value error, ")
        raise SpecError(f"--{fault['loc'][0]}: {said}") from None


def _all(folder: Path) -> list[dict[str, Any]]:
    from nas_service.data import DATASETS

    return [
        {
            "name": name,
            **vars(source.task),
            "encoding": source.task.encoding,
            "here": all(_is_here(source, folder, part) for part in ("train", "test")),
            "home": source.home,
            "licence": source.licence,
        }
        for name, source in DATASETS.items()
    ]


def _is_here(source: Any, folder: Path, part: str) -> bool:
    from nas_service.data.dataset import Files

    return not isinstance(source, Files) or source.place(folder, part) is not None


def _print_all(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        return print_json(rows)
    table = Table("data set", "here", "sample", "classes", "encoding", "licence", box=None)
    table.columns[3].justify = "right"
    for row in rows:
        here = "[green]yes[/]" if row["here"] else "[dim]no[/]"
        cells = (_shape(row), str(row["classes"]), row["encoding"], row["licence"])
        table.add_row(row["name"], here, *cells)
    table.add_row("image_folder", "", "", "", "direct", "")
    out.print(table)
    out.print("\nnas data NAME: where the official files are to be had, and what they must be")
    out.print("nas data image_folder --archive PATH: any folder or archive of pictures")


def _shape(task: dict[str, Any]) -> str:
    return f"{task['channels']} x {task['size']} x {task['size']}"


def _described(source: Any, asked: Data, folder: Path, frames: int | None) -> dict[str, Any]:
    """What there is to say of a data set; `frames` reads it all, into the cache."""
    parts = {part: _part(source, folder, part, frames) for part in ("train", "test")}
    held_out = source.validation_samples
    return {
        "name": asked.name,
        **vars(source.task),
        "encoding": source.task.encoding,
        "validation_samples": held_out,
        "parts": parts,
        "home": source.home,
        "licence": source.licence,
        "published": dict(getattr(source, "published", {})),
        "folder": str(folder.resolve()),
    }


def _part(source: Any, folder: Path, part: str, frames: int | None) -> dict[str, Any] | None:
    """None where nothing of it is here; DataError where what is here is damaged."""
    from nas_service.data.dataset import Files

    reader = source.read_train if part == "train" else source.read_test
    if not isinstance(source, Files):
        return _counted(reader(folder, 1), source.task.classes) | {"files": []}
    if not _is_here(source, folder, part):
        return None
    files = [
        {
            "path": str(c.path.relative_to(folder)),
            "bytes": c.path.stat().st_size,
            "published": c.published,
        }
        for c in source.check(folder, part)
    ]
    where = {"place": str(source.find(folder, part).path), "files": files}
    if frames is not None:
        return where | _counted(reader(folder, frames), source.task.classes)
    return where | {"samples": source.samples(folder, part).count}


def _counted(images: Any, classes: int) -> dict[str, Any]:
    import numpy as np

    per_class = np.bincount(images.labels, minlength=classes)
    return {
        "samples": len(images),
        "shape": list(images.shape),
        "of_a_class": [int(per_class.min()), int(per_class.max())],
        "digest": images.digest,
    }


def _print_one(document: dict[str, Any]) -> None:
    encoding = document["encoding"]
    out.print(f"[bold]{document['name']}[/]: {_shape(document)}, {document['classes']} classes")
    out.print(f"{encoding}: {ENCODINGS[encoding]}\n")
    _print_parts(document["parts"])
    found = [file["path"] for part in document["parts"].values() if part for file in part["files"]]
    for place in dict.fromkeys(str(Path(document["folder"], path).parent) for path in found):
        out.print(f"in {plain(place)}", markup=False)
    if None in document["parts"].values():
        out.print(f"\nnot below {plain(document['folder'])}; the official files:", markup=False)
        _print_published(document["published"])
    out.print()
    if document["validation_samples"]:
        out.print(f"held out of train by default: {document['validation_samples']}")
    out.print(f"to be had at: {document['home']}", markup=False)
    out.print(f"licence: {document['licence']}", markup=False)


def _print_parts(parts: dict[str, Any]) -> None:
    table = Table("part", "samples", "a class", "file", "MiB", "hash", box=None)
    for column in (1, 2, 4):
        table.columns[column].justify = "right"
    for part, found in parts.items():
        if found is None:
            table.add_row(part, "[dim]missing[/]")
            continue
        least, most = found.get("of_a_class", ("", ""))
        spread = str(least) if least == most else f"{least}..{most}"
        shown = [_shown(file) for file in found["files"]] or [(found.get("place", ""), "", "")]
        table.add_row(part, str(found["samples"]), spread, *shown[0])
        for file in shown[1:]:
            table.add_row("", "", "", *file)
    out.print(table)


def _shown(file: dict[str, Any]) -> tuple[str, str, str]:
    kind = file["published"].partition(":")[0]
    right = f"[green]{kind} is right[/]" if kind else "[dim]not published[/]"
    return plain(Path(file["path"]).name), f"{file['bytes'] / 2**20:.1f}", right


def _print_published(published: dict[str, str]) -> None:
    """As sha256sum prints it, so that a file can be compared by hand."""
    for name, value in published.items():
        out.print(f"  {value.replace(':', ' ')}  {name}", markup=False)


def _print_survey(found: dict[str, Any], as_json: bool) -> None:
    if as_json:
        return print_json(found)
    count = len(found["classes"])
    names = ", ".join(found["classes"][:8]) + (", ..." if count > 8 else "")
    sizes = ", ".join(f"{w} x {h}" for w, h in found["sizes"])
    out.print(plain(found["archive"]), style="bold", markup=False)
    out.print(f"{count} classes: {plain(names)}", markup=False)
    out.print(f"{found['train']} train and {found['test']} test pictures")
    out.print(f"sizes of the first of each class: {sizes}\n")
    out.print("In a study:", style="bold")
    lines = ["[data]", 'name = "image_folder"', f'archive = "{found["archive"]}"']
    lines += [f"size = {min(found['sizes'][0])}", f"classes = {count}"]
    lines += [f"validation_samples = {found['train'] // 10}"]
    lines += ["resize = true"] if len(found["sizes"]) > 1 or len(set(found["sizes"][0])) > 1 else []
    out.print("\n".join(plain(line) for line in lines), markup=False)
