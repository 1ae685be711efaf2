"""TinyImageNet-200: 500 training and 50 validation images of 64x64 in each of 200 classes.

Its test images have no labels, so its validation images are the test part, and the validation
images of a search are held out of the training images. Source: Stanford CS231n.
"""

from typing import NamedTuple

from nas_service.data.archive import FileTree, actual_names, text_of
from nas_service.data.cache import Samples
from nas_service.data.dataset import Files, Location
from nas_service.data.file_names import lower_suffix, natural
from nas_service.data.image_files import DECODER, LabelledFile, is_image, samples
from nas_service.errors import DataError
from nas_service.spaces.task import Task

ANNOTATIONS = "val/val_annotations.txt"  # name, class and box of each validation image


def read(tree: FileTree, part: str, task: Task, frames: int) -> Samples:
    """The images of a part; classes are numbered in the order of their WordNet ids.

    Args:
        tree: The files.
        part: "train" or "test".
        task: The channels, size and classes of the data set.
        frames: Does not matter: an image has one.

    Returns:
        The samples, read when the chunks are.

    Raises:
        DataError: The lists of classes are missing or do not fit the images; the chunks raise it
            for damaged images.
    """
    wnids = sorted(_text(tree, "wnids.txt").split())
    if len(set(wnids)) != task.classes:
        raise DataError(
            f"{tree.where()}: wnids.txt has {len(set(wnids))} classes, not {task.classes}"
        )
    labels = {wnid: label for label, wnid in enumerate(wnids)}
    named = (_train if part == "train" else _annotated)(tree, labels)
    return samples(tree, named, task, resize=False)


def _text(tree: FileTree, name: str) -> str:
    name, content = next(tree.read(actual_names(tree, [name])))
    return text_of(content, tree.where(name))


def _train(tree: FileTree, labels: dict[str, int]) -> list[LabelledFile]:
    names = sorted((n for n in tree.names(("train",)) if is_image(n)), key=natural)
    return [LabelledFile(name, _label(tree, labels, name.split("/")[1], name)) for name in names]


def _annotated(tree: FileTree, labels: dict[str, int]) -> list[LabelledFile]:
    classes = _annotations(tree)
    names = {lower_suffix(n): n for n in tree.names(("val/images",)) if is_image(n)}
    if differ := sorted(names.keys() ^ classes.keys()):
        name = names.get(differ[0]) or classes[differ[0]].name
        raise DataError(f"{tree.where()}: {name} is only in one of val/images and {ANNOTATIONS}")
    return [
        LabelledFile(names[n], _label(tree, labels, classes[n].wnid, names[n]))
        for n in sorted(classes, key=natural)
    ]


class Annotation(NamedTuple):
    """A validation image as the list names it, and its class."""

    name: str
    wnid: str


def _annotations(tree: FileTree) -> dict[str, Annotation]:
    """The annotation of each validation image, by its name with the suffix in lower case."""
    classes: dict[str, Annotation] = {}
    for number, line in enumerate(_text(tree, ANNOTATIONS).split("\n"), 1):
        if line.strip():
            name, tab, rest = line.partition("\t")
            where, key = f"{tree.where(ANNOTATIONS)}: line", lower_suffix(f"val/images/{name}")
            if not tab:
                raise DataError(f"{where} {number} has no class: a name, a tab, a class are needed")
            if key in classes:
                raise DataError(f"{where} {number}: {name!r:.90} is listed twice")
            classes[key] = Annotation(f"val/images/{name}", rest.partition("\t")[0].strip())
    return classes


def _label(tree: FileTree, labels: dict[str, int], wnid: str, name: str) -> int:
    if wnid not in labels:
        raise DataError(f"{tree.where(name)}: class {wnid!r:.30} is not in wnids.txt")
    return labels[wnid]


ROOT = "tiny-imagenet-200"
SOURCE = Files(
    name="tiny_imagenet_200",
    task=Task(3, 64, 200),
    validation_samples=10000,
    home="http://cs231n.stanford.edu/tiny-imagenet-200.zip",
    licence="ImageNet's terms: research only, not to be passed on",
    locations=(Location(ROOT), Location(f"{ROOT}.zip", ROOT)),
    uses={"train": ("wnids.txt", "train"), "test": ("wnids.txt", "val")},
    read=read,
    published={
        f"{ROOT}.zip": "sha256:6198c8ae015e2b3e007c7841da39ec069199b9aa3bfa943a462022fe5e43c821"
    },
    decoder=DECODER,
    named=lambda tree: sorted(_text(tree, "wnids.txt").split()),
)
