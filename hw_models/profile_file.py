"""Chip profiles in files: read, completed from their base, and checked."""

import copy
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from hw_models.errors import FileError, ProfileError
from hw_models.files.toml_file import read_toml
from hw_models.node_scaling import METHODS, Scaling
from hw_models.parameters import CHOICES, DEFECTS, SCHEMA, Quantity
from hw_models.profile import HEAD, MODEL, Entry, Profile
from hw_models.setting import (
    choice_of,
    demand_known,
    finite_number,
    flag_of,
    number_within,
    table_of,
)
from hw_models.supply_scaling import SUPPLY, UNITS

FOLDER = Path(__file__).parent / "profiles"
DEFAULT = "rram_28nm"
MAX_BASES = 8
CHIPS: dict[str, Mapping[str, Any]] = {}  # chips without a file: the tables that it would have
NANOMETRES = Quantity("node", "node", "nm", 1.0, 1, 1000, whole=True)
TABLES = {"values": set(SCHEMA), "options": set(CHOICES), "switches": set(DEFECTS)}
# Keys whose range would change the events and not only their prices.
WITHOUT_RANGE = {"overlap", *(key for key, q in SCHEMA.items() if q.whole)}


def load_profile(name: str | Path) -> Profile:
    """Load a profile.

    Args:
        name: A name of `known_profiles()`, or the path of a file that ends in .toml.

    Returns:
        The chip, with its base's values where the file has none.

    Raises:
        ProfileError: No such profile, or a value that is missing or out of range.
    """
    return _load(name, "profile", 0)


def known_profiles() -> list[str]:
    """Names of the profiles that come with the program, and of those in CHIPS."""
    return sorted({*CHIPS, *(path.stem for path in FOLDER.glob("*.toml"))})


def _load(name: str | Path, what: str, depth: int) -> Profile:
    """A profile or its base; `what` begins the message where there is none."""
    path = Path(name) if _is_file(name) else FOLDER / f"{name}.toml"
    if path.parent == FOLDER:
        demand_known(path.stem, known_profiles(), what)
    if depth > MAX_BASES:
        raise ProfileError(
            f"profile {path.name}: more than {MAX_BASES} bases are based on each other"
        )
    tree = _tree(str(name), path, what)
    scaling = _scaling(tree.pop("node_scaling", None), path.name)
    supply = tree.pop("supply", None)
    base = tree.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise ProfileError(f"{path.name}: base = {base!r:.60}: the name of a profile is needed")
    inherited = None
    if base is not None:
        inherited = _load(_beside(path, base), f"{path.name}: base", depth + 1)
    profile = _scaled(_checked(tree, path, inherited), scaling)
    return profile if supply is None else profile.at_supply(_volts(supply, path.name))


def _volts(table: object, where: str) -> object:
    """The supply that a file asks for."""
    return table_of(table, {"V"}, f"{where}: supply")["V"]


def _scaling(table: object, where: str) -> Scaling | None:
    """What brings all figures to one node; None where the file does not ask for it."""
    if table is None:
        return None
    where = f"{where}: node_scaling"
    given = table_of(table, {"method", "node"}, where)
    if given["method"] not in METHODS:
        right = f"one of {', '.join(METHODS)} is needed"
        raise ProfileError(f"{where}: method = {given['method']!r:.60}: {right}")
    try:
        return Scaling(int(number_within(given["node"], NANOMETRES, 1, 1000, f"{where}: node")))
    except ProfileError as error:
        raise ProfileError(f"{where}: {error}") from None


def _scaled(profile: Profile, scaling: Scaling | None) -> Profile:
    """The profile with energies, areas and delays of other nodes at the node of the scaling."""
    if scaling is None:
        return profile
    entries = {}
    for key, entry in profile.entries.items():
        try:
            factor, node = scaling.of_figure(key, SCHEMA[key], entry.node)
        except ProfileError as error:
            raise ProfileError(f"{profile.name}.toml: {error}") from None
        entries[key] = replace(entry.times(factor, node), node=node)
    return replace(profile, entries=entries)


def _tree(name: str, path: Path, what: str) -> dict[str, Any]:
    """The tables of a profile, from CHIPS or its file."""
    if name in CHIPS:
        return copy.deepcopy(dict(CHIPS[name]))
    try:
        return read_toml(path)
    except FileError as error:
        raise ProfileError(f"{what} {error}") from None


def _is_file(name: str | Path) -> bool:
    return str(name).lower().endswith(".toml")


def _beside(path: Path, base: str) -> str | Path:
    return path.parent / base if _is_file(base) else base


def _checked(tree: dict[str, Any], path: Path, base: Profile | None) -> Profile:
    """A profile from its file; what the file leaves out is as in the base."""
    where = path.name
    for name, known in TABLES.items():
        if misplaced := sorted(known & tree.keys()):
            raise ProfileError(f"{where}: {misplaced[0]}: a line of it after [{name}] is needed")
    keys = {*HEAD, "values", "options", "switches"}
    if base is None and (missing := sorted(keys - set(tree))) and keys >= set(tree):
        raise ProfileError(
            f'{where}: missing {", ".join(missing)} (or base = "{DEFAULT}", from which they come)'
        )
    table_of(tree, keys | {"base"}, where, keys if base is None else set())
    head = _head(tree, path, base)
    values = _part(tree, "values", SCHEMA, base, where)
    options = _part(tree, "options", CHOICES, base, where)
    switches = _part(tree, "switches", DEFECTS, base, where)
    entries = {key: _entry(entry, key, head, where, base) for key, entry in values.items()}
    chosen = {key: choice_of(key, value, where) for key, value in options.items()}
    flags = {key: flag_of(key, value, where) for key, value in switches.items()}
    if base is not None:
        entries, chosen = {**base.entries, **entries}, {**base.options, **chosen}
        flags = {**base.switches, **flags}
    profile = Profile(path.stem, head, entries, chosen, flags)
    _ = profile.chip
    return profile


