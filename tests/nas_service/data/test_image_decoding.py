"""Image files as cameras and browsers write them: turned, animated, damaged."""

import io
import struct
import warnings

import numpy as np
import pytest
from image_trees import colours, layout, png, put
from PIL import Image

from nas_service.data import source_of
from nas_service.data.image_files import decode, size_of
from nas_service.data.notes import Notes
from nas_service.errors import DataError
from nas_service.spaces.task import Task
from nas_service.study.sections import Data

COLOUR = Task(3, 4, 2)


def turned(pixels, orientation, kind="PNG"):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return png(pixels, kind=kind, exif=exif)


UPRIGHT = {  # EXIF orientation: how the stored pixels become the picture
    1: lambda x: x,
    2: lambda x: x[:, ::-1],
    3: lambda x: x[::-1, ::-1],
    4: lambda x: x[::-1],
    5: lambda x: x.transpose(1, 0, 2),
    6: lambda x: np.rot90(x, -1),
    7: lambda x: np.rot90(x, 2).transpose(1, 0, 2),
    8: lambda x: np.rot90(x),
}


@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_orientation_of_a_camera_is_applied(orientation):
    expected = UPRIGHT[orientation](colours()).transpose(2, 0, 1)
    assert (decode(turned(colours(), orientation), "x", COLOUR) == expected).all()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_sizes_are_those_of_the_upright_image(kind):
    wide = np.zeros((4, 8, 3), dtype=np.uint8)
    assert size_of(turned(wide, 1, kind), "x") == (8, 4)
    assert size_of(turned(wide, 6, kind), "x") == (4, 8)


def damaged_exif(pixels):
    """A JPEG whose EXIF block announces more entries than it has."""
    block = b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", 500) + b"\x12\x01\x03\0"
    raw = png(pixels, kind="JPEG")
    return raw[:2] + b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block + raw[2:]


def test_a_damaged_orientation_is_noted_without_a_warning_of_pillow():
    notes = Notes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        decode(damaged_exif(colours()), "x", COLOUR, notes=notes)
    assert notes.lines() == ("x: damaged EXIF data, the image is read as if it were upright",)


def frames(kind, count=3, **options):
    first, *others = (Image.fromarray(np.full((4, 4, 3), 80 * i, np.uint8)) for i in range(count))
    file = io.BytesIO()
    first.save(file, kind, save_all=True, append_images=others, **options)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "MPO"])
def test_the_first_frame_of_several_is_read_and_noted(kind):
    notes = Notes()
    content = frames(kind, **({"lossless": True} if kind == "WEBP" else {}))
    pixels = decode(content, "x", COLOUR, notes=notes)
    assert pixels.max() < 3
    assert notes.lines() == ("x: more than one frame, the first one is read",)


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "JPEG"])
def test_a_single_frame_is_not_noted(kind):
    notes = Notes()
    decode(png(np.zeros((4, 4, 3), np.uint8), kind=kind), "x", COLOUR, notes=notes)
    assert notes.lines() == ()


def folder_of():
    return source_of(Data(name="image_folder", archive="set", size=4, classes=2))


def test_animated_files_of_a_folder_are_noted_once(tmp_path):
    moving = {f"a/{i}.GIF": frames("GIF") for i in range(3)}
    put(tmp_path, layout(unsplit={"a": 10, "b": 10}) | moving)
    for _ in range(2):  # from the files, then from the cache
        (note,) = folder_of().read_train(tmp_path).notes
        assert note.endswith(
            "set/a/0.GIF and 2 other files: more than one frame, the first one is read"
        )


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0"
LIBRARY_WORDS = (
    "BytesIO",
    "cannot identify",
    "truncated",
    "broken",
    "0x",
    "PIL",
    "buffer",
    "bytes",
)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "BMP", "PPM", "WEBP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_cut_images_are_named_in_words_of_the_product(kind, share):
    raw = png(colours(size=32), kind=kind)
    with pytest.raises(DataError, match=r"^some/file: no image that can be read: ") as caught:
        decode(raw[: int(len(raw) * share)], "some/file", Task(3, 32, 2))
    assert not any(word in str(caught.value) for word in LIBRARY_WORDS)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "an empty file, JPEG, PNG, BMP, PPM, WEBP, GIF are read"),
        (HEIC, "a HEIC or AVIF image, JPEG"),
        (b"II*\0rest", "a TIFF image, JPEG"),
        (b"<!DOCTYPE html>", "a text file .HTML, XML or SVG., JPEG"),
        (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
        (b"PK\x03\x04", "a zip archive"),
        (b"\xff\xd8\xff\xe0", "damaged or cut short, replace or remove it"),
        (b"noise", "a file of an unknown kind"),
    ],
)
def test_files_of_another_kind_are_named(content, message):
    with pytest.raises(DataError, match="x: no image that can be read: " + message):
        decode(content, "x", COLOUR)


def test_a_damaged_image_is_named_with_its_whole_path(tmp_path):
    name = "a/" + "long" * 50 + ".png"
    put(tmp_path, layout(unsplit={"a": 5, "b": 5}) | {name: png(colours())[:40]})
    with pytest.raises(DataError) as caught:
        folder_of().read_test(tmp_path)
    assert str(caught.value).startswith(
        f"{tmp_path / 'set' / name}: no image that can be read: dam"
    )
