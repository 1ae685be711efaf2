"""A folder of images, or a zip or tar archive of one, with a folder for each class.

`train/<class>/...` and `test/<class>/...`, and where there is one `val/<class>/...`. Without such
folders the classes are at the top, and the last fifth of each class, by name, is the test part.
"""

from pathlib import Path
from typing import Any

from nas_service.data.archive import FileTree
from nas_service.data.cache import Samples
from nas_service.data.dataset import Files, Location
from nas_service.data.folder_layout import ByClass, FolderLayout, layout_of
from nas_service.data.image_files import DECODER, LabelledFile, samples, size_of
from nas_service.errors import DataError
from nas_service.spaces.task import Task
from nas_service.study.sections import Data

NAME = "image_folder"
VALIDATION_SHARE = 10  # one training image in ten is suggested for validation


def source(archive: str, size: int, classes: int, channels: int, resize: bool) -> Files:
    """The data set of a folder of images.

    Args:
        archive: The folder or archive, below the folder of data sets.
        size: Pixels on a side of the images.
        classes: Number of classes.
        channels: 1 for grey images, 3 for RGB.
        resize: Crop and scale images of another size.

    Returns:
        The data set.
    """

    def read(tree: FileTree, part: str, task: Task, frames: int) -> Samples:
        return _samples(layout_of(tree), part, task, resize)

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
        named=lambda tree: layout_of(tree).classes,
    )


def _samples(layout: FolderLayout, part: str, task: Task, resize: bool) -> Samples:
    """The images of a part; those of the validation part follow those to train with."""
    if len(layout.classes) != task.classes:
        raise DataError(
            f"{layout.tree.where()}: {len(layout.classes)} folders of classes, data.classes = "
            f"{task.classes}"
        )
    if part == "test":
        layout.demand_test()
    held_out = [] if part == "test" else _labelled(layout, layout.validation)
    named = _labelled(layout, layout.test if part == "test" else layout.train) + held_out
    return samples(layout.tree, named, task, resize, layout.notes, len(held_out))


def _labelled(layout: FolderLayout, by_class: ByClass) -> list[LabelledFile]:
    labels = {name: label for label, name in enumerate(layout.classes)}
    return [LabelledFile(n, labels[label]) for label, names in by_class.items() for n in names]


def survey(folder: Path, data: Data) -> dict[str, Any]:
    """The facts about a folder of images that a study must state.

    Args:
        folder: The folder of data sets.
        data: The section `[data]` of a study, with its `archive`.

    Returns:
        A document: archive, classes (names), sizes (width and height of the first image of each
        class), train, validation and test (numbers of images), validation_samples (what a study
        may say), notes.

    Raises:
        DataError: There are no images, too few of them, or they are damaged.
    """
    assert data.archive is not None  # noqa: S101  checked by the caller
    layout = layout_of(source(data.archive, 1, 1, 3, resize=True).tree(folder, "train"))
    _demand_enough(layout)
    first = [names[0] for names in layout.train.values()]
    opened = layout.tree.read(first)
    sizes = {size_of(content, layout.tree.where(name)) for name, content in opened}
    parts = {"train": layout.train, "validation": layout.validation, "test": layout.test}
    counts = {part: sum(map(len, by_class.values())) for part, by_class in parts.items()}
    document = {"archive": data.archive, "classes": layout.classes, "sizes": sorted(sizes)}
    held_out = counts["validation"] or max(counts["train"] // VALIDATION_SHARE, len(first))
    notes = list(layout.notes.lines())
    return document | counts | {"validation_samples": held_out, "notes": notes}


def _demand_enough(layout: FolderLayout) -> None:
    """DataError where a study could not train, validate and test with these images."""
    layout.demand_test()
    least, label = min((len(names), label) for label, names in layout.train.items())
    if len(layout.classes) < 2:
        raise DataError(
            f"{layout.tree.where()}: one class, {label!r:.90}; a folder for each of at least two "
            "classes is needed"
        )
    if least < 2 and not layout.validation:
        raise DataError(
            f"{layout.tree.where()}: class {label!r:.90} has {least} image to train with, at least "
            "2 are needed: one is held out for validation"
        )
