"""Picture files as pixels. C channels, H W pixels."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from nas_service.data.archive import FileTree
from nas_service.data.cache import Chunk, Samples
from nas_service.errors import DataError
from nas_service.spaces.task import Task

DECODER = f"pillow {PIL.__version__}"
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "WEBP")
ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".ppm", ".pgm", ".webp")
MAX_PIXELS = 2**24  # of one picture
MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr")  # 8 bits a channel, nothing transparent
TOGETHER = 256  # pictures in a chunk


@dataclass(frozen=True)
class LabelledFile:
    """A picture file and its class."""

    name: str
    label: int


def is_picture(name: str) -> bool:
    return name.lower().endswith(ENDINGS)


def samples(tree: FileTree, named: Sequence[LabelledFile], task: Task, resize: bool) -> Samples:
    """Pictures in the given order; DataError names one that is damaged or of another size."""
    shape = (task.channels, task.size, task.size)
    return Samples(len(named), shape, _chunks(tree, named, task, resize))


def _chunks(
    tree: FileTree, named: Sequence[LabelledFile], task: Task, resize: bool
) -> Iterator[Chunk]:
    """Pictures that follow one another come together, in whatever order the files do."""
    place = {picture.name: i for i, picture in enumerate(named)}
    labels = np.array([picture.label for picture in named], dtype=np.int64)
    first, pixels = 0, list[NDArray[np.uint8]]()
    for name, content in tree.read(list(place)):
        at = place[name]
        if pixels and (at != first + len(pixels) or len(pixels) == TOGETHER):
            yield first, np.stack(pixels), labels[first : first + len(pixels)]
            pixels.clear()
        first = first if pixels else at
        pixels.append(decode(content, f"{tree.path}: {name!r:.90}", task, resize))
    if pixels:
        yield first, np.stack(pixels), labels[first : first + len(pixels)]


def decode(content: bytes, where: str, task: Task, resize: bool = False) -> NDArray[np.uint8]:
    """Pixels [C, H, W] of a picture, grey or RGB as the task has it."""
    with _opened(content, where) as picture:
        fitting = _opaque(picture, where).convert("L" if task.channels == 1 else "RGB")
        pixels = np.asarray(_sized(fitting, where, task.size, resize), dtype=np.uint8)
    return pixels.reshape(task.size, task.size, task.channels).transpose(2, 0, 1)


def size_of(content: bytes, where: str) -> tuple[int, int]:
    """Width and height of a picture."""
    with _opened(content, where) as picture:
        return picture.size


@contextmanager
def _opened(content: bytes, where: str) -> Iterator[Image.Image]:
    """A picture of a known format and a possible size; DataError where it cannot be read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
                _demand_usable(picture, where)
                if picture.format == "PNG":  # whose check sums are not looked at otherwise
                    Image.open(io.BytesIO(content), formats=("PNG",)).verify()
                yield picture
    except DataError:
        raise
    except Exception as error:  # Pillow raises a dozen unrelated types for damaged files
        raise DataError(f"{where}: no picture that can be read ({error})") from error


def _demand_usable(picture: Image.Image, where: str) -> None:
    width, height = picture.size
    if width * height > MAX_PIXELS:
        raise DataError(f"{where}: {width} x {height} pixels, at most {MAX_PIXELS} are possible")


def _opaque(picture: Image.Image, where: str) -> Image.Image:
    """The picture without its alpha channel, which must hide nothing."""
    if picture.has_transparency_data:
        with_alpha = picture.convert("RGBA")
        if with_alpha.getchannel("A").getextrema() != (255, 255):
            raise DataError(f"{where}: transparent pixels have no value")
        return with_alpha
    if picture.mode not in MODES:
        raise DataError(f"{where}: pixels of mode {picture.mode}, 8 bits a channel are possible")
    return picture


def _sized(picture: Image.Image, where: str, size: int, resize: bool) -> Image.Image:
    """The picture if it has the size; with `resize` its middle, shrunk or grown to it."""
    width, height = picture.size
    if (width, height) == (size, size):
        return picture
    if not resize:
        raise DataError(
            f"{where}: {width} x {height} pixels, {size} x {size} are needed "
            "(data.resize = true crops the middle and scales it)"
        )
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    middle = (left, top, left + short, top + short)
    return picture.resize((size, size), Image.Resampling.BICUBIC, box=middle, reducing_gap=None)
