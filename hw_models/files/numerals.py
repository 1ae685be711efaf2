"""Numbers in text that people write: a file, a command line, a name.

Python's `int` and `float` read more than that, such as `3_0`, `nan`, `٣` and ` 5 `, and
`str.isdigit` is true for `²`, which neither of them reads.
"""

import math
import re

WHOLE = re.compile(r"[0-9]{1,18}")
DECIMAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,5})?")
MOST_CHARACTERS = 400


def parse_whole(text: str) -> int | None:
    """The number that 1 to 18 digits 0..9 say; None for any other text."""
    return int(text) if WHOLE.fullmatch(text) else None


def parse_number(text: str) -> float | None:
    """The finite number that a decimal text says, such as `-1.5e-3`; None for any other text."""
    if len(text) > MOST_CHARACTERS or not DECIMAL.fullmatch(text):
        return None
    number = float(text)
    return number if math.isfinite(number) else None
