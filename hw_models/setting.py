"""Values of a chip's settings from a file or a command line, checked one by one."""

import difflib
import math
from collections.abc import Iterable
from typing import Any

from hw_models.errors import ProfileError
from hw_models.files.numerals import parse_number
from hw_models.parameters import CHOICES, Quantity


def number_within(value: object, q: Quantity, least: float, most: float, where: str) -> float:
    """The value as a number within bounds; text is read as a number.

    Args:
        value: A number, or its text.
        q: Whose unit it has.
        least: Lower bound in this unit.
        most: Upper bound in this unit.
        where: Begins the message of an error.

    Returns:
        The number, in the unit of `q`.

    Raises:
        ProfileError: It is no such number.
    """
    number = finite_number(value)
    if number is None or not least <= number <= most or (q.whole and number != int(number)):
        kind = "a whole number" if q.whole else "a number"
        right = f"{kind} in {least:g}..{most:g} {q.unit}".rstrip()
        raise ProfileError(f"{where} = {value!r:.60}: {right} is needed")
    return number


def choice_of(key: str, value: object, where: str) -> str:
    """The value of an option; ProfileError for none of its choices."""
    if value not in CHOICES[key]:
        right = f"one of {', '.join(CHOICES[key])} is needed"
        raise ProfileError(f"{where}: {key} = {value!r:.60}: {right}")
    return str(value)


def flag_of(key: str, value: object, where: str) -> bool:
    """The value of a switch, which may be text; ProfileError for another one."""
    names = {"true": True, "false": False}
    flag = names.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise ProfileError(f"{where}: {key} = {value!r:.60}: true or false is needed")
    return flag


def table_of(
    data: object, keys: set[str], where: str, needed: set[str] | None = None
) -> dict[str, Any]:
    """A table with known keys only.

    Args:
        data: The table.
        keys: The known keys.
        where: Begins the message of an error.
        needed: Keys that it must have; all by default.

    Returns:
        The table, as it was given.

    Raises:
        ProfileError: It is no table, or a key is unknown or missing.
    """
    if not isinstance(data, dict):
        raise ProfileError(f"{where}: a table is needed, not {data!r:.60}")
    for key in data:
        demand_known(key, keys, where)
    if missing := sorted((keys if needed is None else needed) - set(data)):
        raise ProfileError(f"{where}: missing {', '.join(missing)}")
    return data


def demand_known(key: str, keys: Iterable[str], where: str) -> None:
    """ProfileError for an unknown key, with the most similar one and all of them."""
    if key not in set(keys):
        near = difflib.get_close_matches(key, sorted(keys), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        known = ", ".join(sorted(keys))
        raise ProfileError(f"{where}: unknown {key!r:.60}{hint} (known: {known})")


def finite_number(value: object) -> float | None:
    """The value, or what its text says, as a number; None where it is none."""
    if isinstance(value, str):
        return parse_number(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
