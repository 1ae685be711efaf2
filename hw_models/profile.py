"""Chips whose every number has a unit, a node, a licence and a source."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from hw_models.chip import Chip
from hw_models.cost_model import CostModel
from hw_models.errors import ProfileError
from hw_models.layer_index import LayerIndex
from hw_models.layer_table import LayerTable
from hw_models.parameters import (
    CHOICES,
    DEFECTS,
    FIGURES_OF,
    SCHEMA,
    Figures,
    Options,
    Quantity,
    ScriptDefects,
)
from hw_models.recorded import RecordedInputs
from hw_models.report import BatchReport, HardwareReport
from hw_models.setting import choice_of, demand_known, flag_of, number_within
from hw_models.supply_scaling import SUPPLY, UNITS, factor
from hw_models.workload import Workload

MODEL = "crossbar"
HEAD = ("title", "model", "node", "licence", "source", "notes")


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
    supply: float | None = None  # V at which it holds, where the source has it
    scaled: str = ""  # what it was multiplied by, to hold at another node or supply

    def with_value(self, key: str, value: object, where: str) -> "Entry":
        """The entry with another value and no interval.

        Args:
            key: Of SCHEMA.
            value: A number in the unit of the key, or its text.
            where: Begins the message of an error.

        Returns:
            The changed entry.

        Raises:
            ProfileError: A value out of the range that its figures were measured in.
        """
        quantity = SCHEMA[key]
        least, most = self.fitted or (quantity.least, quantity.most)
        number = number_within(value, quantity, least, most, f"{where}: {key}")
        return replace(self, value=number, low=None, high=None, supply=None, scaled="")

    def times(self, factor: float, reason: str) -> "Entry":
        """The entry with value and interval multiplied by a factor, which its text then says.

        Args:
            factor: Above 0; 1 leaves the entry as it is.
            reason: What the factor is of, such as "energy x 0.59 from 45 nm".

        Returns:
            The scaled entry.
        """
        if factor == 1:
            return self
        ends = [None if x is None else x * factor for x in (self.low, self.high)]
        texts = "; ".join(x for x in (self.scaled, reason) if x)
        return replace(self, value=self.value * factor, low=ends[0], high=ends[1], scaled=texts)


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

    def estimate(
        self, workload: Workload, recorded: Mapping[str, RecordedInputs] | None = None
    ) -> HardwareReport:
        """Costs of one inference on this chip, with every breakdown; see `CostModel.estimate`."""
        return self.cost_model.estimate(workload, recorded)

    def estimate_batch(self, workloads: LayerTable | LayerIndex | list[Workload]) -> BatchReport:
        """Totals of N workloads on this chip, the same as `estimate` gives one by one."""
        layers = LayerTable.stack(workloads) if isinstance(workloads, list) else workloads
        return self.cost_model.estimate_batch(layers)

    def with_values(self, changes: Mapping[str, Any]) -> "Profile":
        """The same chip with some settings replaced; figures in the units of the file.

        A figure that is set has no interval any more.

        Args:
            changes: key of `settings` -> value, or its text as on a command line. `supply`, in V,
                scales the figures whose source says its supply before others are replaced.

        Returns:
            The changed chip.

        Raises:
            ProfileError: An unknown key, a value out of range, or an impossible chip.
        """
        where = f"profile {self.name}"
        changes = dict(changes)
        supplied = self.at_supply(changes.pop("supply")) if "supply" in changes else self
        entries, options = dict(supplied.entries), dict(self.options)
        switches = dict(self.switches)
        for key, value in changes.items():
            demand_known(key, [*SCHEMA, *CHOICES, *DEFECTS], where)
            if key in SCHEMA:
                entries[key] = entries[key].with_value(key, value, where)
            elif key in CHOICES:
                options[key] = choice_of(key, value, where)
            else:
                switches[key] = flag_of(key, value, where)
        changed = Profile(self.name, self.head, entries, options, switches)
        _ = changed.chip  # checks that the figures fit together
        self._demand_figures(changed, changes, where)
        return changed

    def _demand_figures(self, changed: "Profile", given: Mapping[str, Any], where: str) -> None:
        """ProfileError for an option that this profile has no figures for, and none are given."""
        if changed.options["rows"] == "driven" != self.options["rows"]:
            for key in FIGURES_OF["rows"]:
                if changed.entries[key].value == 0:
                    raise ProfileError(
                        f"{where}: rows = driven: {key} = 0 {SCHEMA[key].unit}: a figure above 0 "
                        f"is needed, set {key} as well"
                    )
        levels = changed.options["adc"] == "sar_levels"
        if levels and self.options["adc"] == "sar" and "sar_level_energy" not in given:
            raise ProfileError(
                f"{where}: adc = sar_levels: sar_level_energy = "
                f"{self.entries['sar_level_energy'].value:g} pJ is that of the converter sar: a "
                "figure of its own is needed, set sar_level_energy as well"
            )

    def at_supply(self, supply: object) -> "Profile":
        """The chip at another supply voltage: figures whose source says its supply are scaled.

        Args:
            supply: In V, or its text.

        Returns:
            The changed chip.

        Raises:
            ProfileError: A supply out of the range of measured chips, or no figure has one.
        """
        where = f"profile {self.name}: supply"
        volts = number_within(supply, SUPPLY, SUPPLY.least, SUPPLY.most, where)
        if all(entry.supply is None for entry in self.entries.values()):
            raise ProfileError(f"{where}: no figure says the supply at which it holds")
        entries = dict(self.entries)
        for key, entry in self.entries.items():
            if entry.supply is not None:
                kind = UNITS[SCHEMA[key].unit]
                ratio = factor(kind, volts, entry.supply)
                reason = f"{kind} x {ratio:.3g} from {entry.supply:g} V"
                entries[key] = replace(entry.times(ratio, reason), supply=volts)
        return replace(self, entries=entries)

    @property
    def scaled(self) -> dict[str, str]:
        """Figures that were scaled to another node or supply, and by what."""
        return {key: entry.scaled for key, entry in self.entries.items() if entry.scaled}

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
