"""TOML documents from files that somebody else wrote."""

import re
import tomllib
from pathlib import Path
from typing import Any

from hw_models.errors import FileError
from hw_models.files.text_file import read_text

VALUE = "a value (text in double quotes, a number, true, false, a list [...] or a table {...})"
ADVICE = {  # by the beginning of the message of Python's parser
    "Invalid statement": "key = value or [table] is needed",
    "Invalid initial character for a key": "a key of letters, digits, - and _ is needed",
    "Expected '='": "key = value or [table] is needed",
    "Invalid value": f"{VALUE} is needed",
    "Invalid date": "a date as in 2026-01-31 is needed, or text in double quotes",
    "Cannot overwrite": "the key is given twice",
    "Duplicate inline table key": "the key is given twice",
    "Cannot declare": "the table is given twice",
    "Cannot redefine": "the table is given twice",
    "Cannot mutate": "the table is complete already, nothing can be added to it",
    "Unclosed array": "a list needs a comma between its values and ] at its end",
    "Unclosed inline table": "a table needs a comma between its keys and } at its end",
    "Unterminated string": "a text needs a quote at its end",
    "Expected newline": "one key = value on each line is needed",
    "Expected ']": "the name of a table needs ] at its end",
    "Expected": "a text needs a quote at its end",
    "Unescaped": r"a known escape is needed (a backslash itself is \\, or use '...')",
    "Invalid hex value": "hex digits are needed after the escape",
    "Escaped character": "a character that exists is needed after the escape",
    "Illegal character": "a line break or control character is not possible",
    "Found invalid character": "a line break or control character is not possible",
}
PLACE = re.compile(r" \(at (?:line ([0-9]+), column ([0-9]+)|end of document)\)$")


def read_toml(path: Path) -> dict[str, Any]:
    """Reads the document in a TOML file.

    Args:
        path: The file.

    Returns:
        The document as Python's dicts, lists, strings, numbers and dates.

    Raises:
        FileError: The file cannot be read or is not TOML; the message names line and column.
    """
    text = read_text(path)
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise FileError(f"{path}{_explained(str(error), text)}") from None
    except RecursionError:
        raise FileError(f"{path}: lists or tables are nested too deep") from None
    except ValueError:  # the only one that is no TOMLDecodeError: a number of thousands of digits
        raise FileError(f"{path}: not TOML: a number has too many digits") from None


def _explained(message: str, text: str) -> str:
    place = PLACE.search(message)
    known = (advice for start, advice in ADVICE.items() if message.startswith(start))
    advice = next(known, PLACE.sub("", message).lower())
    lines = text.rstrip("\n").split("\n")
    if place is None or place[1] is None:
        return f": line {len(lines)}, at its end: not TOML: {advice}, not in {lines[-1]!r:.60}"
    line = text.split("\n")[int(place[1]) - 1].strip()
    return f": line {place[1]}, column {place[2]}: not TOML: {advice}, not in {line!r:.60}"
