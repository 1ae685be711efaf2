"""Names of files and folders as people write them: numbers, suffixes, accents."""

import os
import re
import unicodedata
from pathlib import Path
from typing import Any


def natural(name: str) -> list[Any]:
    """A key that sorts numbers in names by their value: 10 after 9."""
    parts: list[Any] = re.split(r"([0-9]+)", name)  # text and digits alternate
    digits = [part.lstrip("0") for part in parts[1::2]]
    parts[1::2] = [(len(number), number) for number in digits]
    return parts


def lower_suffix(name: str) -> str:
    """The name with its suffixes in lower case, which is how names of files are compared."""
    stem, dot, suffix = name[name.rfind("/") + 1 :].partition(".")
    return f"{name[: name.rfind('/') + 1]}{stem}{dot}{suffix.lower()}"


def class_name(folder: str) -> str:
    """The name of a class: the folder's in Unicode's composed form (NFC), as systems differ."""
    return unicodedata.normalize("NFC", folder)


def existing(path: Path) -> Path | None:
    """The path, or one beside it whose suffix is in another case; None where neither exists."""
    if os.path.exists(path):
        return path
    wanted = lower_suffix(path.name)
    try:
        beside = sorted(os.listdir(path.parent))
    except OSError:
        return None
    return next((path.parent / name for name in beside if lower_suffix(name) == wanted), None)


def shown(name: object) -> str:
    """A path as one line of a message; unprintable characters are escaped."""
    text = str(name)
    return text if text.isprintable() else repr(text)[1:-1]
