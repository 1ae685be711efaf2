"""Types of single values in a study file, each with its check.

A check raises ValueError, or SpecError where its sentence is complete by itself; `loading` prefixes
it with the key.
"""

import functools
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field

from hw_models.parameters import CHOICES, SCHEMA
from nas_service.errors import SpecError, did_you_mean, pick
from nas_service.metrics import METRICS, PROXIES
from nas_service.spaces.architecture import GLOBAL
from nas_service.spaces.operations import operations_of

T = TypeVar("T")

INITIAL = ("published", "extremes", "cheapest")  # candidates to begin with, by name
FRONT = "front:"  # prefix of the study whose front a search begins with
SEARCHABLE = tuple(key for key, quantity in SCHEMA.items() if quantity.whole)
WINDOWS_DEVICES = {"con", "prn", "aux", "nul"} | {
    f"{d}{n}" for d in ("com", "lpt") for n in "123456789"
}


def study_name(name: str) -> str:
    """Checks that a study's name is safe in paths, URLs and terminals.

    Returns:
        The name.

    Raises:
        SpecError: The name holds other characters, is too long, or is a device of Windows.
    """
    legal = name.isascii() and all(c.isalnum() or c in "._-" for c in name)
    device = name.partition(".")[0].lower() in WINDOWS_DEVICES
    if not legal or not 1 <= len(name) <= 64 or name.startswith((".", "-")) or device:
        raise SpecError(
            f"name {name!r:.80}: 1..64 letters, digits, '.', '_', '-' are possible, "
            "no leading dot or dash, no device name of Windows"
        )
    return name


def _as_fault(check: Callable[[T], T]) -> Callable[[T], T]:
    """The check, whose SpecError becomes a ValueError: a fault of its key, beside all others."""

    @functools.wraps(check)
    def checked(value: T) -> T:
        try:
            return check(value)
        except SpecError as error:
            raise ValueError(str(error)) from None

    return checked


@_as_fault
def _metric(name: str) -> str:
    pick(METRICS, name, "metric")
    return name


@_as_fault
def _proxy(name: str) -> str:
    pick(PROXIES, name, "proxy")
    return name


@_as_fault
def _operations(choice: str | tuple[str, ...]) -> str | tuple[str, ...]:
    operations_of(choice)
    return choice


@_as_fault
def _initial(entry: str | dict[str, Any]) -> str | dict[str, Any]:
    """A name, `front:NAME`, a cell as text, or an architecture as a table."""
    if isinstance(entry, dict) or entry in INITIAL or set(entry) <= set("0123456789 "):
        return entry
    if entry.startswith(FRONT):
        study_name(entry.removeprefix(FRONT))
        return entry
    raise ValueError(
        f"{entry!r:.80}{did_you_mean(entry, INITIAL)}: {', '.join(INITIAL)}, {FRONT}STUDY, a cell "
        "as text, an architecture as a table, or its .json file in a study file"
    )


@_as_fault
def _chip_key(key: str) -> str:
    """A chip setting that may be searched: a whole number of its structure, or an option."""
    pick({**dict.fromkeys(SEARCHABLE), **CHOICES}, key, "searchable chip setting")
    return key


def _inner_path(path: str) -> str:
    """A path that cannot lead out of the folder it is relative to."""
    parts = path.replace("\\", "/").split("/")
    if not path.isprintable() or parts[0] == "" or ".." in parts or ":" in parts[0]:
        raise ValueError(f"{path!r:.80}: a path below the data folder is needed")
    return path


# --- one value, or several to choose from


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list | tuple) else (value,)


def _as_tuples(value: Any) -> Any:
    """Channels of the first cell, or a list of lists: those of each cell."""
    if isinstance(value, list | tuple) and value and isinstance(value[0], list | tuple):
        return tuple(_as_tuple(each) for each in value)
    return _as_tuple(value)


def ascending(values: tuple[int, ...]) -> tuple[int, ...]:
    """The values, which must ascend without repeats.

    Raises:
        ValueError: They do not.
    """
    if list(values) != sorted(set(values)):
        raise ValueError(f"{list(values)} must ascend without repeats")
    return values


def _each_ascending(values: tuple[Any, ...]) -> tuple[Any, ...]:
    if values and isinstance(values[0], tuple):
        return tuple(ascending(each) for each in values)
    return ascending(values)


def _of_one_type(values: tuple[int | str, ...]) -> tuple[int | str, ...]:
    if len(set(values)) != len(values) or len({type(v) for v in values}) > 1:
        raise ValueError(f"{list(values)}: different numbers, or different words, are needed")
    if isinstance(values[0], int) and list(values) != sorted(values):
        raise ValueError(f"{list(values)} must ascend without repeats")
    return values


def _pool_sides(value: Any) -> Any:
    sides = tuple(GLOBAL if v == "global" else v for v in _as_tuple(value))
    for text in (v for v in sides if isinstance(v, str)):
        hint = did_you_mean(text, {"global"})
        raise ValueError(f"{text!r:.40}{hint}: pixels, or 'global', are needed")
    return sides


def _pools_ascending(pools: tuple[int, ...]) -> tuple[int, ...]:
    """`global` may be anywhere in the list; it is drawn as the largest."""
    sides = tuple(p for p in pools if p != GLOBAL)
    if pools.count(GLOBAL) > 1:
        raise ValueError("'global' is listed twice")
    return (*ascending(sides), *(p for p in pools if p == GLOBAL))


def one_or_more(item: Any) -> Any:
    """The type of one value, or of several ascending ones to choose from."""
    many = tuple[item, ...]
    length = Field(min_length=1, max_length=64)
    return Annotated[many, length, BeforeValidator(_as_tuple), AfterValidator(ascending)]


Count = Annotated[int, Field(ge=1, le=10**9)]
Bits = Annotated[int, Field(ge=2, le=8)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
MetricName = Annotated[str, AfterValidator(_metric)]
ProxyName = Annotated[str, AfterValidator(_proxy)]
Operations = Annotated[str | tuple[str, ...], AfterValidator(_operations)]
InitialTrial = Annotated[str | dict[str, Any], AfterValidator(_initial)]
InnerPath = Annotated[str, AfterValidator(_inner_path)]
Epochs = Annotated[tuple[Count, ...], AfterValidator(ascending)]
ChipKey = Annotated[str, AfterValidator(_chip_key)]
ChipChoices = Annotated[
    tuple[int | str, ...], Field(min_length=1, max_length=64), AfterValidator(_of_one_type)
]
PoolSides = Annotated[
    tuple[Annotated[int, Field(ge=0, le=64)], ...],
    Field(min_length=1, max_length=64),
    BeforeValidator(_pool_sides),
    AfterValidator(_pools_ascending),
]
_Widths = Annotated[
    tuple[Annotated[int, Field(ge=1, le=1024)], ...], Field(min_length=1, max_length=64)
]
Channels = Annotated[
    _Widths | Annotated[tuple[_Widths, ...], Field(min_length=1)],
    BeforeValidator(_as_tuples),
    AfterValidator(_each_ascending),
]
