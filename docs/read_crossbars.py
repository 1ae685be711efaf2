"""Reads a network that was exported for crossbars, with NumPy alone: an example to copy.

`nas export STUDY TRIAL --format crossbar -o net` writes net.json and net.npz;
`python docs/read_crossbars.py net` prints what the crossbars of each layer compute of its inputs.
"""

import json
import sys

import numpy as np


def layer_sums(index, arrays, layer, inputs):
    """Integer sums of a layer, from the currents of its crossbars at a read voltage of 1 V.

    Args:
        index: The parsed JSON file.
        arrays: The NPZ file.
        layer: Name of the layer.
        inputs: Whole numbers [N, inputs]: spikes, or their counts in a pooling window; of a
            convolution the window of one output pixel, channel by channel.

    Returns:
        [N, outputs]; times `layer.scale` plus `layer.bias` they are currents of the neurons.
    """
    chip, node = index["chip"], next(n for n in index["nodes"] if n["name"] == layer)
    used = range(len(index["crossbars"][layer]))
    currents = [
        inputs[:, arrays[f"{layer}.{k}.inputs"]] @ arrays[f"{layer}.{k}.conductance"] for k in used
    ]
    outputs = node["weight"][0]
    sums = np.zeros((len(inputs), outputs))
    for k in used:
        worth, references = arrays[f"{layer}.{k}.worth"], arrays[f"{layer}.{k}.references"]
        for column, output in enumerate(arrays[f"{layer}.{k}.outputs"]):
            if output >= 0:
                crossbar, other = references[column]
                off = currents[crossbar][:, other] if crossbar >= 0 else 0
                sums[:, output] += worth[column] * (currents[k][:, column] - off)
    sums /= chip["level_S"]
    if chip["sign"] == "offset":
        groups = node.get("geometry", {}).get("groups", 1)
        active = inputs.reshape(len(inputs), groups, -1).sum(2)
        sums -= np.repeat(active, outputs // groups, 1) * 2 ** (node["bits"] - 1)
    return sums


def main(name):
    with open(f"{name}.json") as file:
        index = json.load(file)
    arrays = np.load(f"{name}.npz", allow_pickle=False)
    for node in index["nodes"]:
        if "weight" in node:
            width = int(np.prod(node["weight"][1:])) * node.get("geometry", {}).get("groups", 1)
            sums = layer_sums(index, arrays, node["name"], np.ones((1, width)))
            print(f"{node['name']}: {len(index['crossbars'][node['name']])} crossbars, sums of all "
                  f"inputs: {np.round(sums[0, :4]).astype(int).tolist()} ...")  # fmt: skip


if __name__ == "__main__":
    main(*sys.argv[1:])
