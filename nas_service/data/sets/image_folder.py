"""Any folder of pictures, or a zip or tar archive of one, with a folder for each class.

`train/<class>/...` and `test/<class>/...` (or `val/`, `valid/`); where there is no `train/`, the
classes lie at the top and the last fifth of each, by name, is the test part.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nas_service.data.archive import FileTree
from nas_service.data.cache import Samples
from nas_service.data.dataset import Files, Location
from nas_service.data.image_files import DECODER, LabelledFile, is_picture, samples, size_of
from nas_service.errors import DataError
from nas_service.spaces.task import Task
from nas_service.study.sections import Data

NAME = "image_folder"
TEST = ("test", "val", "valid")
TEST_SHARE = 5  # one in so many, where the folder has no test part


def source(archive: str, size: int, classes: int, channels: int, resize: bool) -> Files:
    def read(tree: FileTree, part: str, task: Task, frames: int) -> Samples:
        return samples(tree, named(tree, part, task.classes), task, resize)

    return Files(
        name=NAME,
        task=Task(channels, size, classes),
        validation_samples=0,
        home="your own pictures",
        licence="theirs",
        places=(Location(archive),),
        uses=dict.fromkeys(("train", "test"), ("",)),
        read=read,
        published={},
        decoder=f"{DECODER} resize={resize}",
    )


def survey(folder: Path, asked: Data) -> dict[str, Any]:
    """What a study must say of a folder of pictures: its classes, and how large they are."""
    assert asked.archive is not None  # noqa: S101  demanded by the caller
    whole = source(asked.archive, 1, 1, 3, resize=True)
    tree = whole.tree(folder, "train")
    classes = sorted(_train_classes([n for n in tree.names(("",)) if is_picture(n)]))
    parts = {part: named(tree, part, len(classes)) for part in ("train", "test")}
    first = {picture.label: picture.name for picture in reversed(parts["train"])}
    opened = tree.read(list(first.values()))
    sizes = {size_of(content, f"{tree.path}: {name}") for name, content in opened}
    counts = {part: len(found) for part, found in parts.items()}
    return {"archive": asked.archive, "classes": classes, "sizes": sorted(sizes), **counts}


def _train_classes(pictures: list[str]) -> Iterable[str]:
    inside = _by_class(pictures, "train")
    return inside or _by_class(pictures, "")


def natural(name: str) -> list[Any]:
    """A sorting key by which 10 comes after 9."""
    return [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", name)]


def named(tree: FileTree, part: str, classes: int) -> list[LabelledFile]:
    """Pictures of a part with the place of their class among the sorted names of classes."""
    pictures = [name for name in tree.names(("",)) if is_picture(name)]
    tops = {name.split("/")[0] for name in pictures}
    if "train" not in tops:
        return _of_whole(tree, pictures, part, classes)
    labels = _labels(tree, _by_class(pictures, "train"), classes)
    folder = part if part == "train" else next((top for top in TEST if top in tops), "")
    if not folder:
        raise DataError(f"{tree.path}: no {', '.join(TEST)} folder beside train")
    found = _by_class(pictures, folder)
    if foreign := sorted(found.keys() - labels.keys()):
        raise DataError(f"{tree.path}: {folder}/{foreign[0]} is no class of train")
    return [
        LabelledFile(name, labels[c])
        for c in sorted(found)
        for name in sorted(found[c], key=natural)
    ]


def _of_whole(tree: FileTree, pictures: list[str], part: str, classes: int) -> list[LabelledFile]:
    found = _by_class(pictures, "")
    labels = _labels(tree, found, classes)
    chosen: list[LabelledFile] = []
    for name in sorted(found):
        ordered = sorted(found[name], key=natural)
        held = len(ordered) // TEST_SHARE
        those = (
            ordered[: len(ordered) - held] if part == "train" else ordered[len(ordered) - held :]
        )
        chosen += [LabelledFile(picture, labels[name]) for picture in those]
    return chosen


def _by_class(pictures: Iterable[str], folder: str) -> dict[str, list[str]]:
    """Pictures below `folder`, by the name of the folder that follows."""
    start = f"{folder}/" if folder else ""
    found: dict[str, list[str]] = defaultdict(list)
    for name in pictures:
        if name.startswith(start):
            label, slash, _ = name[len(start) :].partition("/")
            if slash:
                found[label].append(name)
    return dict(found)


def _labels(tree: FileTree, found: dict[str, list[str]], classes: int) -> dict[str, int]:
    if len(found) != classes:
        raise DataError(f"{tree.path}: {len(found)} folders of classes, data.classes = {classes}")
    return {name: label for label, name in enumerate(sorted(found))}
