"""Recordings of event cameras, one file for each sample. T frames, H W pixels."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nas_service.data.archive import FileTree
from nas_service.data.cache import Chunk, Samples
from nas_service.data.events import Events, frames
from nas_service.data.image_files import LabelledFile
from nas_service.data.notes import Notes
from nas_service.spaces.task import Task

Parser = Callable[[bytes, str], Events]


def chunks(
    tree: FileTree,
    named: Sequence[LabelledFile],
    parse: Parser,
    task: Task,
    count: int,
    notes: Notes,
    first: int = 0,
) -> Iterator[Chunk]:
    """Recordings as chunks of one sample.

    Args:
        tree: The files.
        named: Their names and classes, in the order of the samples.
        parse: Reads the events of a file.
        task: The size of the sensor.
        count: Frames T that a recording is binned to.
        notes: Takes the notes on each file.
        first: Number of the first sample.

    Yields:
        Number of a sample, its frames [1, T, C, S, S] and label [1].
    """
    positions = {recording.name: i for i, recording in enumerate(named)}
    for name, content in tree.read([recording.name for recording in named]):
        events = parse(content, tree.where(name))
        notes.add(events.where, *events.notes)
        binned = frames(events, count, task.size)
        label = np.array([named[positions[name]].label], dtype=np.int64)
        yield first + positions[name], binned[None], label


def samples(
    tree: FileTree, named: Sequence[LabelledFile], parse: Parser, task: Task, count: int
) -> Samples:
    """The recordings of files, in this order.

    Args:
        tree: The files.
        named: Their names and classes, in the order of the samples.
        parse: Reads the events of a file.
        task: The channels and the size of the sensor.
        count: Frames T that a recording is binned to.

    Returns:
        The samples [T, C, S, S], read when the chunks are.
    """
    shape = (count, task.channels, task.size, task.size)
    notes = Notes()
    return Samples(len(named), shape, chunks(tree, named, parse, task, count, notes), notes)
