"""JSON documents from files that somebody else wrote."""

import json
import math
from pathlib import Path
from typing import Any

from hw_models.errors import FileError
from hw_models.files.text_file import LARGEST_B, excerpt, position, read_text

MOST_DIGITS = 400  # of a whole number: a float has at most 309 before its point
NEEDED = {  # by the beginning of the message of Python's parser
    "Expecting property name": "a key in double quotes",
    "Expecting ':'": "a colon after the key",
    "Expecting value": "a value (text in double quotes, a number, true, false, null, [ or {)",
    "Expecting ','": "a comma or the end of the list or table",
    "Illegal trailing comma": "no comma before the end of a list or table",
    "Extra data": "nothing after the end of the document",
    "Unterminated string": "text with a double quote at its end",
    "Invalid control character": r"\n or another escape in place of a control character",
    "Invalid \\u": r"four hex digits after \u",
    "Invalid \\escape": r"a known escape (a backslash itself is \\)",
}


def read_json(path: Path, largest_B: int = LARGEST_B) -> Any:
    """Reads the document in a JSON file.

    Args:
        path: The file.
        largest_B: Bytes that it may have.

    Returns:
        The document as Python's dicts, lists, strings and finite numbers.

    Raises:
        FileError: The file cannot be read or is not JSON; the message names line and column.
    """
    return parse_json(read_text(path, largest_B), str(path))


def parse_json(text: str, where: str) -> Any:
    """The document in a text of JSON.

    Args:
        text: One document; no key twice in a table, no number beyond what a float can hold.
        where: Name of the file, for errors.

    Returns:
        Tables as dictionaries, lists, text, numbers, booleans and None.

    Raises:
        FileError: It is not JSON; the message names line and column.
    """
    try:
        document = json.loads(
            text,
            object_pairs_hook=_table,
            parse_constant=_constant,
            parse_float=_decimal,
            parse_int=_whole,
        )
        if "\\ud" in text.lower():
            json.dumps(document, ensure_ascii=False).encode()
    except json.JSONDecodeError as error:
        needed = next((n for key, n in NEEDED.items() if error.msg.startswith(key)), "JSON")
        at, shown = position(text[: error.pos]), excerpt(text, error.pos)
        raise FileError(f"{where}: {at}: not JSON: {needed} is needed, not {shown}") from None
    except UnicodeEncodeError:
        raise FileError(f"{where}: not JSON: half of a surrogate pair in a text") from None
    except RecursionError:
        raise FileError(f"{where}: lists or tables are nested too deep") from None
    except FileError as error:  # of the functions below, which do not know the file
        raise FileError(f"{where}: {error}") from None
    return document


def _table(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    table = dict(pairs)
    if len(table) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise FileError(f"key {twice!r:.60} is given twice in one table")
    return table


def _constant(name: str) -> float:
    raise FileError(f"not JSON: a number is needed, not {name}")


def _decimal(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise FileError(f"{text:.60}: a number below 1.8e308 is needed")
    return number


def _whole(text: str) -> int:
    if len(text) > MOST_DIGITS:
        raise FileError(
            f"{text:.20}...: a number of {len(text)} digits, {MOST_DIGITS} are possible"
        )
    return int(text)
