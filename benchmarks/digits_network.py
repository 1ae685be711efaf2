"""The network that several benchmarks train on the digits, and the study with its recipe."""

import argparse
from pathlib import Path

from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell

STUDY = Path(__file__).parent / "studies" / "digits.toml"
CELL = Cell(("conv3x3", "zeroize", "skip", "zeroize", "skip", "zeroize"))


def architecture(*cells: Cell) -> Architecture:
    """Two cells at the size that all these benchmarks use."""
    return Architecture(cells, 16, head_pool=1, hidden=96, time_steps=3, weight_bits=8)


ARCHITECTURE = architecture(CELL, CELL)


def add_study(options: argparse.ArgumentParser) -> None:
    """Adds the option `--study`."""
    options.add_argument("--study", type=Path, default=STUDY, help="recipe and split of the digits")
