"""MNIST and Fashion-MNIST: 60 000 + 10 000 grey images of 28x28, ten classes, four IDX files.

The files have their published names, gzipped or not. Sources: LeCun, Cortes, Burges, MNIST; Xiao,
Rasul, Vollgraf, arXiv 1708.07747 (Fashion-MNIST).
"""

import gzip
import io
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from nas_service.data.archive import FileTree
from nas_service.data.cache import Chunk, Samples
from nas_service.data.dataset import Files, Location
from nas_service.data.faults import DAMAGED, reason
from nas_service.errors import DataError
from nas_service.spaces.task import Task

TYPE_BYTES = 0x08  # of an IDX file: unsigned bytes
PREFIX = {"train": "train", "test": "t10k"}


def parse_idx(content: bytes, where: str, sides: tuple[int, ...]) -> NDArray[np.uint8]:
    """Reads an IDX file of bytes.

    Format (http://yann.lecun.com/exdb/mnist): two zero bytes, type, number of dimensions, each
    dimension in four bytes, big-endian, then the bytes.

    Args:
        content: The file, gzipped or not.
        where: Names the file in errors.
        sides: All dimensions but the first, as they must be.

    Returns:
        The bytes as [N, *sides]; N is that of the header, and no more bytes are unpacked.

    Raises:
        DataError: The file is damaged or has other dimensions.
    """
    head = 4 + 4 * (1 + len(sides))
    zipped = content[:2] == b"\x1f\x8b"
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) if zipped else io.BytesIO(content) as file:
            count = _count(file.read(head), sides, where)
            size = count * int(np.prod(sides, dtype=np.int64))
            body = file.read(size + 1)
    except DAMAGED as error:
        raise DataError(f"{where}: {reason(error)}") from error
    if len(body) != size:
        actual = "more" if len(body) > size else f"{len(body)}"
        raise DataError(f"{where}: {size} bytes announced, it has {actual}")
    return np.frombuffer(body, dtype=np.uint8).reshape(count, *sides)


def _count(start: bytes, sides: tuple[int, ...], where: str) -> int:
    numbers = [int.from_bytes(start[i : i + 4], "big") for i in range(0, len(start), 4)]
    magic = TYPE_BYTES << 8 | (1 + len(sides))
    if len(numbers) != 2 + len(sides) or numbers[0] != magic or tuple(numbers[2:]) != sides:
        raise DataError(f"{where}: no IDX file of bytes with images or labels of shape {sides}")
    if not 1 <= numbers[1] <= 10**6:
        raise DataError(f"{where}: {numbers[1]} items announced, 1..1000000 are possible")
    return numbers[1]


def _names(part: str) -> tuple[str, str]:
    return f"{PREFIX[part]}-images-idx3-ubyte", f"{PREFIX[part]}-labels-idx1-ubyte"


def _uses(part: str) -> tuple[str, ...]:
    return tuple(name + end for name in _names(part) for end in (".gz", ""))


def read(tree: FileTree, part: str, task: Task, frames: int) -> Samples:
    """The images of a part, from two IDX files.

    Args:
        tree: The files.
        part: "train" or "test".
        task: The size and classes of the data set.
        frames: Does not matter: an image has one.

    Returns:
        The samples.

    Raises:
        DataError: A file is missing or damaged, or its labels do not fit the images or the task.
    """
    images, labels = (_parsed(tree, name, task) for name in _names(part))
    if len(images) != len(labels):
        raise DataError(f"{tree.where()}: {len(labels)} labels for {len(images)} {part} images")
    if (worst := int(labels.max())) >= task.classes:
        name = _names(part)[1]
        raise DataError(f"{tree.where(name)}: label {worst}, 0..{task.classes - 1} are possible")

    def chunks() -> Iterator[Chunk]:
        yield 0, images[:, None], labels.astype(np.int64)

    return Samples(len(images), (1, task.size, task.size), chunks())


def _parsed(tree: FileTree, name: str, task: Task) -> NDArray[np.uint8]:
    present = tree.names((f"{name}.gz", name))
    if not present:
        raise DataError(f"{tree.where()}: {name}.gz is missing")
    sides = (task.size, task.size) if "images" in name else ()
    _, content = next(tree.read(present[-1:]))
    return parse_idx(content, tree.where(present[-1]), sides)


def _source(
    name: str,
    folders: tuple[str, ...],
    hashes: str,
    home: str,
    licence: str,
    named: tuple[str, ...] = (),
) -> Files:
    files = [name + end for part in PREFIX for name in _names(part) for end in (".gz", "")]
    return Files(
        name=name,
        task=Task(1, 28, 10),
        validation_samples=5000,
        home=home,
        licence=licence,
        locations=tuple(Location(folder) for folder in folders),
        uses={part: _uses(part) for part in PREFIX},
        read=read,
        published={f: f"sha256:{h}" for f, h in zip(files, hashes.split(), strict=True)},
        named=named,
    )


MNIST = _source(
    "mnist",
    ("MNIST/raw", "mnist"),
    """
    440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609
    ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db
    3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c
    65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5
    8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6
    0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7
    f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6
    ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2
    """,
    home="http://yann.lecun.com/exdb/mnist",
    licence="not stated there",
)
FASHION_MNIST = _source(
    "fashion_mnist",
    ("FashionMNIST/raw", "fashion_mnist", ""),
    """
    3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84
    c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888
    a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845
    bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9
    346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073
    5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b
    67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5
    0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34
    """,
    home="https://github.com/zalandoresearch/fashion-mnist",
    licence="MIT",
    named=(
        *("T-shirt/top", "trouser", "pullover", "dress", "coat"),
        *("sandal", "shirt", "sneaker", "bag", "ankle boot"),
    ),
)
