"""What is wrong with a file, in a user's words: no message of a library is passed on."""

import errno
import lzma
import tarfile
import zipfile
import zlib

DAMAGED = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError, zlib.error, lzma.LZMAError,
    zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip
KINDS = {
    b"PK\x03\x04": "a zip archive",
    b"\x1f\x8b": "a gzip file",
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf\x27\x1c": "a 7z archive",
    b"BZh": "a bzip2 file",
    b"\xfd7zXZ": "an xz file",
    b"\x28\xb5\x2f\xfd": "a Zstandard file",
    b"%PDF": "a PDF",
    b"II*\0": "a TIFF image",
    b"MM\0*": "a TIFF image",
    b"8BPS": "a Photoshop image",
    b"\x89HDF": "an HDF5 file",
    b"\x93NUMPY": "a NumPy array",
    b"<": "a text file (HTML, XML or SVG)",
    b"{": "a text file (JSON)",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself",
}
"""The first bytes of files that are taken for another kind."""
HEIF = {b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif"}  # brands, from byte 8


def reason(error: Exception) -> str:
    """Why a file cannot be read.

    Args:
        error: One of DAMAGED, or what an image library raised.

    Returns:
        The system's reason where it refused the file; else that the file is damaged, as an archive
        is whose positions lie before its start (EINVAL).
    """
    if isinstance(error, OSError) and error.strerror and error.errno != errno.EINVAL:
        return f"unreadable ({error.strerror})"
    if isinstance(error, NotImplementedError):
        return "packed by a method that is not read: pack it again (deflate or stored)"
    return "damaged or cut short"


def kind_of(content: bytes) -> str:
    """What a file is by its first bytes.

    Args:
        content: The file, or its first bytes.

    Returns:
        "an empty file", the kind with its article, or "a file of an unknown kind".
    """
    if not content:
        return "an empty file"
    if content[4:8] == b"ftyp" and content[8:12] in HEIF:
        return "a HEIC or AVIF image"
    kinds = (kind for start, kind in KINDS.items() if content.startswith(start))
    return next(kinds, "a file of an unknown kind")
