"""The space `cells`: cells of four nodes and the sizes around them.

Every parameter is always present (no conditional ones), so that every sampler sees one static
space: a categorical per cell and edge, and ordered integers for the sizes.
"""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from nas_service.spaces.architecture import EDGE_NAMES, SIZES, Architecture, Cell


class Suggest(Protocol):
    """What a space asks of a trial: optuna.Trial, FixedTrial and a seeded die all fit."""

    def suggest_categorical(self, name: str, choices: Sequence[str]) -> str: ...

    def suggest_int(self, name: str, low: int, high: int, *, step: int = 1) -> int: ...


@dataclass(frozen=True)
class CellSpace:
    """Which architectures can be drawn. Sizes are given as ascending values."""

    operations: tuple[str, ...]
    cells: int
    channels: tuple[int, ...]
    head_pool: tuple[int, ...]
    hidden: tuple[int, ...]
    time_steps: tuple[int, ...]
    weight_bits: tuple[int, ...]
    chip: tuple[tuple[str, tuple[int, ...] | tuple[str, ...]], ...] = ()  # settings and values

    def draw(self, trial: Suggest) -> Architecture:
        """One architecture, chosen by the trial."""
        cells = tuple(self._draw_cell(trial, k) for k in range(self.cells))
        sizes = {name: _draw_ordered(trial, name, getattr(self, name)) for name in SIZES}
        chip = tuple((key, _draw_setting(trial, key, values)) for key, values in self.chip)
        return Architecture(cells=cells, chip=chip, **sizes)

    def _draw_cell(self, trial: Suggest, k: int) -> Cell:
        names = (f"cell{k}_edge{edge}" for edge in EDGE_NAMES)
        return Cell(tuple(trial.suggest_categorical(name, self.operations) for name in names))

    @property
    def cell_count(self) -> int:
        """Different choices of operations for one cell."""
        return int(len(self.operations) ** len(EDGE_NAMES))

    def cell(self, number: int) -> Cell:
        """A cell by its number in the order of iteration: a digit for each edge."""
        base = len(self.operations)
        digits = [number // base**e % base for e in reversed(range(len(EDGE_NAMES)))]
        return Cell(tuple(self.operations[d] for d in digits))

    @property
    def size(self) -> int:
        """Number of genotypes; the number of different networks is smaller."""
        sizes = math.prod(len(getattr(self, name)) for name in SIZES)
        return int(self.cell_count**self.cells * sizes * self.chip_count)

    def chip_at(self, number: int) -> tuple[tuple[str, int | str], ...]:
        """A choice of chip settings by its number in the order of `chips`."""
        found: list[tuple[str, int | str]] = []
        for key, values in reversed(self.chip):
            number, at = divmod(number, len(values))
            found.append((key, values[at]))
        return tuple(reversed(found))

    @property
    def chip_count(self) -> int:
        """Different choices of chip settings."""
        return math.prod(len(values) for _, values in self.chip)

    def __iter__(self) -> Iterator[Architecture]:
        """Every genotype once, in a fixed order."""
        cell = [Cell(ops) for ops in itertools.product(self.operations, repeat=len(EDGE_NAMES))]
        cells = itertools.product(cell, repeat=self.cells)
        sizes = itertools.product(*(getattr(self, name) for name in SIZES))
        for chosen, values, chip in itertools.product(cells, sizes, self.chips()):
            yield Architecture(chosen, **dict(zip(SIZES, values, strict=True)), chip=chip)

    def chips(self) -> Iterator[tuple[tuple[str, int | str], ...]]:
        """Every choice of chip settings; one empty choice where none are searched."""
        keys = [key for key, _ in self.chip]
        for values in itertools.product(*(values for _, values in self.chip)):
            yield tuple(zip(keys, values, strict=True))  # type: ignore[arg-type]


def _draw_setting(trial: Suggest, key: str, values: tuple[int, ...] | tuple[str, ...]) -> int | str:
    """A setting of the chip: numbers keep their order, words have none."""
    numbers = tuple(v for v in values if isinstance(v, int))
    if len(numbers) == len(values):
        return _draw_ordered(trial, f"chip_{key}", numbers)
    words = tuple(str(v) for v in values)
    return words[0] if len(words) == 1 else trial.suggest_categorical(f"chip_{key}", words)


def _draw_ordered(trial: Suggest, name: str, values: tuple[int, ...]) -> int:
    """A value of an ascending list, drawn so that the sampler knows the order.

    Evenly spaced values are drawn as they are; others (2, 4, 8) by their position, under the
    name `<name>_index`. A single value is no parameter.
    """
    steps = {b - a for a, b in itertools.pairwise(values)}
    if not steps:
        return values[0]
    if len(steps) == 1:
        return trial.suggest_int(name, values[0], values[-1], step=steps.pop())
    return values[trial.suggest_int(f"{name}_index", 0, len(values) - 1)]
