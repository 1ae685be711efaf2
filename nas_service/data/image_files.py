"""Image files as pixels. C channels, H W pixels."""

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from nas_service.data.archive import FileTree
from nas_service.data.cache import Chunk, Samples
from nas_service.data.faults import kind_of
from nas_service.data.notes import Note, Notes
from nas_service.errors import DataError
from nas_service.spaces.task import Task

DECODER = f"pillow {PIL.__version__} upright"
FORMATS = ("JPEG", "PNG", "BMP", "PPM", "WEBP", "GIF")
ENDINGS = (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".ppm", ".pgm", ".webp", ".gif")
STARTS = (b"\xff\xd8\xff", b"\x89PNG", b"BM", b"P5", b"P6", b"RIFF", b"GIF8")  # of these formats
ANIMATED = Note("more than one frame, the first one is read")
NOT_UPRIGHT = Note("damaged EXIF data, the image is read as if it were upright")
TURNED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
MAX_PIXELS = 2**24  # of one image
MODES = ("1", "L", "P", "RGB", "CMYK", "YCbCr")  # 8 bits a channel, nothing transparent
CHUNK_IMAGES = 256  # images in a chunk


@dataclass(frozen=True)
class LabelledFile:
    """A file with one sample, and the number of its class."""

    name: str
    label: int


def is_image(name: str) -> bool:
    """True for names of image files that can be read."""
    return name.lower().endswith(ENDINGS)


def samples(
    tree: FileTree,
    named: Sequence[LabelledFile],
    task: Task,
    resize: bool,
    notes: Notes | None = None,
    validation_part: int = 0,
) -> Samples:
    """The images of files.

    Args:
        tree: The files.
        named: Their names and classes, in the order of the samples.
        task: Channels and size of the images.
        resize: Crop and scale images of another size.
        notes: What is noted on the files already.
        validation_part: Number of images, at the end, that are the validation part.

    Returns:
        Samples whose chunks raise DataError for an image that is damaged or of another size.
    """
    notes = Notes() if notes is None else notes
    shape = (task.channels, task.size, task.size)
    chunks = _chunks(tree, named, task, resize, notes)
    return Samples(len(named), shape, chunks, notes, validation_part)


def _chunks(
    tree: FileTree, named: Sequence[LabelledFile], task: Task, resize: bool, notes: Notes
) -> Iterator[Chunk]:
    """Chunks of consecutive images; the tree decides the order of the files."""
    positions = {file.name: i for i, file in enumerate(named)}
    labels = np.array([file.label for file in named], dtype=np.int64)
    first, pixels = 0, list[NDArray[np.uint8]]()
    for name, content in tree.read(list(positions)):
        position = positions[name]
        if pixels and (position != first + len(pixels) or len(pixels) == CHUNK_IMAGES):
            yield first, np.stack(pixels), labels[first : first + len(pixels)]
            pixels.clear()
        first = first if pixels else position
        pixels.append(decode(content, tree.where(name), task, resize, notes))
    if pixels:
        yield first, np.stack(pixels), labels[first : first + len(pixels)]


def decode(
    content: bytes, where: str, task: Task, resize: bool = False, notes: Notes | None = None
) -> NDArray[np.uint8]:
    """The pixels of an image, upright as its EXIF orientation says.

    Args:
        content: The bytes of the file.
        where: Names the file in errors.
        task: Channels (1 for grey, 3 for RGB) and size of the image.
        resize: Crop and scale an image of another size.
        notes: Takes notes on what was done: the first frame of several is read.

    Returns:
        Pixels [C, H, W].

    Raises:
        DataError: The image is damaged, transparent, or of another size.
    """
    notes = Notes() if notes is None else notes
    with _opened(content, where, notes) as image:
        ImageOps.exif_transpose(image, in_place=True)
        fitting = _opaque(image, where).convert("L" if task.channels == 1 else "RGB")
        pixels = np.asarray(_sized(fitting, where, task.size, resize), dtype=np.uint8)
    return pixels.reshape(task.size, task.size, task.channels).transpose(2, 0, 1)


def size_of(content: bytes, where: str) -> tuple[int, int]:
    """The size of an image, upright as its EXIF orientation says.

    Args:
        content: Of the file.
        where: Names the file in errors.

    Returns:
        Width and height, in pixels.

    Raises:
        DataError: The image cannot be read, or is too large.
    """
    with _opened(content, where, Notes()) as image:
        width, height = image.size
        turned = image.getexif().get(ExifTags.Base.Orientation) in TURNED
        return (height, width) if turned else (width, height)


@contextmanager
def _opened(content: bytes, where: str, notes: Notes) -> Iterator[Image.Image]:
    """An image of a known format and size; DataError where it cannot be read."""
    try:
        with warnings.catch_warnings(record=True) as raised:
            warnings.simplefilter("always")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content), formats=FORMATS) as image:
                _demand_usable(image, where)
                if image.format == "PNG":  # only `verify` compares its check sums
                    Image.open(io.BytesIO(content), formats=("PNG",)).verify()
                if getattr(image, "is_animated", False):
                    notes.add(where, ANIMATED)
                yield image
        if any("EXIF" in str(warning.message) for warning in raised):
            notes.add(where, NOT_UPRIGHT)
    except DataError:
        raise
    except Exception as error:  # Pillow raises a dozen unrelated types for damaged files
        raise DataError(f"{where}: no image that can be read: {_fault(content, error)}") from error


def _fault(content: bytes, error: Exception) -> str:
    if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
        return f"more than {MAX_PIXELS} pixels, make it smaller"
    if isinstance(error, UnidentifiedImageError) and not content.startswith(STARTS):
        return f"{kind_of(content)}, {', '.join(FORMATS)} are read"
    return "damaged or cut short, replace or remove it"


def _demand_usable(image: Image.Image, where: str) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise DataError(
            f"{where}: {width} x {height} pixels, at most {MAX_PIXELS} are possible: make it "
            "smaller"
        )


def _opaque(image: Image.Image, where: str) -> Image.Image:
    """The image without its alpha channel; DataError where a pixel is transparent."""
    if image.has_transparency_data:
        with_alpha = image.convert("RGBA")
        if with_alpha.getchannel("A").getextrema() != (255, 255):
            raise DataError(
                f"{where}: transparent pixels have no value: save the image without transparency"
            )
        return with_alpha
    if image.mode not in MODES:
        raise DataError(
            f"{where}: pixels of mode {image.mode}, 8 bits a channel are possible: save the image "
            "with 8 bits"
        )
    return image


def _sized(image: Image.Image, where: str, size: int, resize: bool) -> Image.Image:
    """The image in the size of the task; with `resize` its middle square, scaled."""
    width, height = image.size
    if (width, height) == (size, size):
        return image
    if not resize:
        raise DataError(
            f"{where}: {width} x {height} pixels, {size} x {size} are needed "
            "(data.resize = true crops the middle and scales it)"
        )
    short = min(width, height)
    left, top = (width - short) // 2, (height - short) // 2
    middle = (left, top, left + short, top + short)
    return image.resize((size, size), Image.Resampling.BICUBIC, box=middle, reducing_gap=None)
