"""Simulated chips that run an exported crossbar file: its arrays, imperfect, through converters."""

import json

import numpy as np
import torch

from hw_models import load_profile
from hw_models.nonideality import imperfect

SETTINGS = ("crossbar_size", "bits_per_cell", "mapping", "sign")


def chip_of(index):
    """The chip that a file says it is for."""
    own = index["chip"]
    figures = dict(own["imperfections"])
    figures["wire_resistance"] = figures.pop("wire_resistance_Ohm") / 1000
    settings = {key: own[key] for key in SETTINGS}
    return load_profile(own["profile"]).with_values(settings | figures).chip


class SimulatedChip:
    """One chip; `products` computes the nodes of a graph that have weights."""

    def __init__(self, path, rng):
        self.index = json.loads(path.read_text())
        chip = chip_of(self.index)
        self.largest = 2**chip.figures.adc_bits - 1
        with np.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
            self.arrays = dict(arrays)
        for layer, crossbars in self.index["crossbars"].items():
            for k in range(len(crossbars)):
                ideal = self.arrays[f"{layer}.{k}.conductance"] / self.index["chip"]["level_S"]
                rows, columns = ideal.shape
                wires = np.add.outer(np.arange(rows), np.arange(columns)) + 1.0
                self.arrays[f"{layer}.{k}.conductance"] = imperfect(ideal, wires, chip, rng)

    def products(self, node, x):
        """What a matrix makes of its inputs: pixels are no integers and have no converter."""
        windows, shape = _windows(node, x)
        if torch.equal(x, x.round()) and x.min() >= 0:
            planes = range(int(x.max()).bit_length())
            sums = sum(2**b * self._read(node.name, (windows.int() >> b) & 1, True) for b in planes)
        else:
            sums = self._read(node.name, windows, False)
        scale, bias = (torch.from_numpy(self.arrays[f"{node.name}.{k}"]) for k in ("scale", "bias"))
        outputs = torch.zeros(len(windows), len(scale)) + sums
        return (outputs * scale + bias).unflatten(0, (len(x), -1)).transpose(1, 2).reshape(shape)

    def _read(self, layer, inputs, converted):
        total = 0
        for k in range(len(self.index["crossbars"][layer])):
            own = {
                key: torch.from_numpy(self.arrays[f"{layer}.{k}.{key}"])
                for key in ("conductance", "inputs", "outputs", "worth")
            }
            currents = inputs[:, own["inputs"]].float() @ own["conductance"].float()
            if converted:
                currents = currents.round().clamp(0, self.largest)
            merged = torch.zeros(len(own["outputs"]), len(self.arrays[f"{layer}.scale"]))
            merged[torch.arange(len(own["outputs"])), own["outputs"]] = own["worth"].float()
            total = total + currents @ merged
        return total


def _windows(node, x):
    """The inputs of each output pixel [B * L, inputs], and the shape of all outputs."""
    if node.kind == "linear":
        return x, (len(x), *node.shape)
    g = {key: value for key, value in node.geometry.items() if key != "groups"}
    columns = torch.nn.functional.unfold(x, node.weight.shape[2:], **g)
    return columns.transpose(1, 2).flatten(0, 1), (len(x), -1, *node.shape[1:])
