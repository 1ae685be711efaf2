"""The small files that the benchmarks read in tests: pictures, tables of cells, studies."""

import itertools
import re
from pathlib import Path

import numpy as np
from PIL import Image

from nas_service.spaces.cell import EDGE_NAMES, Cell
from nas_service.spaces.operations import PRESETS

STUDIES = Path(__file__).parents[2] / "studies"
TRAIN, TEST = 10, 2  # pictures of each of ten classes


def write_images(folder):
    """Pictures of noise, 32x32."""
    rng = np.random.default_rng(0)
    for part, count in (("train", TRAIN), ("test", TEST)):
        for label in range(10):
            (folder / part / f"class{label}").mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(256, size=(32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(folder / part / f"class{label}" / f"{number}.png")


def write_table(path):
    """Connected cells as SpikeNAS-Bench lists them; each live convolution is worth 5 %."""
    rng, names, lines = np.random.default_rng(0), PRESETS["bench-threshold"], []
    while len(lines) < 60:
        row = rng.integers(len(names), size=len(EDGE_NAMES))
        cell = Cell(tuple(names[digit] for digit in row))
        if cell.connected:
            live = sum(name.startswith("conv") for name in cell.live().operations)
            test = 50 + 5 * live + rng.normal()
            lines += [",".join(map(str, [*row, test, 100]))] * (1 + len(lines) % 2)
    head = ",".join([*(f"e{edge}" for edge in EDGE_NAMES), "test", "n_epochs"])
    path.write_text("\n".join([head, *lines]) + "\n")


def write_bench(path, firing):
    """All of SpikeNAS-Bench's cells, with accuracies that grow with their convolutions; one in
    twenty is trained for twice the epochs and three convolutions better."""
    rng = np.random.default_rng(0)
    cells = list(itertools.product(range(len(PRESETS["bench-threshold"])), repeat=len(EDGE_NAMES)))
    rows, rates = [], []
    for cell in cells:
        epochs = 200 if rng.random() < 0.05 else 100
        accuracy = 60 + 3 * sum(digit > 1 for digit in cell) + 0.09 * epochs + rng.normal()
        rows.append([*cell, epochs, accuracy, accuracy + rng.normal(), 36 * epochs])
        rates.append([rng.random() if digit > 1 else -1.0 for digit in cell] + [0.1])
    names = [f"e{edge}" for edge in EDGE_NAMES]
    write_csv(path, [*names, "n_epochs", "val_last", "test", "train_s"], rows)
    write_csv(firing, [*(f"c1_{name}" for name in names), "down"], rates)


def write_csv(path, head, rows):
    lines = [",".join(map(str, row)) for row in (head, *rows)]
    path.write_text("\n".join(lines) + "\n")


def rewrite(name, folder, values):
    """A study of the project with other values of some keys, whole lines of it."""
    text = (STUDIES / f"{name}.toml").read_text()
    for key, value in values.items():
        line = f"{key} = {value}"
        text, changed = re.subn(rf"^{key} = .*$", line, text, flags=re.MULTILINE)
        if not changed:
            text, changed = re.subn(r"^\[data\]$", rf"[data]\n{line}", text, flags=re.MULTILINE)
        assert changed == 1, key
    (folder / f"{name}.toml").write_text(text)
