"""Values that a reader of the pages types or chooses, checked before anything is computed."""

from collections.abc import Mapping

from hw_models.files.numerals import parse_number
from nas_service.errors import SpecError


def whole_number(query: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    """A parameter of a page's address.

    Args:
        query: The parameters.
        name: Of the parameter.
        least: The smallest number that is possible.
        most: The largest number that is possible.

    Returns:
        The number; None where the parameter is missing.

    Raises:
        SpecError: It is no whole number between the two.
    """
    if (text := query.get(name)) is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10 and least <= int(text) <= most):
        raise SpecError(f"{name} = {text!r:.40}: a whole number from {least} to {most} is needed")
    return int(text)


def any_number(query: Mapping[str, str], name: str) -> float | None:
    """A parameter of a page's address that is any finite number; None where it is missing.

    Raises:
        SpecError: It is none.
    """
    if (text := query.get(name)) is None:
        return None
    if (value := parse_number(text)) is None:
        raise SpecError(f"{name} = {text!r:.40}: a number is needed")
    return value
