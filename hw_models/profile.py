"""Chip profiles: data files whose every number has a unit and a source."""

import difflib
import hashlib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from hw_models.errors import ProfileError
from hw_models.report import HardwareReport
from hw_models.rram import SpikeSimChip
from hw_models.workload import Workload

FOLDER = Path(__file__).parent / "profiles"
HEAD = ("title", "model", "node", "licence", "source", "notes")

# Whole numbers: key -> (unit, least, most)
_COUNTS = {
    "crossbar_size": ("cells", 1, 65536),
    "pes_per_tile": ("count", 1, 65536),
    "columns_per_adc": ("count", 1, 65536),
    "clocks_per_read": ("count", 1, 10**6),
    "bits_per_value": ("bits", 1, 1024),
}
_PARTS = ("crossbar", "adc", "mux", "subtractor", "temp_buffer", "tile_buffer", "h_tree")
_ENERGIES = (*(f"{part}_energy" for part in _PARTS), "fetch_energy", "neuron_energy")
_AREAS = (*(f"{part}_area" for part in _PARTS), "sram_bit_area")


@dataclass(frozen=True)
class Quantity:
    """What a key of a profile may hold."""

    unit: str
    attribute: str  # of the chip, in SI units
    factor: float = 1.0
    least: float = 0.0
    most: float = 1e12
    whole: bool = False

    def checked(self, value: object, where: str) -> float:
        """The value, a number within bounds; text is read as a number."""
        number = _number(value)
        if number is None or not self.least <= number <= self.most or not self._fits(number):
            kind = "a whole number" if self.whole else "a number"
            right = f"{kind} in {self.least:g}..{self.most:g} {self.unit} is needed"
            raise ProfileError(f"{where} = {value!r:.60}: {right}")
        return number

    def _fits(self, number: float) -> bool:
        return number == int(number) if self.whole else True


SCHEMA: dict[str, Quantity] = {
    **{k: Quantity(u, k, 1, a, b, whole=True) for k, (u, a, b) in _COUNTS.items()},
    "clock": Quantity("MHz", "clock_Hz", 1e6, 1e-6, 1e6),
    **{key: Quantity("pJ", f"{key}_J", 1e-12) for key in _ENERGIES},
    **{key: Quantity("um2", f"{key}_m2", 1e-12) for key in _AREAS},
}


@dataclass(frozen=True)
class Profile:
    """A chip and where its figures come from."""

    name: str
    head: Mapping[str, str]
    values: Mapping[str, float]  # in the units of the file
    sources: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def chip(self) -> SpikeSimChip:
        si = {q.attribute: self._si(key, q) for key, q in SCHEMA.items()}
        return SpikeSimChip(name=self.name, **si)  # type: ignore[arg-type]

    def _si(self, key: str, quantity: Quantity) -> float:
        value = self.values[key]
        return int(value) if quantity.whole else value * quantity.factor

    def estimate(self, workload: Workload) -> HardwareReport:
        """Costs of one inference on this chip."""
        return self.chip.estimate(workload)

    def with_values(self, changes: Mapping[str, Any]) -> "Profile":
        """The same chip with some figures replaced, given in the units of the file."""
        for key in changes:
            _known(key, SCHEMA, f"profile {self.name}")
        checked = {k: SCHEMA[k].checked(v, f"profile {self.name}: {k}") for k, v in changes.items()}
        return Profile(self.name, self.head, {**self.values, **checked}, self.sources)

    @property
    def digest(self) -> str:
        """Equal for equal figures: 16 hex digits to record beside results."""
        text = json.dumps([self.head["model"], sorted(self.values.items())])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def load_profile(name: str | Path) -> Profile:
    """A profile by name, or from a path that ends in .toml; ProfileError if it is not sound."""
    path = Path(name) if str(name).endswith(".toml") else FOLDER / f"{name}.toml"
    if path.parent == FOLDER:
        _known(path.stem, known_profiles(), "profile")
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise ProfileError(f"profile {path}: {error}") from error
    return _checked(tree, path.stem, str(path.name))


def known_profiles() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def _checked(tree: dict[str, Any], name: str, where: str) -> Profile:
    _exactly(tree, {*HEAD, "values"}, where)
    for key in HEAD:
        if not isinstance(tree[key], str):
            raise ProfileError(f"{where}: {key} = {tree[key]!r:.60}: text is needed")
    if tree["model"] != "spikesim":
        raise ProfileError(f"{where}: model = {tree['model']!r:.60}: known is 'spikesim'")
    _exactly(tree["values"], set(SCHEMA), f"{where}: values")
    entries = {key: _entry(tree["values"][key], key, where) for key in SCHEMA}
    head = {key: tree[key] for key in HEAD}
    numbers = {key: value for key, (value, _) in entries.items()}
    return Profile(name, head, numbers, {key: source for key, (_, source) in entries.items()})


def _entry(entry: object, key: str, where: str) -> tuple[float, str]:
    at = f"{where}: {key}"
    table = _exactly(entry, {"value", "unit", "source"}, at)
    quantity = SCHEMA[key]
    if table["unit"] != quantity.unit:
        raise ProfileError(f"{at}: unit = {table['unit']!r:.60}: {quantity.unit!r} is needed")
    if not isinstance(table["source"], str) or not table["source"].strip():
        raise ProfileError(f"{at}: source: say where the number comes from")
    if isinstance(table["value"], str):
        raise ProfileError(f"{at} = {table['value']!r:.60}: a number is needed")
    return quantity.checked(table["value"], at), table["source"]


def _exactly(data: object, keys: set[str], where: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise ProfileError(f"{where}: a table is needed, not {data!r:.60}")
    for key in data:
        _known(key, keys, where)
    if missing := sorted(keys - set(data)):
        raise ProfileError(f"{where}: missing {', '.join(missing)}")
    return data


def _known(key: str, keys: Iterable[str], where: str) -> None:
    if key not in set(keys):
        near = difflib.get_close_matches(key, sorted(keys), n=1)
        hint = f", did you mean {near[0]!r}?" if near else ""
        known = ", ".join(sorted(keys))
        raise ProfileError(f"{where}: unknown {key!r:.60}{hint} (known: {known})")


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
