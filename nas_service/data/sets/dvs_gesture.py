"""DVS128 Gesture: 1176 + 288 recordings of eleven gestures by an event camera of 128x128.

Each .aedat file holds the gestures of one person under one light; a table has the start and the end
of each. Source: Amir et al., CVPR 2017.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np

from hw_models.files.numerals import parse_whole
from nas_service.data.archive import FileTree, actual_names, text_of
from nas_service.data.cache import Chunk, Samples
from nas_service.data.dataset import Files, Location, rooted
from nas_service.data.events import Events, frames, read_aedat3
from nas_service.data.notes import Notes
from nas_service.errors import DataError
from nas_service.spaces.task import Task

LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
SUFFIX = ".aedat"
COLUMNS = "class,startTime_usec,endTime_usec"


@dataclass(frozen=True)
class Gesture:
    """A row of a recording's table."""

    label: int  # 0..10
    start_us: int
    end_us: int


def read(tree: FileTree, part: str, task: Task, count: int) -> Samples:
    """The gestures of a part, recording by recording.

    Args:
        tree: The files.
        part: "train" or "test".
        task: The channels, size and classes of the data set.
        count: Frames T that a gesture is binned to.

    Returns:
        The samples, read when the chunks are.

    Raises:
        DataError: A list or table of labels is missing or wrong; the chunks raise it for damaged
            recordings.
    """
    tree = rooted(tree, (LISTS[part],))
    listed = _text(tree, LISTS[part]).split()
    for name in listed:
        if PurePosixPath(name).name != name or not name.lower().endswith(SUFFIX):
            right = f"a file name that ends in {SUFFIX} is needed"
            raise DataError(f"{tree.where(LISTS[part])}: {name!r:.90}: {right}")
    gestures = _gestures(tree, list(dict.fromkeys(listed)), task.classes)
    shape = (count, task.channels, task.size, task.size)
    total, notes = sum(len(rows) for rows in gestures.values()), Notes()
    return Samples(total, shape, _chunks(tree, gestures, task, count, notes), notes)


def _text(tree: FileTree, name: str) -> str:
    name, content = next(tree.read(actual_names(tree, [name])))
    return text_of(content, tree.where(name))


def _gestures(tree: FileTree, recordings: list[str], classes: int) -> dict[str, list[Gesture]]:
    """The gestures of each recording, by its name."""
    tables = {f"{_stem(name)}_labels.csv": name for name in recordings}
    actual = actual_names(tree, tables)
    gestures = {
        tables[actual[table]]: _parsed(content, tree.where(table), classes)
        for table, content in tree.read(actual)
    }
    return {name: gestures[name] for name in recordings}


def _stem(name: str) -> str:
    return name[: -len(SUFFIX)]


def _parsed(content: bytes, where: str, classes: int) -> list[Gesture]:
    lines = enumerate(text_of(content, where).split("\n"), 1)
    (_, head), *rows = [(number, line.strip()) for number, line in lines if line.strip()]
    if head != COLUMNS:
        raise DataError(f"{where}: columns {head!r:.60}, expected {COLUMNS}")
    gestures = []
    for number, line in rows:
        label, start, end = _integers(line, f"{where}: line {number}")
        if not 1 <= label <= classes or start >= end:
            raise DataError(
                f"{where}: line {number}: class {label} of 1..{classes}, {start}..{end}"
            )
        gestures.append(Gesture(label - 1, start, end))
    return gestures


def _integers(line: str, where: str) -> list[int]:
    numbers = [n for field in line.split(",") if (n := parse_whole(field)) is not None]
    if len(numbers) != 3 or line.count(",") != 2:
        raise DataError(f"{where}: {line!r:.60} is not three integers")
    return numbers


def _chunks(
    tree: FileTree, gestures: dict[str, list[Gesture]], task: Task, count: int, notes: Notes
) -> Iterator[Chunk]:
    counts = [len(rows) for rows in gestures.values()]
    first = dict(zip(gestures, np.cumsum([0, *counts]).tolist(), strict=False))
    actual = actual_names(tree, list(gestures))
    for file, content in tree.read(actual):
        name, events = actual[file], read_aedat3(content, tree.where(file))
        notes.add(events.where, *events.notes)
        for i, gesture in enumerate(gestures[name]):
            binned = frames(_cut(events, gesture), count, task.size)
            yield first[name] + i, binned[None], np.array([gesture.label], dtype=np.int64)


def _cut(events: Events, gesture: Gesture) -> Events:
    where = f"{events.where}: {gesture.start_us}..{gesture.end_us} us"
    return events.between(gesture.start_us, gesture.end_us, where)


SOURCE = Files(
    name="dvs128_gesture",
    task=Task(2, 128, 11, events=True),
    validation_samples=192,
    home="https://research.ibm.com/interactive/dvsgesture",
    licence="CC BY 4.0",
    locations=(Location("DvsGesture"), Location("DvsGesture.tar.gz", "DvsGesture")),
    uses=dict.fromkeys(LISTS, ("",)),
    read=read,
    published={"DvsGesture.tar.gz": "md5:8a5c71fb11e24e5ca5b11866ca6c00a1"},
    named=(
        "hand clapping",
        "right hand wave",
        "left hand wave",
        "right arm clockwise",
        "right arm counter-clockwise",
        "left arm clockwise",
        "left arm counter-clockwise",
        "arm roll",
        "air drums",
        "air guitar",
        "other gestures",
    ),
)
