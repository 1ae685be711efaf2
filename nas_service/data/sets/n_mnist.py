"""N-MNIST: 60 000 + 10 000 recordings of MNIST's digits by a moving event camera, 34x34.

Source: Orchard, Jayawant, Cohen, Thakor, Frontiers in Neuroscience 9:437, 2015.
"""

from nas_service.data.archive import FileTree
from nas_service.data.cache import Samples
from nas_service.data.dataset import Files, Location
from nas_service.data.event_files import samples
from nas_service.data.events import read_atis
from nas_service.data.file_names import natural
from nas_service.data.image_files import LabelledFile
from nas_service.data.notes import Note
from nas_service.errors import DataError
from nas_service.spaces.task import Task

FOLDER = {"train": "Train", "test": "Test"}


def read(tree: FileTree, part: str, task: Task, frames: int) -> Samples:
    """The recordings of a part, by class and number.

    Args:
        tree: The files.
        part: "train" or "test".
        task: The channels and the size of the sensor.
        frames: Frames T that a recording is binned to.

    Returns:
        The samples, read when the chunks are.

    Raises:
        DataError: A recording lies in no folder of a digit; the chunks raise it for damaged ones.
    """
    names = (name for name in tree.names((FOLDER[part],)) if name.lower().endswith(".bin"))
    named = [LabelledFile(name, _digit(tree, name)) for name in sorted(names, key=natural)]
    recordings = samples(tree, named, read_atis, task, frames)
    digits = {recording.label for recording in named}
    for digit in sorted(set(range(task.classes)) - digits) if digits else ():
        recordings.notes.add(tree.where(FOLDER[part]), Note(f"no recording of digit {digit}"))
    return recordings


def _digit(tree: FileTree, name: str) -> int:
    digit = name.split("/")[-2]
    if len(digit) != 1 or digit not in "0123456789":
        raise DataError(f"{tree.where(name)}: its folder {digit!r:.30} is no digit")
    return int(digit)


SOURCE = Files(
    name="n_mnist",
    task=Task(2, 34, 10, events=True),
    validation_samples=5000,
    home="https://www.garrickorchard.com/datasets/n-mnist",
    licence="CC BY-SA 4.0",
    locations=(
        *(
            Location(f"{folder}{FOLDER[part]}.zip", "", (part,))
            for folder in ("N-MNIST/", "n_mnist/")
            for part in FOLDER
        ),
        Location("N-MNIST"),
        Location("n_mnist"),
    ),
    uses={part: (FOLDER[part],) for part in FOLDER},
    read=read,
    published={
        "Train.zip": "md5:20959b8e626244a1b502305a9e6e2031",
        "Test.zip": "md5:69ca8762b2fe404d9b9bad1103e97832",
    },
)
