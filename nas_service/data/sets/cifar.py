"""CIFAR-10 and CIFAR-100, binary version: 50 000 + 10 000 colour images of 32x32.

Each image is its label (CIFAR-100: the coarse label, then the fine one, which is used) and 3072
bytes, red, green and blue planes one after the other. Source: A. Krizhevsky, Learning Multiple
Layers of Features from Tiny Images, 2009.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from nas_service.data.archive import FileTree, actual_names, text_of
from nas_service.data.cache import Chunk, Samples
from nas_service.data.dataset import ClassNames, Files, Location, Reader
from nas_service.errors import DataError
from nas_service.spaces.task import Task

HOME = "https://www.cs.toronto.edu/~kriz/cifar.html"
RECORDS = {"train": 50000, "test": 10000}
COARSE_CLASSES = 20  # of CIFAR-100


def reader(uses: Mapping[str, tuple[str, ...]], records: Mapping[str, int]) -> Reader:
    """A reader of binary files that share the records of a part equally.

    Args:
        uses: The names of the files by part.
        records: The number of images by part.

    Returns:
        The reader of a part.
    """

    def read(tree: FileTree, part: str, task: Task, frames: int) -> Samples:
        shape = (task.channels, task.size, task.size)
        each = records[part] // len(uses[part])
        return Samples(records[part], shape, _chunks(tree, uses[part], each, task))

    return read


def _source(
    name: str,
    classes: int,
    folder: str,
    uses: Mapping[str, tuple[str, ...]],
    hashes: str,
    named: tuple[str, ...] | ClassNames,
) -> Files:
    archive = f"{name[:5]}-{name[5:]}-binary.tar.gz"
    files = [archive, *(file for part in uses.values() for file in part)]
    return Files(
        name=name,
        task=Task(3, 32, classes),
        validation_samples=5000,
        home=HOME,
        licence="not stated there",
        locations=(Location(folder), Location(archive, folder), Location(name)),
        uses=uses,
        read=reader(uses, RECORDS),
        published={f: f"sha256:{h}" for f, h in zip(files, hashes.split(), strict=True)},
        named=named,
    )


def _fine_names(tree: FileTree) -> list[str]:
    """CIFAR-100's classes, from the list beside its images; empty where the list is missing."""
    files = tree.names(("fine_label_names.txt",))
    return [name for file, text in tree.read(files) for name in text_of(text, file).split()]


def _chunks(tree: FileTree, files: tuple[str, ...], count: int, task: Task) -> Iterator[Chunk]:
    actual = actual_names(tree, files)
    for name, content in tree.read(actual):
        where = tree.where(name)
        label_B = 2 if task.classes == 100 else 1
        row_B = label_B + task.channels * task.size**2
        if len(content) != count * row_B:
            raise DataError(f"{where}: {len(content)} bytes, {count} images of {row_B} are needed")
        rows = np.frombuffer(content, dtype=np.uint8).reshape(count, row_B)
        limits = (COARSE_CLASSES, task.classes)[-label_B:]
        for column, classes in enumerate(limits):
            if (worst := int(rows[:, column].max())) >= classes:
                raise DataError(f"{where}: label {worst}, 0..{classes - 1} are possible")
        pixels = rows[:, label_B:].reshape(count, task.channels, task.size, task.size)
        yield files.index(actual[name]) * count, pixels, rows[:, label_B - 1].astype(np.int64)


CIFAR10 = _source(
    "cifar10",
    10,
    "cifar-10-batches-bin",
    {
        "train": tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        "test": ("test_batch.bin",),
    },
    """
    c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd
    cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5
    a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed
    bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67
    014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48
    755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add
    8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b
    """,
    ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"),
)
CIFAR100 = _source(
    "cifar100",
    100,
    "cifar-100-binary",
    {"train": ("train.bin",), "test": ("test.bin",)},
    """
    58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec
    f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29
    d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a
    """,
    _fine_names,
)
