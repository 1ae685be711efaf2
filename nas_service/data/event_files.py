"""Recordings in files of their own, one sample each. T frames, H W pixels."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from nas_service.data.archive import FileTree
from nas_service.data.cache import Chunk, Samples
from nas_service.data.events import Events, frames
from nas_service.data.image_files import LabelledFile
from nas_service.spaces.task import Task

Parser = Callable[[bytes, str], Events]


def chunks(
    tree: FileTree,
    named: Sequence[LabelledFile],
    parse: Parser,
    task: Task,
    count: int,
    first: int = 0,
) -> Iterator[Chunk]:
    """Each recording as a chunk of one, from place `first` on."""
    place = {recording.name: i for i, recording in enumerate(named)}
    for name, content in tree.read([recording.name for recording in named]):
        found = frames(parse(content, f"{tree.path}: {name!r:.90}"), count, task.size)
        label = np.array([named[place[name]].label], dtype=np.int64)
        yield first + place[name], found[None], label


def samples(
    tree: FileTree, named: Sequence[LabelledFile], parse: Parser, task: Task, count: int
) -> Samples:
    shape = (count, task.channels, task.size, task.size)
    return Samples(len(named), shape, chunks(tree, named, parse, task, count))