def _head(tree: Mapping[str, Any], path: Path, base: Profile | None) -> dict[str, str]:
    """The texts about a profile; with a base those that the file does not give follow from it."""
    for key in [key for key in HEAD if key in tree]:
        if not isinstance(tree[key], str):
            raise ProfileError(f"{path.name}: {key} = {tree[key]!r:.60}: text is needed")
    if tree.get("model", MODEL) != MODEL:
        raise ProfileError(f"{path.name}: model = {tree['model']!r:.60}: known is {MODEL!r}")
    head = {key: tree[key] for key in HEAD if key in tree}
    if base is None:
        return head
    inherited = [key for key in HEAD if key not in tree]
    defaults = dict(base.head) | {
        "title": f"{base.head['title']}, changed in {path.name}",
        "notes": f"Based on {base.name}: {', '.join(inherited)} follow from it.",
    }
    return {key: head.get(key, defaults[key]) for key in HEAD}


def _part(
    tree: dict[str, Any], name: str, keys: Iterable[str], base: Profile | None, where: str
) -> dict[str, Any]:
    """A table of a profile: complete, or with a base the part that differs from it."""
    known = set(keys)
    needed = known if base is None else set()
    return table_of(tree.get(name, {}), known, f"{where}: {name}", needed)


ENTRY = {"value", "unit", "source"}
ENTRY_OPTIONAL = {"node", "licence", "low", "high", "fitted", "supply"}


def _entry(
    entry: object, key: str, head: Mapping[str, Any], where: str, base: Profile | None
) -> Entry:
    """A figure with its origin; with a base also a plain number in the figure's unit."""
    at, quantity = f"{where}: {key}", SCHEMA[key]
    if base is not None and not isinstance(entry, dict):
        number = _figure(entry, quantity, at)
        before = base.entries[key]
        source = f"set in {where}, {before.value:g} in {base.name}"
        return replace(before.with_value(key, number, where), source=source)
    table = table_of(entry, ENTRY | ENTRY_OPTIONAL, at, ENTRY)
    if table["unit"] != quantity.unit:
        raise ProfileError(f"{at}: unit = {table['unit']!r:.60}: {quantity.unit!r} is needed")
    for field in ("source", "node", "licence"):
        text = table.get(field, head.get(field))
        if not isinstance(text, str) or not text.strip():
            raise ProfileError(f"{at}: {field} = {text!r:.60}: the origin of the number is needed")
    value = _figure(table["value"], quantity, at)
    low, high = _range(table, key, value, at)
    return Entry(
        value=value,
        source=table["source"],
        node=table.get("node", head["node"]),
        licence=table.get("licence", head["licence"]),
        low=low,
        high=high,
        fitted=_fitted(table.get("fitted"), value, at),
        supply=_supply(table.get("supply"), quantity, at),
    )


def _supply(value: object, quantity: Quantity, at: str) -> float | None:
    """V at which a figure holds; None where its source does not say it."""
    if value is None:
        return None
    if quantity.unit not in UNITS:
        known = ", ".join(UNITS)
        raise ProfileError(f"{at}: supply: figures in {known} depend on one, not {quantity.unit!r}")
    return _figure(value, replace(SUPPLY, least=0.36, most=5.0), f"{at}: supply")


def _range(
    table: Mapping[str, Any], key: str, value: float, at: str
) -> tuple[float | None, float | None]:
    """`low` and `high` around the value, both or neither."""
    if ("low" in table) != ("high" in table):
        raise ProfileError(f"{at}: low and high belong together")
    if "low" not in table:
        return None, None
    if key in WITHOUT_RANGE:
        raise ProfileError(f"{at}: low and high: a range is not possible here, set the value")
    low, high = (_figure(table[end], SCHEMA[key], f"{at}: {end}") for end in ("low", "high"))
    if not low <= value <= high:
        raise ProfileError(f"{at} = {value:g}: low = {low:g} and high = {high:g} must enclose it")
    return low, high


def _fitted(bounds: object, value: float, at: str) -> tuple[float, float] | None:
    if bounds is None:
        return None
    ends = [finite_number(x) for x in bounds] if isinstance(bounds, list) else []
    if len(ends) != 2 or None in ends or not ends[0] <= value <= ends[1]:  # type: ignore[operator]
        raise ProfileError(f"{at}: fitted = {bounds!r:.60}: [least, most] around the value")
    return float(ends[0]), float(ends[1])  # type: ignore[arg-type]


def _figure(value: object, quantity: Quantity, where: str) -> float:
    if isinstance(value, str):
        raise ProfileError(f"{where} = {value!r:.60}: a number is needed")
    return number_within(value, quantity, quantity.least, quantity.most, where)
