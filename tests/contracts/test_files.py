"""What every kind of file that people bring promises: see tests/support/file_kinds.py."""

import codecs
import contextlib
import io
import random
import zipfile
from pathlib import Path

import pytest
from file_kinds import KINDS
from image_trees import colours, png

from hw_models import HardwareError
from nas_service.errors import NasError

TEXTS = [name for name, kind in KINDS.items() if kind.text]
PARTS = [name for name, kind in KINDS.items() if kind.cut is not None]
LIBRARY_WORDS = ("BytesIO", "cannot identify", "0x", "Errno", "Error", "codec", "Expecting", "\n")
LIBRARY_WORDS += ("not a zip", "broken", "(char ", "at line", "Traceback", "can't", "subset")


def changed(content, kind):
    """The same text as other programs and systems write it."""
    text = content.decode()
    return {
        "byte-order mark": codecs.BOM_UTF8 + content,
        "UTF-16": text.encode("utf-16"),
        "CRLF": text.replace("\n", "\r\n").encode(),
        "CR": text.replace("\n", "\r").encode(),
        "mark and CRLF": codecs.BOM_UTF8 + text.replace("\n", "\r\n").encode(),
        "no line end": text.rstrip("\n").encode(),
    }[kind]


def archive():
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as file:
        file.writestr("notes.txt", "nothing of use")
    return packed.getvalue()


OTHER_KINDS = {
    "nothing": b"",
    "blanks": b" \n\n",
    "page": b"<!DOCTYPE html><html><body>404 Not Found</body></html>\n",
    "PDF": b"%PDF-1.7\n" + bytes(range(256)) * 40,
    "pickle": b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x08builtins\x94.",
    "image": png(colours()),
    "archive": archive(),
    "database": b"SQLite format 3\0" + bytes(84),
    "JSON": b'{"weights": [1, 2, 3]}\n',
    "Latin-1": "Größe = 5\n".encode("latin-1"),
}
ANY_NUMBER = {"data set, images", "data set, cifar10_dvs"}  # of files
READABLE = {("archive", "data set, zip"), ("image", "data set, images")}
READABLE |= {("image", "data set, tiny_imagenet")}  # an image is an image by another name
READABLE |= {("JSON", "spike rates")}  # of the layer `weights`


@pytest.mark.parametrize("name", TEXTS)
def test_text_of_any_system_is_the_same(name, tmp_path):
    kind = KINDS[name]
    expected = kind.read(kind.put(tmp_path / "one"))
    for way in ("byte-order mark", "UTF-16", "CRLF", "CR", "mark and CRLF", "no line end"):
        assert kind.read(kind.put(tmp_path / way, changed(kind.content, way))) == expected, way


@pytest.mark.parametrize("name", [n for n in KINDS if "." in Path(KINDS[n].name).name])
def test_suffixes_may_have_any_case(name, tmp_path):
    kind = KINDS[name]
    expected = kind.read(kind.put(tmp_path / "one"))
    path = Path(kind.name)
    upper = kind.put(tmp_path / "two", name=str(path.with_suffix(path.suffix.swapcase())))
    assert kind.read(upper) == expected


def refused(kind, folder, content):
    """The message for a file that cannot be read: one line that names it."""
    path = kind.put(folder, content)
    with pytest.raises((NasError, HardwareError)) as caught:
        kind.read(path)
    message = str(caught.value)
    assert str(path) in message or path.name in message, message
    assert not [word for word in LIBRARY_WORDS if word in message], message
    assert "secret" not in message
    return message


@pytest.mark.parametrize("name", KINDS)
def test_another_kind_of_file_is_refused(name, tmp_path):
    for other, content in OTHER_KINDS.items():
        if (other, name) not in READABLE:
            refused(KINDS[name], tmp_path / other, content)


@pytest.mark.parametrize("name", PARTS)
def test_a_cut_file_is_refused(name, tmp_path):
    refused(KINDS[name], tmp_path, KINDS[name].part)


@pytest.mark.parametrize("name", TEXTS)
def test_a_file_cut_anywhere_is_read_or_refused(name, tmp_path):
    kind = KINDS[name]
    for size in range(0, len(kind.content), 1 + len(kind.content) // 20):
        message = ""
        try:
            kind.read(kind.put(tmp_path, kind.content[:size]))
        except (NasError, HardwareError) as error:
            message = str(error)
        assert not [word for word in LIBRARY_WORDS if word in message.replace("\n", "")], message


HOSTILE = (b"\0", b"\xff", b'"', b"{", b"]", b",", b";", b"\n", b"1e999", b"nan", b"-1", b"9" * 30)
HOSTILE += (b"\xc2\xb2", b"\xe2\x80\xa8", b"\\ud800", b"null", b"true", b"\x1b[31m", b"_", b"")


@pytest.mark.parametrize("name", [*TEXTS, "NIR graph", "weights"])
def test_a_file_changed_anywhere_is_read_or_refused(name, tmp_path):
    kind, rng = KINDS[name], random.Random(name)
    for _ in range(12):
        start = rng.randrange(len(kind.content))
        end = start + rng.choice((0, 1, 3))
        content = kind.content[:start] + rng.choice(HOSTILE) + kind.content[end:]
        with contextlib.suppress(NasError, HardwareError):
            kind.read(kind.put(tmp_path, content))


@pytest.mark.parametrize("name", sorted(KINDS.keys() - ANY_NUMBER))
def test_a_file_that_is_missing_is_named(name, tmp_path):
    kind = KINDS[name]
    path = kind.put(tmp_path)
    path.unlink()
    with pytest.raises((NasError, HardwareError)) as caught:
        kind.read(path)
    assert "Errno" not in str(caught.value)
