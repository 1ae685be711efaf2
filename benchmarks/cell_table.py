"""A table of trained spiking cells, SpikeNAS-Bench's CIFAR-10 part, and targets within it."""

import argparse
import csv
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nas_service.samplers.greybox.pareto import hypervolume, nondominated
from nas_service.samplers.greybox.problem import Bound
from nas_service.spaces.cell import EDGE_NAMES, Cell
from nas_service.spaces.operations import PRESETS

Floats = NDArray[np.float64]
Ints = NDArray[np.intp]
STATES = PRESETS["bench-threshold"]
MULTIPLICATIONS = {
    "c1": 128 * 128 * 9 * 1024,
    "c2": 256 * 256 * 9 * 256,
    "down": 128 * 256 * 9 * 1024,
}
REFERENCE_ACCURACY = 80.0
EPOCHS = ("known", "unknown", "dropped")  # dropped: networks of more than the fewest


@dataclass(frozen=True, eq=False)
class Table:
    """Trained cells with a path, R rows."""

    codes: Ints  # [R, 6]
    validation: Floats  # [R] accuracy, per cent
    test: Floats
    crossbars: Floats
    energy: Floats  # 1e9 operations
    seconds: Floats
    functions: Ints  # [R] equal for cells of one canonical form
    doublings: Floats  # [R] of the epochs, over the fewest; 0 where samplers do not know them

    @classmethod
    def read(cls, table: Path, firing: Path, epochs: str = "known") -> "Table":
        """Reads both CSV files; `epochs` is one of `EPOCHS`."""
        with table.open(newline="") as file:
            rows = list(csv.DictReader(file))
        with firing.open(newline="") as file:
            rates = list(csv.DictReader(file))
        cells = [Cell(tuple(STATES[int(r[f"e{e}"])] for e in EDGE_NAMES)) for r in rows]
        if epochs != "unknown" and "n_epochs" not in rows[0]:
            raise SystemExit(f"{table}: no column n_epochs; --epochs unknown does without")
        longer = np.zeros(len(rows)) if epochs == "unknown" else _doublings(rows)
        wanted = longer == 0 if epochs == "dropped" else np.full(len(rows), True)
        kept = [n for n, cell in enumerate(cells) if cell.connected and wanted[n]]
        functions = np.unique([cells[n].canonical() for n in kept], return_inverse=True)[1]
        codes = np.array([[int(rows[n][f"e{e}"]) for e in EDGE_NAMES] for n in kept])

        def column(name: str) -> Floats:
            return np.array([float(rows[n][name]) for n in kept])

        return cls(
            codes.astype(np.intp),
            column("val_last"),
            column("test"),
            360.0 * (codes >= 2).sum(1) + 148,
            np.array([_energy(rates[n]) for n in kept]),
            column("train_s"),
            functions.reshape(-1),
            longer[kept],
        )

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def row_of(self) -> dict[tuple[int, ...], int]:
        """Row numbers by the codes of the cell."""
        return {tuple(codes): n for n, codes in enumerate(self.codes.tolist())}

    def longer(self, codes: Ints) -> Floats:
        """Doublings of the epochs of cells [N]; 0 of those that have no row."""
        rows = [self.row_of.get(tuple(row)) for row in codes.tolist()]
        return np.array([0.0 if row is None else self.doublings[row] for row in rows])

    def values(self, accuracy: Floats) -> Floats:
        """Objectives to minimise [R, 3], scaled from the best, 0, to the reference, 1."""
        points = np.stack([100 - accuracy, self.crossbars, self.energy], -1)
        best = np.array([100 - self.test.max(), self.crossbars.min(), self.energy.min()])
        worst = np.array([100 - REFERENCE_ACCURACY, *self.largest])
        return (points - best) / (worst - best)

    @property
    def largest(self) -> tuple[float, float]:
        """References of crossbars and energy."""
        return 1.05 * float(self.crossbars.max()), 1.05 * float(self.energy.max())

    @cached_property
    def _true(self) -> float:
        return hypervolume(self.values(self.test))

    def ratio(self, visited: list[int]) -> float:
        """Hypervolume of the visited rows, over that of the true front."""
        rows = np.array(visited)
        front = rows[nondominated(self.values(self.validation)[rows])]
        return hypervolume(self.values(self.test)[front]) / self._true


def _doublings(rows: list[dict[str, str]]) -> Floats:
    """Of the epochs, over the fewest [R]."""
    doublings = np.log2([float(r["n_epochs"]) for r in rows])
    return np.asarray(doublings - doublings.min())


def _energy(rates: dict[str, str]) -> float:
    """Multiplications weighted by firing rates; -1 marks a layer that is absent."""
    total = 0.0
    for name, text in rates.items():
        part = name.partition("_")[0]
        if part in MULTIPLICATIONS:
            total += max(0.0, float(text)) * MULTIPLICATIONS[part]
    return total / 1e9


@dataclass(frozen=True)
class Target:
    """Least accuracy, and budgets."""

    accuracy: float
    crossbars: float = np.inf
    energy: float = np.inf

    @classmethod
    def of(cls, text: str) -> "Target":
        """Reads `accuracy>=..,crossbars<=..,energy<=..`."""
        limits: dict[str, float] = {}
        for part in text.split(","):
            name, sign, value = part.partition(">=" if ">=" in part else "<=")
            wanted = ">=" if name.strip() == "accuracy" else "<="
            if sign != wanted or name.strip() not in ("accuracy", "crossbars", "energy"):
                raise argparse.ArgumentTypeError(f"{part!r}: accuracy>=, crossbars<=, energy<=")
            limits[name.strip()] = float(value)
        if "accuracy" not in limits:
            raise argparse.ArgumentTypeError(f"{text!r}: accuracy>= is needed")
        return cls(**limits)

    def within(self, table: Table) -> NDArray[np.bool_]:
        return (table.crossbars <= self.crossbars) & (table.energy <= self.energy)

    def met(self, table: Table) -> NDArray[np.bool_]:
        return self.within(table) & (table.test >= self.accuracy)

    @property
    def bounds(self) -> tuple[Bound, ...]:
        pairs = (("crossbars", self.crossbars), ("energy", self.energy))
        return tuple(Bound(name, at_most=most) for name, most in pairs if np.isfinite(most))
