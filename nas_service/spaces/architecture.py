"""A candidate network as data: its cells, its sizes, its canonical form and its digest."""

import functools
import hashlib
import json
import math
from dataclasses import MISSING, dataclass, fields
from typing import Any, cast

from nas_service.errors import SpecError, did_you_mean
from nas_service.spaces.cell import EDGE_NAMES, Cell
from nas_service.spaces.operations import PRESETS, operation

ChipSettings = tuple[tuple[str, int | str], ...]


@dataclass(frozen=True)
class Architecture:
    """Everything that defines a candidate: equal architectures are equal untrained networks."""

    cells: tuple[Cell, ...]  # from image to head; the map halves in between
    channels: int | tuple[int, ...]  # of the first cell, doubling from cell to cell; or of each
    head_pool: int  # side of the average pooling before the classifier, in pixels; GLOBAL: all
    hidden: int  # width of the classifier's hidden layer
    time_steps: int  # T
    weight_bits: int | tuple[tuple[str, int], ...]  # 2..8, symmetric; or by part or layer
    threshold: float = 1.0  # of all neurons whose operation sets none
    stem_stride: int = 1
    chip: tuple[tuple[str, int | str], ...] = ()  # settings of its chip that were drawn with it
    literal: bool = False  # the digest covers the cells as written, not their functions

    def __post_init__(self) -> None:
        if not self.cells:
            raise SpecError("cells: at least one cell is needed")
        for name in ("hidden", "time_steps", "stem_stride"):
            _whole(name, getattr(self, name), 1)
        _whole("head_pool", self.head_pool, GLOBAL)
        for value in self.channels if isinstance(self.channels, tuple) else (self.channels,):
            _whole("channels", value, 1)
        if isinstance(self.channels, tuple) and len(self.channels) != len(self.cells):
            raise SpecError(f"channels = {list(self.channels)}: one for each cell is needed")
        for bits in self.all_bits:
            _whole("weight_bits", bits, 1)
            if not 2 <= bits <= 8:
                raise SpecError(f"weight_bits = {bits}: 2..8 is possible")
        if isinstance(self.weight_bits, tuple):
            self._check_bits({name for name, _ in self.weight_bits})
        if not isinstance(self.literal, bool):
            raise SpecError(f"literal = {self.literal!r}: true or false is needed")
        if not isinstance(self.threshold, float) or not 0 < self.threshold < math.inf:
            raise SpecError(f"threshold = {self.threshold!r}: a number > 0 is needed")
        if self.time_steps == 1 and any(cell.recurrent for cell in self.cells):
            raise SpecError("time_steps = 1: a backward edge needs 2 or more, it sends to the next")

    def _check_bits(self, names: set[str]) -> None:
        known = (set(parts_of(len(self.cells))), set(layers_of(len(self.cells))))
        if names not in known:
            raise SpecError(f"weight_bits: one number for each of {', '.join(sorted(known[0]))}")

    @property
    def all_bits(self) -> tuple[int, ...]:
        """The weight bits of all parts, or the one number for all."""
        bits = self.weight_bits
        return tuple(b for _, b in bits) if isinstance(bits, tuple) else (bits,)

    def bits(self, block: str) -> int:
        """Weight bits of a block: its own, those of its edge, its cell or the network."""
        if isinstance(self.weight_bits, int):
            return self.weight_bits
        known, (part, _, edge) = dict(self.weight_bits), block.partition(".edge")
        pair = "".join(sorted(edge[:2]))
        return known[part] if part in known else known[f"{part}.edge{pair}"]

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of each cell."""
        return widths_of(self.channels, len(self.cells))

    @property
    def connected(self) -> bool:
        """True where every cell lets its input through to its output."""
        return all(cell.connected for cell in self.cells)

    def canonical(self) -> dict[str, Any]:
        """Sizes, canonical cells and chip settings, of which the digest is made.

        Weight bits of edges are part of their operations, so those of dead edges do not matter.
        """
        values = self._plain()
        if isinstance(self.weight_bits, tuple):
            values["weight_bits"] = {n: b for n, b in self.weight_bits if not n.startswith("cell")}
        return {**values, "cells": [self._canonical(k) for k in range(len(self.cells))]}

    def _canonical(self, k: int) -> str:
        cell = self.cells[k]
        if isinstance(self.weight_bits, int):
            return cell.canonical()
        bits = [self.bits(f"cell{k}.edge{edge}") for edge in EDGE_NAMES]
        marked = (
            f"{name}:{b}" if operation(name).weighted else name
            for name, b in zip(cell.operations, bits, strict=True)
        )
        return cell.canonical(tokens=tuple(marked))

    def _plain(self) -> dict[str, Any]:
        """Fields as JSON values, without those that have their default."""
        values = {f.name: getattr(self, f.name) for f in fields(self)}
        for f in fields(self):
            if values[f.name] == f.default:
                del values[f.name]
        if isinstance(self.channels, tuple):
            values["channels"] = list(self.channels)
        for name in ("weight_bits", "chip"):
            if isinstance(values.get(name), tuple):
                values[name] = dict(values[name])
        return values

    @functools.cached_property
    def digest(self) -> str:
        """16 hex digits, equal only for functionally equal candidates; for literal ones, only
        where the cells are written alike."""
        text = json.dumps(self.to_json() if self.literal else self.canonical(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """The architecture as JSON values, without fields that have their default."""
        cells = [dict(zip(EDGE_NAMES, cell.operations, strict=True)) for cell in self.cells]
        return {**self._plain(), "cells": cells}

    @classmethod
    def from_json(
        cls, data: object, names: tuple[str, ...] = PRESETS["snasnet5"]
    ) -> "Architecture":
        """The inverse of `to_json`.

        Args:
            data: Parsed JSON. A cell may also be text in SNASNet's form.
            names: Operations by their digit in such text.

        Returns:
            The architecture, validated.

        Raises:
            SpecError: A key is missing, unknown or has a wrong value; the message names it.
        """
        optional = {f.name for f in fields(cls) if f.default is not MISSING}
        values = dict(_mapping(data, {f.name for f in fields(cls)}, "architecture", optional))
        cells, chip = values.pop("cells"), values.pop("chip", {})
        if not isinstance(cells, list | tuple) or not 1 <= len(cells) <= MAX_CELLS:
            raise SpecError(f"cells: a list of 1..{MAX_CELLS} cells is needed")
        if isinstance(values["channels"], list):
            values["channels"] = tuple(values["channels"])
        if isinstance(values["weight_bits"], dict):
            values["weight_bits"] = _in_order(values["weight_bits"], len(cells))
        if type(values.get("threshold")) is int:
            values["threshold"] = _float("threshold", values["threshold"])
        for name, most in LARGEST.items():
            _demand_bounded(name, values[name], most)
        return cls(cells=tuple(_cell(cell, names) for cell in cells), chip=_chip(chip), **values)


def widths_of(channels: int | tuple[int, ...], cells: int) -> tuple[int, ...]:
    """Channels of each cell: as given for each, or doubled from cell to cell."""
    if isinstance(channels, tuple):
        return channels
    return tuple(int(channels * 2**k) for k in range(cells))


GLOBAL = 0  # head_pool over the whole map, whatever its side
MAX_CELLS = 16
LARGEST = {"channels": 4096, "hidden": 65536, "time_steps": 4096}  # of architectures in files
SIZES = ("channels", "head_pool", "hidden", "time_steps", "weight_bits")


def parts_of(cells: int) -> tuple[str, ...]:
    """Parts of a network that can have weight bits of their own, in the order in which they run."""
    inner = [n for k in range(cells) for n in (f"cell{k}", f"reduction{k}")][:-1]
    return ("stem", *inner, "hidden", "readout")


def layers_of(cells: int) -> tuple[str, ...]:
    """Layers of a network that can have weight bits of their own: each edge by itself, in order."""
    names: list[str] = []
    for part in parts_of(cells):
        inner = [f"{part}.edge{edge}" for edge in EDGE_NAMES]
        names += inner if part.startswith("cell") else [part]
    return tuple(names)


def _in_order(bits: dict[str, Any], cells: int) -> tuple[tuple[str, Any], ...]:
    """Weight bits by part or layer, in the order in which these run."""
    for names in (parts_of(cells), layers_of(cells)):
        if bits.keys() == set(names):
            return tuple((name, bits[name]) for name in names)
    return tuple(bits.items())  # the architecture rejects it


def _float(name: str, value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        raise SpecError(f"{name} = {value!r:.40}...: a number > 0 is needed") from None


def _whole(name: str, value: Any, least: int) -> None:
    if type(value) is not int or value < least:
        raise SpecError(f"{name} = {value!r}: a whole number >= {least} is needed")


def _demand_bounded(name: str, values: Any, most: int) -> None:
    for value in values if isinstance(values, tuple) else (values,):
        if type(value) is int and value > most:
            raise SpecError(f"{name}: a number of at most {most} is needed, not {value!r:.40}")


def _chip(data: object) -> tuple[tuple[str, int | str], ...]:
    if not isinstance(data, dict) or not all(
        isinstance(key, str) and type(value) in (int, str) for key, value in data.items()
    ):
        raise SpecError(f"chip = {data!r:.80}: a table of whole numbers and words is needed")
    return tuple(data.items())


def _cell(data: object, names: tuple[str, ...]) -> Cell:
    if isinstance(data, str):
        return Cell.from_text(data, names)
    operations = _mapping(data, set(EDGE_NAMES), "cell")
    for edge, name in operations.items():
        if not isinstance(name, str):
            raise SpecError(f"cell edge {edge} = {name!r}: the name of an operation is needed")
    return Cell(tuple(cast(str, operations[edge]) for edge in EDGE_NAMES))


def _mapping(
    data: object, keys: set[str], what: str, optional: frozenset[str] | set[str] = frozenset()
) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise SpecError(f"{what}: a table with the keys {sorted(keys)} is needed, not {data!r:.60}")
    for key in data:
        if key not in keys:
            hint, known = did_you_mean(str(key), keys), ", ".join(sorted(keys))
            raise SpecError(f"{what}: unknown key {key!r:.60}{hint} (known: {known})")
    if missing := sorted(keys - optional - set(data)):
        raise SpecError(f"{what}: missing {missing}")
    return data
