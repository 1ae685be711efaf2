"""Folders of images: which folders are the parts of a data set, and which are classes."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from nas_service.data.archive import FileTree
from nas_service.data.file_names import class_name, natural, shown
from nas_service.data.image_files import ENDINGS, is_image
from nas_service.data.notes import Note, Notes, counted
from nas_service.errors import DataError, did_you_mean

PARTS = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}
"""What a folder is a part of, by its name in lower case."""
TEST_SHARE = 5  # one image in five is a test image, where the folder has no parts
WRAPPERS = 8  # single folders around the folder of images, at most
ByClass = dict[str, list[str]]  # the names of images by their class, in natural order


@dataclass(frozen=True, eq=False)
class FolderLayout:
    """The images of a folder by part and class, and how the folder was read."""

    tree: FileTree  # the names of images are relative to it
    train: ByClass
    validation: ByClass = field(default_factory=dict)  # empty where the folder has no such part
    test: ByClass = field(default_factory=dict)
    notes: Notes = field(default_factory=Notes)

    @property
    def classes(self) -> list[str]:
        """The names of the classes; their positions are their numbers."""
        return sorted(self.train)

    def demand_test(self) -> None:
        """Raises DataError where there is no test image, with what would be right."""
        if not self.test:
            raise DataError(
                f"{self.tree.where()}: no image for the test part: add a folder test, beside "
                f"train, or {TEST_SHARE} images to a class where the folder has no parts"
            )


def part_of(folder: str) -> str | None:
    """The part that a folder holds by its name: train, validation, test; None for a class."""
    return PARTS.get(folder.lower())


def layout_of(tree: FileTree) -> FolderLayout:
    """The layout of a folder of images.

    Args:
        tree: The folder: of parts with classes, or of classes alone, whose last fifth by name is
            the test part.

    Returns:
        The images by part and class, and notes on how the folder was read.

    Raises:
        DataError: There is no image, one lies in no class, or it is not certain which folders are
            parts and which are classes.
    """
    notes = Notes()
    tree, images = _unwrapped(tree, _images(tree, notes))
    folders = _by_folder(tree, images, "")
    parts: dict[str, list[str]] = defaultdict(list)
    for folder in sorted(folders):
        parts[part_of(folder) or "class"].append(folder)
    if parts.keys() == {"class"}:
        layout = _without_parts(tree, _classes(folders), notes)
    else:
        _demand_certain(tree, parts)
        layout = _with_parts(tree, images, {p: names[0] for p, names in parts.items()}, notes)
    _note_missing(layout)
    return layout


def _images(tree: FileTree, notes: Notes) -> list[str]:
    """The names of all images, with a note on files that are none."""
    names = tree.names(("",))
    images = [name for name in names if is_image(name)]
    others = sorted(set(names) - set(images))
    if not images:
        files = f"{counted(len(others), 'file')}, such as {others[0]!r:.250}" if others else "empty"
        raise DataError(
            f"{tree.where()}: no image of a known kind ({files}); {', '.join(ENDINGS)} are read"
        )
    for name in others:
        if "/" in name:  # a list or a licence at the top is no member of a class
            notes.add(tree.where(name), Note("no image of a known kind, left out"))
    return images


def _unwrapped(tree: FileTree, images: list[str]) -> tuple[FileTree, list[str]]:
    """The tree without single folders around it that are neither a part nor a class."""
    for _ in range(WRAPPERS):
        top = images[0].partition("/")[0]
        inside = [name.removeprefix(f"{top}/") for name in images]
        wraps = all(n.startswith(f"{top}/") for n in images) and all("/" in n for n in inside)
        if not wraps or part_of(top) is not None:
            break
        tree, images = tree.below(top), inside
    return tree, images


def _by_folder(tree: FileTree, images: Iterable[str], start: str) -> dict[str, list[str]]:
    """Images below a folder (`train/`), by the folders in it."""
    folders: dict[str, list[str]] = defaultdict(list)
    for name in images:
        if name.startswith(start):
            folder, slash, _ = name[len(start) :].partition("/")
            if not slash:
                raise DataError(
                    f"{tree.where(name)}: lies in no folder of a class: move it into one, or "
                    "remove it"
                )
            folders[folder].append(name)
    return folders


def _classes(folders: dict[str, list[str]]) -> ByClass:
    """The images of folders by class: names in another Unicode form are the same class."""
    classes: ByClass = defaultdict(list)
    for folder, names in folders.items():
        classes[class_name(folder)] += names
    return {label: sorted(classes[label], key=natural) for label in sorted(classes)}


def _demand_certain(tree: FileTree, parts: dict[str, list[str]]) -> None:
    """DataError where folders at the top are parts and others, twice the same part, or no train."""
    known = [name for part, names in parts.items() if part != "class" for name in names]
    if others := parts.get("class"):
        raise DataError(
            f"{tree.where()}: folder {known[0]!r:.90} is a part and {others[0]!r:.90} is none: "
            f"where {others[0]!r:.90} is no class, move it out; where it is one, put the folders "
            f"of all classes into train and test, {known[0]!r:.90} too if it is a class"
        )
    for part, names in parts.items():
        if len(names) > 1:
            raise DataError(
                f"{tree.where()}: folders {names[0]!r} and {names[1]!r} are both the {part} part: "
                "merge them, or rename or move one"
            )
    if "train" not in parts:
        raise DataError(
            f"{tree.where()}: no folder train beside {known[0]!r}: the images to train with are "
            "needed"
        )


def _without_parts(tree: FileTree, classes: ByClass, notes: Notes) -> FolderLayout:
    """The last fifth of each class is the test part."""
    train, test = {}, {}
    for label, names in classes.items():
        last = len(names) - len(names) // TEST_SHARE
        train[label], test[label] = names[:last], names[last:]
    return FolderLayout(tree, train, test={k: v for k, v in test.items() if v}, notes=notes)


def _with_parts(
    tree: FileTree, images: list[str], folders: dict[str, str], notes: Notes
) -> FolderLayout:
    """The parts in their folders; without a test folder, the validation folder is the test part."""
    parts = {p: _classes(_by_folder(tree, images, f"{name}/")) for p, name in folders.items()}
    _demand_known(tree, folders, parts)
    if "validation" in parts:
        used = "validation" if "test" in parts else "test"
        count = sum(map(len, parts["validation"].values()))
        alone = "" if "test" in parts else ": there is no folder test"
        text = f"folder {folders['validation']!r} is the {used} part{alone}"
        notes.add(tree.where(), Note(text, count, "image"))
        parts[used] = parts.pop("validation")
    return FolderLayout(tree, **parts, notes=notes)


def _demand_known(tree: FileTree, folders: dict[str, str], parts: dict[str, ByClass]) -> None:
    """DataError where a part has a class that the training part does not have."""
    for part, classes in parts.items():
        if foreign := sorted(classes.keys() - parts["train"].keys()):
            hint = did_you_mean(foreign[0], parts["train"])
            raise DataError(
                f"{tree.where()}: {shown(f'{folders[part]}/{foreign[0]}')} is no class of "
                f"{folders['train']}"
                f"{hint}"
            )


def _note_missing(layout: FolderLayout) -> None:
    """Notes the classes that a part has no image of."""
    for name, part in (("validation", layout.validation), ("test", layout.test)):
        if part and (missing := [label for label in layout.classes if label not in part]):
            text = f"no {name} image of {missing[0]!r:.90}"
            others = f" and {counted(len(missing) - 1, 'other class')}" if missing[1:] else ""
            layout.notes.add(layout.tree.where(), Note(text + others))
