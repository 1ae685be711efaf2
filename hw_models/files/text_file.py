"""Text files that people bring: of any system, with or without a byte-order mark."""

import codecs
import os
import tempfile
from pathlib import Path

from hw_models.errors import FileError

LARGEST_B = 2**30
MARKS = {  # UTF-32 first: the mark of UTF-16 is the beginning of its own
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
OTHER_KINDS = {  # what the first bytes of files without text say
    b"PK\x03\x04": "a ZIP archive or a spreadsheet (save its sheet as CSV)",
    b"\xd0\xcf\x11\xe0": "an old spreadsheet (save its sheet as CSV)",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"\x1f\x8b": "a gzip archive",
    b"\x89PNG": "a PNG image",
    b"\xff\xd8\xff": "a JPEG image",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "an SQLite database",
}


def read_text(path: Path, largest_B: int = LARGEST_B) -> str:
    r"""Reads a text file.

    Args:
        path: The file: UTF-8, or UTF-16 or UTF-32 with a byte-order mark.
        largest_B: Bytes that it may have.

    Returns:
        Its text without byte-order mark; every line ends in `\n`, whatever the file has.

    Raises:
        FileError: The file cannot be read, is empty, too large or no text.
    """
    try:
        if path.stat().st_size > largest_B:
            raise FileError(f"{path}: cannot be read: larger than {largest_B} bytes")
        content = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{path}: cannot be read ({reason})") from error
    return decode(content, str(path))


def decode(content: bytes, where: str) -> str:
    r"""The text of a file's content.

    Args:
        content: UTF-8, or UTF-16 or UTF-32 with a byte-order mark.
        where: Name of the file, for errors.

    Returns:
        The text without byte-order mark; every line ends in `\n`.

    Raises:
        FileError: The content is empty or no text.
    """
    if kind := next((k for start, k in OTHER_KINDS.items() if content.startswith(start)), None):
        raise FileError(f"{where}: cannot be read: {kind}, a text file is needed")
    encoding = next((e for mark, e in MARKS.items() if content.startswith(mark)), "utf-8")
    try:
        text = content.decode(encoding).replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        raise _undecodable(content[: error.start], encoding, where) from None
    if "\0" in text:
        cause = "UTF-16 without a byte-order mark" if _alternates(content) else "NUL bytes"
        raise FileError(f"{where}: cannot be read: {cause}, text saved as UTF-8 is needed")
    if not text.strip():
        raise FileError(f"{where}: the file is empty")
    return text


def _alternates(content: bytes) -> bool:
    """True where most bytes at even or at odd places are NUL, as in UTF-16 of western text."""
    return max(content[start::2].count(0) for start in (0, 1)) * 3 > len(content)


def _undecodable(before: bytes, encoding: str, where: str) -> FileError:
    if encoding in ("utf-16", "utf-32"):
        return FileError(f"{where}: cannot be read: damaged {encoding.upper()}, is it cut?")
    place = position(before.decode("utf-8").replace("\r\n", "\n").replace("\r", "\n"))
    return FileError(f"{where}: {place}: cannot be read: no UTF-8, save the file as UTF-8")


def write_text(path: Path, text: str) -> Path:
    """Writes a text file, which appears complete or not at all.

    Args:
        path: The file; it is replaced if it exists. Missing folders are created. Of a link the
            file that it leads to is replaced.
        text: Its content.

    Returns:
        The path.

    Raises:
        FileError: It cannot be written, or is a link to a file that does not exist.
    """
    if leads_nowhere(path):
        raise FileError(f"{path}: cannot be written (a link to a file that does not exist)")
    part = None
    try:
        target = Path(os.path.realpath(path))
        target.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=target.parent, suffix=".part")
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        Path(part).chmod(0o644)
        Path(part).replace(target)
    except (OSError, ValueError) as error:  # ValueError: a NUL in the path
        if part is not None:
            Path(part).unlink(missing_ok=True)
        reason = getattr(error, "strerror", None) or error
        raise FileError(f"{path}: cannot be written ({reason})") from error
    return path


def leads_nowhere(path: Path) -> bool:
    """True for a symbolic link to a file that does not exist."""
    return os.path.lexists(path) and not os.path.exists(path)


def position(before: str) -> str:
    """Where a text continues after its first part: `line 3, column 5`."""
    return f"line {before.count(chr(10)) + 1}, column {len(before) - before.rfind(chr(10))}"


def excerpt(text: str, start: int) -> str:
    """What a line has from a position on, as messages show it."""
    if start >= len(text.rstrip()):
        return "the end of the file (is it cut?)"
    shown = text[start:].partition("\n")[0]
    return (
        repr(shown if len(shown) <= 20 else shown[:20] + "...") if shown else "the end of the line"
    )
