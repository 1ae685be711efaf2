"""Chips that were measured: structure, operating points and measured figures, a file for each."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from hw_models.errors import FileError, ProfileError
from hw_models.files.toml_file import read_toml
from hw_models.parameters import Bounds, Quantity
from hw_models.setting import demand_known, number_within, table_of
from hw_models.silicon.macro import Macro, Point
from hw_models.silicon.processor import Processor

FOLDER = Path(__file__).parent / "chips"
COMPONENTS = ("rows", "array", "converters", "potentials", "digital")
FIGURES = ("energy", "latency", "area")
GROUPS = {
    "A": "shared constants were chosen with it",
    "B": "no constant was chosen with it",
    "reported": "outside of the count",
}
TEXTS = ("title", "group", "source", "notes")
PJ = Bounds("pJ", 1e-6, 1e9)
NS = Bounds("ns", 1e-3, 1e9)
MM2 = Bounds("mm2", 1e-6, 1e4)
STRUCTURES: dict[str, type[Macro] | type[Processor]] = {
    "structure": Macro,
    "processor": Processor,
}
Shape = TypeVar("Shape", bound="Macro | Processor | Point")


@dataclass(frozen=True)
class Measured:
    """A product at an operating point, and what was measured there; None where it was not."""

    point: Point
    energy_pJ: float | None
    latency_ns: float | None
    split_pJ: Mapping[str, float]  # component -> pJ, where the source gives them apart
    data: str  # what the measurement was of; points of unlike data are not fitted together


@dataclass(frozen=True)
class MeasuredChip:
    """A measured chip: a product of one crossbar, or a synaptic operation of a processor."""

    name: str
    title: str
    group: str  # of GROUPS
    source: str
    notes: str
    macro: Macro | Processor
    points: tuple[Measured, ...]
    area_mm2: float | None  # of one crossbar with its drivers and converters
    converter_bits: int  # that the converters were built for
    reasons: Mapping[str, str]  # figure or component -> why the model misses it


def known_chips() -> list[str]:
    """Names of the measured chips."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def load_chip(name: str) -> MeasuredChip:
    """Loads a measured chip.

    Args:
        name: One of `known_chips()`.

    Returns:
        The chip.

    Raises:
        ProfileError: It is unknown, or a figure is missing or out of range.
    """
    demand_known(name, known_chips(), "measured chip")
    return read_chip(FOLDER / f"{name}.toml")


def read_chip(path: Path) -> MeasuredChip:
    """Reads the file of a measured chip.

    Args:
        path: The file.

    Returns:
        The chip.

    Raises:
        ProfileError: The file cannot be read, or a figure is missing or out of range.
    """
    try:
        tree = read_toml(path)
    except FileError as error:
        raise ProfileError(f"measured chip {error}") from None
    where = path.name
    keys = {*TEXTS, *STRUCTURES, "points", "area", "reasons"}
    table_of(tree, keys, where, {*TEXTS, "points"})
    texts = {key: _text(tree, key, where) for key in TEXTS}
    demand_known(texts["group"], GROUPS, f"{where}: group")
    structure = _structure(tree, where)
    reasons = table_of(tree.get("reasons", {}), {*FIGURES, *COMPONENTS}, f"{where}: reasons", set())
    area = table_of(tree.get("area", {}), {"measured", "converter_bits"}, f"{where}: area", set())
    points = tree["points"]
    if not isinstance(points, list) or not points:
        raise ProfileError(f"{where}: points = {points!r:.60}: at least one [[points]] is needed")
    return MeasuredChip(
        path.stem,
        macro=structure,
        points=tuple(_measured(p, f"{where}: point {i + 1}") for i, p in enumerate(points)),
        area_mm2=_optional(area, "measured", MM2, f"{where}: area"),
        converter_bits=int(
            _optional(area, "converter_bits", Bounds("bits", 1, 16), f"{where}: area", whole=True)
            or 1
        ),
        reasons={key: _text(reasons, key, f"{where}: reasons") for key in reasons},
        **texts,
    )


def _structure(tree: Mapping[str, Any], where: str) -> Macro | Processor:
    """The one structure that a chip has."""
    given = [name for name in STRUCTURES if name in tree]
    if len(given) != 1:
        tables = " or ".join(f"[{name}]" for name in STRUCTURES)
        raise ProfileError(
            f"{where}: missing {tables}" if not given else f"{where}: {tables}, not both"
        )
    return _shape(STRUCTURES[given[0]], tree[given[0]], f"{where}: {given[0]}")


def _measured(data: object, where: str) -> Measured:
    """A point: its conditions, and the figures measured there."""
    own = {"energy", "latency", "split", "data"}
    names = {f.name for f in fields(Point)}
    table = table_of(data, own | names, where, {"name", "supply", "input_bits", "output_bits"})
    conditions = {key: value for key, value in table.items() if key in names}
    split = table_of(table.get("split", {}), set(COMPONENTS), f"{where}: split", set())
    return Measured(
        _shape(Point, conditions, where),
        _optional(table, "energy", PJ, where),
        _optional(table, "latency", NS, where),
        {key: _number(value, PJ, f"{where}: split: {key}") for key, value in split.items()},
        _text({"data": "", **table}, "data", where),
    )


def _shape(kind: type[Shape], data: object, where: str) -> Shape:
    """A dataclass from a table, each value within the bounds of its annotation."""
    hints = get_type_hints(kind, include_extras=True)
    needed = {f.name for f in fields(kind) if f.default is MISSING}
    table = table_of(data, set(hints), where, needed)
    return kind(**{key: _field(hints[key], value, key, where) for key, value in table.items()})


def _field(hint: Any, value: object, key: str, where: str) -> Any:
    if get_origin(hint) is Literal:
        if value not in get_args(hint):
            right = f"one of {', '.join(get_args(hint))} is needed"
            raise ProfileError(f"{where}: {key} = {value!r:.60}: {right}")
        return value
    if hint is str:
        return _text({key: value}, key, where)
    bounds, whole = hint.__metadata__[0], hint.__origin__ is int
    number = _number(value, bounds, f"{where}: {key}", whole=whole)
    return int(number) if whole else number


def _optional(
    table: Mapping[str, Any], key: str, bounds: Bounds, where: str, *, whole: bool = False
) -> float | None:
    if key not in table:
        return None
    return _number(table[key], bounds, f"{where}: {key}", whole=whole)


def _number(value: object, bounds: Bounds, where: str, *, whole: bool = False) -> float:
    if isinstance(value, str):
        raise ProfileError(f"{where} = {value!r:.60}: a number is needed")
    quantity = Quantity("", "", bounds.unit, 1.0, bounds.least, bounds.most, whole)
    return number_within(value, quantity, bounds.least, bounds.most, where)


def _text(table: Mapping[str, Any], key: str, where: str) -> str:
    value = table[key]
    if not isinstance(value, str):
        raise ProfileError(f"{where}: {key} = {value!r:.60}: text is needed")
    return value
