"""CIFAR10-DVS: 1000 recordings of each of CIFAR-10's classes by an event camera of 128x128.

It has no official test part; as is common, it is the last tenth of each class by number. Source:
Li, Liu, Ji, Li, Shi, Frontiers in Neuroscience 11:309, 2017.
"""

from collections.abc import Iterator

from nas_service.data.archive import FileTree, open_tree
from nas_service.data.cache import Chunk, Samples
from nas_service.data.dataset import Files, Location
from nas_service.data.event_files import chunks
from nas_service.data.events import read_aedat2
from nas_service.data.file_names import natural
from nas_service.data.image_files import LabelledFile
from nas_service.data.notes import Notes
from nas_service.errors import DataError
from nas_service.spaces.task import Task

TEST_SHARE = 10  # one recording in ten is a test recording
HASHES = """
airplane   0afd5c4bf9ae06af762a77b180354fdd
automobile 8438dfeba3bc970c94962d995b1b9bdd
bird       a9c207c91c55b9dc2002dc21c684d785
cat        52c63c677c2b15fa5146a8daf4d56687
deer       b6bf21f6c04d21ba4e23fc3e36c8a4a3
dog        f379ebdf6703d16e0a690782e62639c3
frog       cad6ed91214b1c7388a5f6ee56d08803
horse      e7cbbf77bec584ffbf913f00e682782a
ship       41c7bd7d6b251be82557c6cce9a7d5c9
truck      89f3922fd147d9aeff89e76a2b0b70a7
"""
CLASSES = dict(line.split() for line in HASHES.strip().splitlines())
USES = (*CLASSES, *(f"{name}.zip" for name in CLASSES))


def read(tree: FileTree, part: str, task: Task, count: int) -> Samples:
    """The recordings of a part, class by class.

    Args:
        tree: The files.
        part: "train" or "test".
        task: The channels and the size of the sensor.
        count: Frames T that a recording is binned to.

    Returns:
        The samples, read when the chunks are.

    Raises:
        DataError: A class is missing, or its archive cannot be read; the chunks raise it for
            damaged recordings.
    """
    classes = [_class(tree, name, label, part) for label, name in enumerate(CLASSES)]
    total = sum(len(named) for _, named in classes)
    shape, notes = (count, task.channels, task.size, task.size), Notes()

    def each() -> Iterator[Chunk]:
        first = 0
        for inner, named in classes:
            yield from chunks(inner, named, read_aedat2, task, count, notes, first)
            first += len(named)

    return Samples(total, shape, each(), notes)


def _class(tree: FileTree, name: str, label: int, part: str) -> tuple[FileTree, list[LabelledFile]]:
    """A class's recordings of a part, from its folder or its zip archive."""
    inner = tree
    names = tree.names((name,))
    if not any(map(_is_recording, names)) and (archives := tree.names((f"{name}.zip",))):
        inner = open_tree(tree.path / tree.root / archives[0])
        names = inner.names(("",))
    ordered = sorted(filter(_is_recording, names), key=natural)
    if not ordered:
        raise DataError(
            f"{tree.where()}: no recordings of class {name!r}: {name}.zip, or a folder {name} with "
            ".aedat files, is needed"
        )
    last = len(ordered) - len(ordered) // TEST_SHARE
    chosen = ordered[:last] if part == "train" else ordered[last:]
    return inner, [LabelledFile(n, label) for n in chosen]


def _is_recording(name: str) -> bool:
    return name.lower().endswith(".aedat")


SOURCE = Files(
    name="cifar10_dvs",
    task=Task(2, 128, 10, events=True),
    validation_samples=1000,
    home="https://figshare.com/articles/dataset/CIFAR10-DVS_New/4724671",
    licence="CC BY 4.0",
    locations=(Location("CIFAR10-DVS"), Location("cifar10_dvs")),
    uses={"train": USES, "test": USES},
    read=read,
    published={f"{name}.zip": f"md5:{value}" for name, value in CLASSES.items()},
    named=tuple(CLASSES),
)
