"""The space `cells`: cells of four nodes and the sizes around them.

Every parameter is always present, so that every sampler sees one static space: a categorical
parameter for each edge of each cell, and ordered numbers for the sizes.
"""

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

from nas_service.errors import SpecError
from nas_service.spaces.architecture import GLOBAL, Architecture, layers_of, parts_of
from nas_service.spaces.cell import EDGE_NAMES, EDGES, Cell
from nas_service.spaces.operations import states_of

Number = int | float


class Suggest(Protocol):
    """What a space needs of a trial: optuna.Trial and FixedTrial have it."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str:
        """Draws one of the choices."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int:
        """Draws a whole number from `low` to `high`, both included."""


@dataclass(frozen=True)
class CellSpace:
    """The set of architectures that can be drawn. Sizes are given as ascending values."""

    operations: tuple[str, ...]
    cells: int
    channels: tuple[int, ...] | tuple[tuple[int, ...], ...]  # of the first cell, or of each
    head_pool: tuple[int, ...]
    hidden: tuple[int, ...]
    time_steps: tuple[int, ...]
    weight_bits: tuple[int, ...]
    bits_of: Literal["network", "part", "layer"] = "network"  # what has bits of its own
    threshold: tuple[float, ...] = (1.0,)
    stem_stride: int = 1
    backward: bool = False  # edges may lead backward, a time step late
    shared: bool = False  # all cells alike
    chip: tuple[tuple[str, tuple[int, ...] | tuple[str, ...]], ...] = ()  # settings and values
    literal: bool = False  # each genotype is a candidate of its own

    @cached_property
    def states(self) -> tuple[str, ...]:
        """The states that a pair of nodes can be in: an operation, in either direction."""
        return states_of(self.operations, self.backward)

    @cached_property
    def sizes(self) -> dict[str, tuple[Number, ...]]:
        """The ascending values of every size, by the name of its parameter."""
        sizes: dict[str, tuple[Number, ...]] = {}
        for k, values in enumerate(self.channels):
            if isinstance(values, tuple):
                sizes[f"channels_cell{k}"] = values
        if not sizes:
            sizes["channels"] = self.channels  # type: ignore[assignment]
        sizes |= {n: getattr(self, n) for n in ("head_pool", "hidden", "time_steps")}
        names = [f"weight_bits_{n.replace('.', '_')}" for n in self.bit_names] or ["weight_bits"]
        return sizes | dict.fromkeys(names, self.weight_bits) | {"threshold": self.threshold}

    @property
    def bit_names(self) -> tuple[str, ...]:
        """Parts or layers with weight bits of their own; empty where all have the same."""
        known = {"part": parts_of(self.cells), "layer": layers_of(self.cells)}
        return known.get(self.bits_of, ())

    def assemble(
        self,
        cells: tuple[Cell, ...],
        sizes: Mapping[str, Number],
        chip: tuple[tuple[str, int | str], ...] = (),
    ) -> Architecture:
        """The architecture of some cells.

        Args:
            cells: All cells.
            sizes: Sizes by the names of their parameters.
            chip: Settings of the chip that are searched.

        Returns:
            The architecture, with the sizes that the space fixes.
        """
        values: dict[str, Any] = dict(sizes)
        if "channels" not in values:
            each = (values.pop(f"channels_cell{k}") for k in range(self.cells))
            values["channels"] = tuple(each)
        if names := self.bit_names:
            bits = (values.pop(f"weight_bits_{n.replace('.', '_')}") for n in names)
            values["weight_bits"] = tuple(zip(names, bits, strict=True))
        values |= {"stem_stride": self.stem_stride, "literal": self.literal}
        return Architecture(cells, chip=chip, **values)

    def draw(self, trial: Suggest) -> Architecture:
        """The architecture that a trial suggests."""
        kinds = [self._draw_cell(trial, name) for name in self.cell_names]
        cells = tuple(kinds * self.cells if self.shared else kinds)
        sizes = {name: _draw_ordered(trial, name, values) for name, values in self.sizes.items()}
        chip = tuple((key, _draw_setting(trial, key, values)) for key, values in self.chip)
        return self.assemble(cells, sizes, chip)

    def parameters(self, architecture: Architecture) -> dict[str, int | str]:
        """The parameters of a trial for which `draw` returns this architecture.

        Raises:
            SpecError: The space does not contain the architecture; the message names the part.
        """
        self._check_shape(architecture)
        parameters: dict[str, int | str] = {}
        for name, cell in zip(self.cell_names, architecture.cells, strict=False):
            for edge, state in zip(EDGE_NAMES, cell.operations, strict=True):
                _demand(f"{name}_edge{edge}", state, self.states)
                parameters[f"{name}_edge{edge}"] = state
        own = self._sizes_of(architecture)
        for name, values in self.sizes.items():
            parameters |= _place_ordered(name, own[name], values)
        drawn = dict(architecture.chip)
        for key, settings in self.chip:
            parameters |= _place_setting(key, drawn[key], settings)
        return parameters

    @cached_property
    def choices(self) -> dict[str, tuple[Any, ...]]:
        """The values of every parameter by a readable name, in the order of iteration."""
        edges = {f"{cell} edge{e}": self.states for cell in self.cell_names for e in EDGE_NAMES}
        return edges | self.sizes | {f"chip {key}": values for key, values in self.chip}

    def codes(self, architecture: Architecture) -> tuple[int, ...]:
        """Positions of an architecture's values among the choices.

        Raises:
            SpecError: The space does not contain the architecture; the message names the part.
        """
        self.parameters(architecture)
        sizes, chip = self._sizes_of(architecture), dict(architecture.chip)
        edges = (s for cell in architecture.cells[: self.drawn_cells] for s in cell.operations)
        values = [*edges, *(sizes[n] for n in self.sizes), *(chip[key] for key, _ in self.chip)]
        return tuple(c.index(v) for c, v in zip(self.choices.values(), values, strict=True))

    def _check_shape(self, architecture: Architecture) -> None:
        """SpecError where an architecture is not made of the parts that the space draws."""
        cells, stride = architecture.cells, architecture.stem_stride
        _demand("cells", len(cells), (self.cells,))
        _demand("stem_stride", stride, (self.stem_stride,))
        if self.shared and len(set(cells)) > 1:
            raise SpecError("cells: all alike are needed, as the space shares one")
        if missing := sorted(self.sizes.keys() - self._sizes_of(architecture).keys()):
            raise SpecError(f"{missing[0]}: is not given alone, as the space draws it")
        searched, given = {key for key, _ in self.chip}, {key for key, _ in architecture.chip}
        if searched != given:
            raise SpecError(f"chip: sets {sorted(given)}, but the space draws {sorted(searched)}")

    def _sizes_of(self, architecture: Architecture) -> dict[str, Number]:
        """An architecture's sizes by the names of their parameters: the inverse of `assemble`."""
        a = architecture
        names = ("head_pool", "hidden", "time_steps", "threshold")
        sizes: dict[str, Number] = {name: getattr(a, name) for name in names}
        if isinstance(a.channels, tuple):
            sizes |= {f"channels_cell{k}": width for k, width in enumerate(a.channels)}
        else:
            sizes["channels"] = a.channels
        if isinstance(a.weight_bits, tuple):
            return sizes | {f"weight_bits_{n.replace('.', '_')}": b for n, b in a.weight_bits}
        return sizes | {"weight_bits": a.weight_bits}

    @property
    def cell_names(self) -> tuple[str, ...]:
        """Prefixes of the parameters of the cells that are drawn."""
        return ("cell",) if self.shared else tuple(f"cell{k}" for k in range(self.cells))

    def _draw_cell(self, trial: Suggest, cell: str) -> Cell:
        names = (f"{cell}_edge{edge}" for edge in EDGE_NAMES)
        return Cell(tuple(trial.suggest_categorical(name, self.states) for name in names))

    @property
    def drawn_cells(self) -> int:
        """Number of cells that are drawn: one where all are alike."""
        return len(self.cell_names)

    @property
    def cell_count(self) -> int:
        """Number of different choices of operations for one cell."""
        return int(len(self.states) ** len(EDGES))

    def cell(self, number: int) -> Cell:
        """A cell by its number in the order of iteration: a digit for each edge."""
        base = len(self.states)
        digits = [number // base**e % base for e in reversed(range(len(EDGES)))]
        return Cell(tuple(self.states[d] for d in digits))

    @property
    def size(self) -> int:
        """Number of genotypes; the number of different networks is smaller."""
        sizes = math.prod(len(values) for values in self.sizes.values())
        return int(self.cell_count**self.drawn_cells * sizes * self.chip_count)

    def chip_at(self, number: int) -> tuple[tuple[str, int | str], ...]:
        """A choice of chip settings by its number in the order of `chips`."""
        settings: list[tuple[str, int | str]] = []
        for key, values in reversed(self.chip):
            number, at = divmod(number, len(values))
            settings.append((key, values[at]))
        return tuple(reversed(settings))

    @property
    def chip_count(self) -> int:
        """Number of different choices of chip settings."""
        return math.prod(len(values) for _, values in self.chip)

    def __iter__(self) -> Iterator[Architecture]:
        """Every genotype once, in a fixed order."""
        cell = [Cell(states) for states in itertools.product(self.states, repeat=len(EDGES))]
        kinds = itertools.product(cell, repeat=self.drawn_cells)
        sizes = itertools.product(*self.sizes.values())
        for chosen, values, chip in itertools.product(kinds, sizes, self.chips()):
            cells = chosen * self.cells if self.shared else chosen
            yield self.assemble(cells, dict(zip(self.sizes, values, strict=True)), chip)

    def chips(self) -> Iterator[tuple[tuple[str, int | str], ...]]:
        """Every choice of chip settings; one empty choice where none is searched."""
        keys = [key for key, _ in self.chip]
        for values in itertools.product(*(values for _, values in self.chip)):
            yield tuple(zip(keys, values, strict=True))  # type: ignore[arg-type]


def _draw_setting(trial: Suggest, key: str, values: tuple[int, ...] | tuple[str, ...]) -> int | str:
    """A setting of the chip: numbers keep their order, names have none."""
    numbers = tuple(v for v in values if isinstance(v, int))
    if len(numbers) == len(values):
        return int(_draw_ordered(trial, f"chip_{key}", numbers))
    names = tuple(str(v) for v in values)
    return names[0] if len(names) == 1 else trial.suggest_categorical(f"chip_{key}", names)


def _draw_ordered(trial: Suggest, name: str, values: tuple[Number, ...]) -> Number:
    """A value of an ascending list, suggested so that the sampler knows the order.

    Evenly spaced whole values are suggested as they are; others (2, 4, 8) by their position, as
    the parameter `<name>_index`. A single value is no parameter.
    """
    if len(values) == 1:
        return values[0]
    if step := _step(values):
        return trial.suggest_int(name, int(values[0]), int(values[-1]), step=step)
    return values[trial.suggest_int(f"{name}_index", 0, len(values) - 1)]


def _step(values: tuple[Number, ...]) -> int:
    """Distance of evenly spaced whole values; 0 for others."""
    steps = {b - a for a, b in itertools.pairwise(values)}
    whole = all(isinstance(v, int) for v in values)
    return int(min(steps)) if whole and len(steps) == 1 and min(steps) > 0 else 0


def _place_ordered(name: str, value: Number, values: tuple[Number, ...]) -> dict[str, int | str]:
    """The parameter with which `_draw_ordered` gives the value."""
    _demand(name, value, values)
    if len(values) == 1:
        return {}
    return {name: int(value)} if _step(values) else {f"{name}_index": values.index(value)}


def _place_setting(
    key: str, value: int | str, values: tuple[int, ...] | tuple[str, ...]
) -> dict[str, int | str]:
    """The parameter with which `_draw_setting` gives the value."""
    _demand(f"chip.{key}", value, values)
    numbers = tuple(v for v in values if isinstance(v, int))
    if isinstance(value, int):
        return _place_ordered(f"chip_{key}", value, numbers)
    return {} if len(values) == 1 else {f"chip_{key}": value}


def _demand(name: str, value: Number | str, values: Sequence[Number | str]) -> None:
    if value not in values:
        known = ", ".join(_shown(name, v) for v in values)
        raise SpecError(f"{name} = {_shown(name, value)}: the space has {known}")


def _shown(name: str, value: Number | str) -> str:
    return "global" if name == "head_pool" and value == GLOBAL else str(value)
