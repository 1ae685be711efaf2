"""Chip profiles: data files whose every number has a unit, a node, a licence and a source."""

import difflib
import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from hw_models.chip import Chip
from hw_models.cost_model import CostModel
from hw_models.errors import FileError, ProfileError
from hw_models.layer_table import LayerTable
from hw_models.numerals import parse_number
from hw_models.parameters import CHOICES, DEFECTS, SCHEMA, Figures, Options, Quantity, ScriptDefects
from hw_models.report import BatchReport, HardwareReport
from hw_models.toml_file import read_toml
from hw_models.workload import Workload

FOLDER = Path(__file__).parent / "profiles"
DEFAULT = "corrected"
MODEL = "crossbar"
HEAD = ("title", "model", "node", "licence", "source", "notes")
MAX_BASES = 8
# Keys whose range would change the events and not only their prices.
WITHOUT_RANGE = {"overlap", *(key for key, q in SCHEMA.items() if q.whole)}


@dataclass(frozen=True)
class Entry:
    """One number of a profile, in the unit of its key."""

    value: float
    source: str
    node: str
    licence: str
    low: float | None = None  # ends of the interval that the figure is believed to be in
    high: float | None = None
    fitted: tuple[float, float] | None = None  # range that depending figures were measured in


@dataclass(frozen=True)
class Profile:
    """A chip and where its figures come from.

    Args:
        name: Of the file.
        head: Texts by HEAD.
        entries: Figures by SCHEMA, in the units of the file.
        options: Choices by CHOICES.
        switches: Defects of SpikeSim's script by DEFECTS: whether each is reproduced.
    """

    name: str
    head: Mapping[str, str]
    entries: Mapping[str, Entry]
    options: Mapping[str, str]
    switches: Mapping[str, bool]

    @cached_property
    def chip(self) -> Chip:
        """The chip in SI units."""
        return self.chip_at({})

    @cached_property
    def cost_model(self) -> CostModel:
        """The costs of workloads on this chip."""
        return CostModel(self.chip)

    def chip_at(self, values: Mapping[str, float]) -> Chip:
        """The chip with some figures replaced, unchecked, in the units of the file."""
        si = {
            q.attribute: _si(values.get(key, self.entries[key].value), q)
            for key, q in SCHEMA.items()
        }
        return Chip(
            self.name,
            Figures(**si),  # type: ignore[arg-type]
            Options(**self.options),  # type: ignore[arg-type]
            ScriptDefects(**self.switches),
        )

    @property
    def values(self) -> dict[str, float]:
        """The figures in the units of the file."""
        return {key: entry.value for key, entry in self.entries.items()}

    @property
    def settings(self) -> dict[str, float | str | bool]:
        """Everything that `with_values` can change: switches, options and figures by key."""
        return {**self.switches, **self.options, **self.values}

    def estimate(self, workload: Workload) -> HardwareReport:
        """Costs of one inference on this chip, with every breakdown."""
        return self.cost_model.estimate(workload)

    def estimate_batch(self, workloads: LayerTable | list[Workload]) -> BatchReport:
        """Totals of N workloads on this chip, the same as `estimate` gives one by one."""
        table = workloads if isinstance(workloads, LayerTable) else LayerTable.stack(workloads)
        return self.cost_model.estimate_batch(table)

    def with_values(self, changes: Mapping[str, Any]) -> "Profile":
        """The same chip with some settings replaced; figures in the units of the file.

        A figure that is set has no interval any more.

        Args:
            changes: key of `settings` -> value, or its text as on a command line.

        Raises:
            ProfileError: An unknown key, a value out of range, or an impossible chip.
        """
        where = f"profile {self.name}"
        entries, options = dict(self.entries), dict(self.options)
        switches = dict(self.switches)
        for key, value in changes.items():
            _known(key, [*SCHEMA, *CHOICES, *DEFECTS], where)
            if key in SCHEMA:
                entries[key] = _set(entries[key], key, value, where)
            elif key in CHOICES:
                options[key] = _choice(key, value, where)
            else:
                switches[key] = _flag(key, value, where)
        changed = Profile(self.name, self.head, entries, options, switches)
        _ = changed.chip  # checks that the figures fit together
        return changed

    @property
    def ranges(self) -> dict[str, tuple[float, float, float]]:
        """(low, value, high) of every figure that has an interval."""
        return {
            key: (e.low, e.value, e.high)
            for key, e in self.entries.items()
            if e.low is not None and e.high is not None
        }

    @property
    def digest(self) -> str:
        """16 hex digits that are equal for equal settings and ranges, to record with results."""
        text = json.dumps([MODEL, sorted(self.settings.items()), sorted(self.ranges.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _si(value: float, quantity: Quantity) -> float:
    return int(value) if quantity.whole else value * quantity.factor


def load_profile(name: str | Path) -> Profile:
    """Load a profile.

    Args:
        name: A name of `known_profiles()`, or the path of a file that ends in .toml.

    Raises:
        ProfileError: No such profile, or a value that is missing or out of range.
    """
    return _load(name, 0)


def known_profiles() -> list[str]:
    """Names of the profiles that come with the program."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def _load(name: str | Path, depth: int) -> Profile:
    path = Path(name) if _is_file(name) else FOLDER / f"{name}.toml"
    if path.parent == FOLDER:
        _known(path.stem, known_profiles(), "profile")
    if depth > MAX_BASES:
        raise ProfileError(
            f"profile {path.name}: more than {MAX_BASES} bases are based on each other"
        )
    try:
        tree = read_toml(path)
    except FileError as error:
        raise ProfileError(f"profile {error}") from None
    base = tree.pop("base", None)
    if base is not None and not isinstance(base, str):
        raise ProfileError(f"{path.name}: base = {base!r:.60}: the name of a profile is needed")
    return _checked(tree, path, None if base is None else _load(_beside(path, base), depth + 1))


def _is_file(name: str | Path) -> bool:
    return str(name).lower().endswith(".toml")


def _beside(path: Path, base: str) -> str | Path:
    return path.parent / base if _is_file(base) else base


def _checked(tree: dict[str, Any], path: Path, base: Profile | None) -> Profile:
    where = path.name
    _exactly(tree, {*HEAD, "values", "options", "switches"}, where)
    for key in HEAD:
        if not isinstance(tree[key], str):
            raise ProfileError(f"{where}: {key} = {tree[key]!r:.60}: text is needed")
    if tree["model"] != MODEL:
        raise ProfileError(f"{where}: model = {tree['model']!r:.60}: known is {MODEL!r}")
    values = _part(tree, "values", SCHEMA, base, where)
    options = _part(tree, "options", CHOICES, base, where)
    switches = _part(tree, "switches", DEFECTS, base, where)
    entries = {key: _entry(entry, key, tree, where) for key, entry in values.items()}
    chosen = {key: _choice(key, value, where) for key, value in options.items()}
    flags = {key: _flag(key, value, where) for key, value in switches.items()}
    if base is not None:
        entries, chosen = {**base.entries, **entries}, {**base.options, **chosen}
        flags = {**base.switches, **flags}
    head = {key: tree[key] for key in HEAD}
    profile = Profile(path.stem, head, entries, chosen, flags)
    _ = profile.chip
    return profile


def _part(
    tree: dict[str, Any], name: str, keys: Iterable[str], base: Profile | None, where: str
) -> dict[str, Any]:
    """A table of a profile: complete, or with a base the part that differs from it."""
    at, known = f"{where}: {name}", set(keys)
    needed = set() if base is not None else known
    return _exactly(tree[name], known, at, needed)


ENTRY = {"value", "unit", "source"}
ENTRY_OPTIONAL = {"node", "licence", "low", "high", "fitted"}


def _entry(entry: object, key: str, head: Mapping[str, Any], where: str) -> Entry:
    at, quantity = f"{where}: {key}", SCHEMA[key]
    table = _exactly(entry, ENTRY | ENTRY_OPTIONAL, at, ENTRY)
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
    )


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
    ends = [_number(x) for x in bounds] if isinstance(bounds, list) else []
    if len(ends) != 2 or None in ends or not ends[0] <= value <= ends[1]:  # type: ignore[operator]
        raise ProfileError(f"{at}: fitted = {bounds!r:.60}: [least, most] around the value")
    return float(ends[0]), float(ends[1])  # type: ignore[arg-type]


def _figure(value: object, quantity: Quantity, where: str) -> float:
    if isinstance(value, str):
        raise ProfileError(f"{where} = {value!r:.60}: a number is needed")
    return _within(value, quantity, quantity.least, quantity.most, where)


def _within(value: object, q: Quantity, least: float, most: float, where: str) -> float:
    """The value as a number within bounds; text is read as a number."""
    number = _number(value)
    if number is None or not least <= number <= most or (q.whole and number != int(number)):
        kind = "a whole number" if q.whole else "a number"
        right = f"{kind} in {least:g}..{most:g} {q.unit}".rstrip()
        raise ProfileError(f"{where} = {value!r:.60}: {right} is needed")
    return number


def _set(entry: Entry, key: str, value: object, where: str) -> Entry:
    """The entry with another value, within the range that its figures were measured in."""
    quantity = SCHEMA[key]
    least, most = entry.fitted or (quantity.least, quantity.most)
    number = _within(value, quantity, least, most, f"{where}: {key}")
    return replace(entry, value=number, low=None, high=None)


def _choice(key: str, value: object, where: str) -> str:
    if value not in CHOICES[key]:
        right = f"one of {', '.join(CHOICES[key])} is needed"
        raise ProfileError(f"{where}: {key} = {value!r:.60}: {right}")
    return str(value)


def _flag(key: str, value: object, where: str) -> bool:
    names = {"true": True, "false": False}
    flag = names.get(value.lower()) if isinstance(value, str) else value
    if not isinstance(flag, bool):
        raise ProfileError(f"{where}: {key} = {value!r:.60}: true or false is needed")
    return flag


def _exactly(
    data: object, keys: set[str], where: str, needed: set[str] | None = None
) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ProfileError(f"{where}: a table is needed, not {data!r:.60}")
    for key in data:
        _known(key, keys, where)
    if missing := sorted((keys if needed is None else needed) - set(data)):
        raise ProfileError(f"{where}: missing {', '.join(missing)}")
    return data


def _known(key: str, keys: Iterable[str], where: str) -> None:
    if key not in set(keys):
        near = difflib.get_close_matches(key, sorted(keys), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        known = ", ".join(sorted(keys))
        raise ProfileError(f"{where}: unknown {key!r:.60}{hint} (known: {known})")


def _number(value: object) -> float | None:
    if isinstance(value, str):
        return parse_number(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None
