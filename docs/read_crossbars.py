"""Reads a network that was exported for crossbars, with NumPy alone: an example to copy.

`nas export STUDY TRIAL --format crossbar -o net` writes net.json and net.npz;
`python docs/read_crossbars.py net` prints what the crossbars of each layer compute of its inputs.
"""

import json
import sys

import numpy as np

LARGEST_B = 2**30  # of all arrays, unpacked


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


def read(name):
    """Lines about each layer of the files NAME.json and NAME.npz."""
    with open(f"{name}.json", encoding="utf-8") as file:
        index = json.load(file)
    with open(f"{name}.npz", "rb") as file, np.load(file, allow_pickle=False) as arrays:
        size_B = sum(entry.file_size for entry in arrays.zip.infolist())
        if size_B > LARGEST_B:
            raise ValueError(f"arrays of {size_B} bytes, more than {LARGEST_B}")
        return [_line(index, arrays, node) for node in index["nodes"] if "weight" in node]


def _line(index, arrays, node):
    layer, groups = node["name"], node.get("geometry", {}).get("groups", 1)
    width = int(np.prod(node["weight"][1:])) * groups
    count = len(index["crossbars"][layer])
    if not 0 < width <= sum(arrays[f"{layer}.{k}.inputs"].size for k in range(count)):
        raise ValueError(f"layer {layer!r:.60}: its crossbars have no row for some inputs")
    sums = layer_sums(index, arrays, layer, np.ones((1, width)))[0, :4]
    if not np.isfinite(sums).all():
        raise ValueError(f"layer {layer!r:.60}: sums of {sums.tolist()}")
    name = layer if layer.isprintable() else ascii(layer)
    return (
        f"{name}: {count} crossbars, sums of all inputs: {np.round(sums).astype(int).tolist()} ..."
    )


def main(arguments):
    """Prints the layers, or one line about what is wrong with the files."""
    if len(arguments) != 1:
        sys.exit("usage: python read_crossbars.py NAME, for the files NAME.json and NAME.npz")
    (name,) = arguments
    try:
        lines = read(name)
    except Exception as error:  # files may hold anything
        reason = f"{type(error).__name__}: {str(error)!r:.200}"
        sys.exit(f"{name!r}: no network of `nas export --format crossbar` ({reason})")
    print("\n".join(lines))


if __name__ == "__main__":
    main(sys.argv[1:])
