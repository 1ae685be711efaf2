"""A folder of images, or a zip or tar archive of one, with a folder for each class.

`train/<class>/...` and `test/<class>/...` (or `val/`, `valid/`). Without `train/` the folders of
classes are at the top, and the last fifth of each class, by name, is the test part.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nas_service.data.archive import FileTree
from nas_service.data.cache import Samples
from nas_service.data.dataset import Files, Location
from nas_service.data.image_files import DECODER, LabelledFile, is_image, samples, size_of
from nas_service.errors import DataError
from nas_service.spaces.task import Task
from nas_service.study.sections import Data

NAME = "image_folder"
TEST_FOLDERS = ("test", "val", "valid")
TEST_SHARE = 5  # one image in five is a test image, where the folder has no test part


def source(archive: str, size: int, classes: int, channels: int, resize: bool) -> Files:
    """The data set of a folder of images.

    Args:
        archive: The folder or archive, below the folder of data sets.
        size: Pixels on a side of the images.
        classes: Number of classes.
        channels: 1 for grey images, 3 for RGB.
        resize: Crop and scale images of another size.
    """

    def read(tree: FileTree, part: str, task: Task, frames: int) -> Samples:
        return samples(tree, named(tree, part, task.classes), task, resize)

    return Files(
        name=NAME,
        task=Task(channels, size, classes),
        validation_samples=0,
        home="your own images",
        licence="that of the images",
        locations=(Location(archive),),
        uses=dict.fromkeys(("train", "test"), ("",)),
        read=read,
        published={},
        decoder=f"{DECODER} resize={resize}",
    )


def survey(folder: Path, data: Data) -> dict[str, Any]:
    """The facts about a folder of images that a study must state.

    Args:
        folder: The folder of data sets.
        data: The section `[data]` of a study, with its `archive`.

    Returns:
        A document: archive, classes (names), sizes (width and height of the first image of each
        class), train and test (numbers of images).

    Raises:
        DataError: There are no images, or they are damaged.
    """
    assert data.archive is not None  # noqa: S101  checked by the caller
    tree = source(data.archive, 1, 1, 3, resize=True).tree(folder, "train")
    classes = sorted(_train_classes([n for n in tree.names(("",)) if is_image(n)]))
    parts = {part: named(tree, part, len(classes)) for part in ("train", "test")}
    first = {image.label: image.name for image in reversed(parts["train"])}
    opened = tree.read(list(first.values()))
    sizes = {size_of(content, f"{tree.path}: {name}") for name, content in opened}
    counts = {part: len(images) for part, images in parts.items()}
    return {"archive": data.archive, "classes": classes, "sizes": sorted(sizes), **counts}


def _train_classes(images: list[str]) -> Iterable[str]:
    return _by_class(images, "train") or _by_class(images, "")


def natural(name: str) -> list[Any]:
    """A key that sorts numbers in names by their value: 10 after 9."""
    return [int(x) if x.isdigit() else x for x in re.split(r"(\d+)", name)]


def named(tree: FileTree, part: str, classes: int) -> list[LabelledFile]:
    """The images of a part; classes are numbered in the order of their names.

    Args:
        tree: The folder.
        part: `train` or `test`.
        classes: The number of classes, as the study states it.

    Raises:
        DataError: There are other classes, or no test part beside the training part.
    """
    images = [name for name in tree.names(("",)) if is_image(name)]
    tops = {name.split("/")[0] for name in images}
    if "train" not in tops:
        return _share_of_each_class(tree, images, part, classes)
    labels = _labels(tree, _by_class(images, "train"), classes)
    folder = part if part == "train" else next((top for top in TEST_FOLDERS if top in tops), "")
    if not folder:
        raise DataError(f"{tree.path}: no {', '.join(TEST_FOLDERS)} folder beside train")
    by_class = _by_class(images, folder)
    if foreign := sorted(by_class.keys() - labels.keys()):
        raise DataError(f"{tree.path}: {folder}/{foreign[0]} is no class of train")
    return [
        LabelledFile(name, labels[label])
        for label in sorted(by_class)
        for name in sorted(by_class[label], key=natural)
    ]


def _share_of_each_class(
    tree: FileTree, images: list[str], part: str, classes: int
) -> list[LabelledFile]:
    """The training images, or the last fifth of each class, of a folder without parts."""
    by_class = _by_class(images, "")
    labels = _labels(tree, by_class, classes)
    chosen: list[LabelledFile] = []
    for label in sorted(by_class):
        ordered = sorted(by_class[label], key=natural)
        last = len(ordered) - len(ordered) // TEST_SHARE
        names = ordered[:last] if part == "train" else ordered[last:]
        chosen += [LabelledFile(name, labels[label]) for name in names]
    return chosen


def _by_class(images: Iterable[str], folder: str) -> dict[str, list[str]]:
    """Images below `folder`, by the name of the folder of their class."""
    start = f"{folder}/" if folder else ""
    by_class: dict[str, list[str]] = defaultdict(list)
    for name in images:
        if name.startswith(start):
            label, slash, _ = name[len(start) :].partition("/")
            if slash:
                by_class[label].append(name)
    return dict(by_class)


def _labels(tree: FileTree, by_class: dict[str, list[str]], classes: int) -> dict[str, int]:
    """The number of each class; DataError where the study states another number of classes."""
    if len(by_class) != classes:
        raise DataError(
            f"{tree.path}: {len(by_class)} folders of classes, data.classes = {classes}"
        )
    return {name: label for label, name in enumerate(sorted(by_class))}
