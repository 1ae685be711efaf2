"""What is wrong with a value of a study file, and what would be right."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic_core import ErrorDetails

from nas_service.metrics import percent_hint

NEEDED = {
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "list_type": "a list",
    "tuple_type": "a list",
    "too_short": "a list of {min_length} or more values",
    "too_long": "a list of at most {max_length} values",
    "string_type": "text",
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing_size": "a whole number of fewer digits",
    "float_type": "a number",
    "finite_number": "a finite number",
    "greater_than": "a number greater than {gt}",
    "greater_than_equal": "a number of at least {ge}",
    "less_than": "a number less than {lt}",
    "less_than_equal": "a number of at most {le}",
    "literal_error": "{expected}",
    "json_invalid": "a JSON document",
}
"""What would be right, by pydantic's type of error; names in braces are of the error's context."""


def reason(faults: Sequence[ErrorDetails]) -> str:
    """What is wrong with one value, without its key.

    Args:
        faults: One for each form that the value can have, such as text or a list.

    Returns:
        One sentence with what would be right and the value: `a number of at most 4 is needed,
        not 5`.
    """
    for fault in faults:
        if fault["type"] == "value_error":  # raised by a check of this project
            return str(fault["ctx"]["error"])
        if fault["type"] == "missing":
            return "missing, this key is needed"
    context, value = faults[0].get("ctx", {}), faults[0]["input"]
    hint = percent_hint(value) if context.get("lt", context.get("le")) == 1 else ""
    shown = list(value) if isinstance(value, tuple) else value
    return f"{_needed(faults)} is needed, not {shown!r:.60}{hint}"


def _needed(faults: Sequence[ErrorDetails]) -> str:
    forms = [
        NEEDED.get(fault["type"], "another value").format_map(_short(fault.get("ctx", {})))
        for fault in faults
    ]
    *others, last = dict.fromkeys(forms)
    return f"{', '.join(others)} or {last}" if others else last


def _short(context: Mapping[str, Any]) -> dict[str, Any]:
    """The context, with numbers such as 1.0 as 1."""
    return {k: f"{v:g}" if isinstance(v, float) else v for k, v in context.items()}
