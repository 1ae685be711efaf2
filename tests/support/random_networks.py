"""Random networks, as NIR graphs and as the layer lists that say the same.

A network is the shape of its input and a list of stages. Each stage reads the spikes of the one
before: a convolution or a matrix with neurons, maybe pooled; a `skip` that adds what it reads to
its own spikes; a `fork` that adds what it reads, pooled, to the spikes of a convolution
of stride 2; a recurrent matrix whose neurons also read their own spikes.
"""

from dataclasses import dataclass, replace

import nir
import numpy as np
import torch
from nir_graphs import graph_of, lif

from hw_models import Layer

IMAGE = ""


@dataclass(frozen=True)
class Window:
    """Of a convolution or a pooling: (height, width) each."""

    sides: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int]
    dilation: tuple[int, int] = (1, 1)

    def positions(self, size):
        columns = zip(size, self.sides, self.stride, self.padding, self.dilation, strict=True)
        return tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in columns)


@dataclass(frozen=True)
class Stage:
    """`kind` is conv, skip, fork, pool, linear or recurrent."""

    kind: str
    outputs: int = 0
    window: Window | None = None
    groups: int = 1
    pooling: Window | None = None  # after the neurons
    mean: bool = True  # the pooling gives means, not sums


@dataclass(frozen=True)
class Network:
    shape: tuple[int, int, int]
    stages: tuple[Stage, ...]


def random_network(rng, loops=True):
    """A network of 3 to 7 matrices from a random.Random."""
    shape = size = rng.choice([1, 2, 4]), rng.randint(6, 14), rng.randint(6, 14)
    stages = []
    for _ in range(rng.randint(1, 4)):
        stage = _random_stage(rng, size)
        stages.append(stage)
        size = _after(stage, size)
    for kind in rng.choice([[], ["linear"], ["recurrent"], ["recurrent", "linear"]]):
        stages.append(Stage(kind if loops else "linear", rng.randint(2, 9)))
    return Network(shape, (*stages, Stage("linear", rng.randint(2, 5))))


def _random_stage(rng, size):
    channels, *sides = size
    kind = rng.choice(["conv", "conv", "conv", "skip", "skip", "fork", "pool"])
    if kind == "pool":
        return Stage("pool", pooling=_random_pooling(rng, sides), mean=rng.random() < 0.5)
    if kind == "skip":
        kernel = (rng.choice([1, 3]),) * 2
        return Stage("skip", channels, Window(kernel, (1, 1), tuple(k // 2 for k in kernel)))
    if kind == "fork" and min(sides) > 1:
        half = Window((2, 2), (2, 2), (0, 0))
        return Stage("fork", channels, half, pooling=half, mean=rng.random() < 0.5)
    groups = channels if rng.random() < 0.3 else 1
    window = _random_window(rng, sides)
    if min(sides) > 4 and rng.random() < 0.3:
        window = replace(window, dilation=(2, 1))
    stage = Stage("conv", rng.choice([1, 2, 3]) * groups, window, groups)
    sides = stage.window.positions(sides)
    if rng.random() < 0.5 and min(sides) >= 3:
        pooling = _random_pooling(rng, sides)
        return replace(stage, pooling=pooling, mean=rng.random() < 0.5)
    return stage


def _random_window(rng, sides):
    kernel = tuple(rng.randint(1, min(3, n)) for n in sides)
    stride = tuple(rng.randint(1, 2) for _ in sides)
    return Window(kernel, stride, tuple(rng.randint(0, k // 2) for k in kernel))


def _random_pooling(rng, sides):
    """A window that does not make the map larger."""
    window = _random_window(rng, sides)
    return replace(window, padding=tuple((k - 1) // 2 for k in window.sides))


def _after(stage, size):
    channels, *sides = size
    for window in (stage.window, None if stage.kind == "fork" else stage.pooling):
        sides = sides if window is None else window.positions(sides)
    return (stage.outputs or channels, *sides)


def graph(network):
    """The NIR graph of a network; the nodes of stage i are named after it."""
    nodes, paths = {"in": nir.Input({"input": np.array(network.shape)})}, []
    last, size = "in", network.shape
    for i, stage in enumerate(network.stages):
        name, path = f"s{i}", [last]
        if stage.kind == "linear" or stage.kind == "recurrent":
            if len(size) == 3:
                nodes[f"{name}.flat"] = nir.Flatten({"input": np.array(size)}, 0)
                path.append(f"{name}.flat")
            nodes[name] = nir.Linear(np.ones((stage.outputs, int(np.prod(size)))))
            size = (stage.outputs,)
        elif stage.kind != "pool":
            nodes[name] = _convolution(stage, size)
            size = (stage.outputs, *stage.window.positions(size[1:]))
        if stage.kind != "pool":
            nodes[f"{name}.lif"] = lif(*size)
            path += [name, f"{name}.lif"]
        if stage.kind == "recurrent":
            nodes[f"{name}.rec"] = nir.Linear(np.ones((stage.outputs, stage.outputs)))
            paths.append([path[-1], f"{name}.rec", path[-1]])
        if stage.pooling is not None:
            nodes[f"{name}.pool"] = _pooling(stage)
        if stage.pooling is not None and stage.kind != "fork":
            path.append(f"{name}.pool")
            size = (size[0], *stage.pooling.positions(size[1:]))
        if stage.kind in ("skip", "fork"):
            nodes[f"{name}.sum"] = nir.Flatten({"input": np.array(size)}, 0, 0)
            path.append(f"{name}.sum")
            pooled = [f"{name}.pool"] if stage.kind == "fork" else []
            paths.append([last, *pooled, path[-1]])
        paths.append(path)
        last = path[-1]
    return graph_of(nodes, *map(" ".join, paths))


def _convolution(stage, size):
    w = stage.window
    weight = np.ones((stage.outputs, size[0] // stage.groups, *w.sides))
    return nir.Conv2d(
        size[1:], weight, w.stride, w.padding, w.dilation, stage.groups, np.zeros(stage.outputs)
    )


def _inside(window, out, sides):
    """Outputs times taps that are no padding, counted by a convolution of ones."""
    taps = torch.ones(1, 1, *window.sides)
    geometry = window.stride, window.padding, window.dilation
    ones = torch.nn.functional.conv2d(torch.ones(1, 1, *sides), taps, None, *geometry)
    assert ones.shape[2:] == out
    return int(ones.sum())


def _pooling(stage):
    w = stage.pooling
    kind = nir.AvgPool2d if stage.mean else nir.SumPool2d
    return kind(*map(np.array, (w.sides, w.stride, w.padding)))


def layers(network):
    """The layer list of a network, stage by stage."""
    reader = _Reader(network.shape)
    for i, stage in enumerate(network.stages):
        reader.add(f"s{i}", stage)
    return tuple(reader.layers.values())


class _Reader:
    """What the next stage reads, and the layers so far."""

    def __init__(self, shape):
        self.layers = {}
        self.size = shape
        self.sources = (IMAGE,)
        self.pooled_sum = False  # a sum that it reads was pooled
        self.values = (1, 1)  # largest, unit: spikes
        self.unpaid = 0  # additions that the next layer is charged
        self.poolings = {}  # of a layer: additions, and the window of all of them

    def add(self, name, stage):
        if stage.kind == "pool":
            return self.pool(stage)
        before = self.sources, self.size, self.values, self.pooled_sum
        if stage.kind in ("linear", "recurrent"):
            self.matrix(name, stage)
        else:
            self.convolution(name, stage)
        self.sources, self.values, self.pooled_sum = (name,), (1, 1), False
        if stage.kind == "recurrent":
            self.recurrence(name, stage)
        if stage.kind == "fork":
            self.sum_with_pooled(stage, *before)
        elif stage.kind == "skip":
            self.sum_with(*before)
        elif stage.pooling is not None:
            self.pool(stage)

    def keep(self, name, **fields):
        self.layers[name] = Layer(
            name,
            input_bits=self.values[0].bit_length(),
            input_adds=self.unpaid,
            sources=tuple(name for name in self.sources if name != IMAGE),
            rearranged=self.pooled_sum,
            **fields,
        )
        self.unpaid = 0

    def matrix(self, name, stage):
        """A matrix that alone reads a layer pools its map itself, where squares make a square."""
        inputs = int(np.prod(self.size))
        if self.sources in {(pooled,) for pooled in self.poolings}:
            source = self.layers[self.sources[0]]
            sides = (source.pool, source.out_size, source.map_size)
            if source.pooled_size is None and all(isinstance(side, int) for side in sides):
                self.unpaid = self.poolings[source.name][0]
                self.layers[source.name] = replace(source, pool=1)
        self.keep(
            name,
            kind="linear",
            in_channels=inputs,
            out_channels=stage.outputs,
            parameters=inputs * stage.outputs,
            neurons=stage.outputs,
        )
        self.size = (stage.outputs,)

    def convolution(self, name, stage):
        channels, *sides = self.size
        out = stage.window.positions(sides)
        taps = stage.window.sides[0] * stage.window.sides[1]
        self.keep(
            name,
            kind="conv",
            in_channels=channels,
            out_channels=stage.outputs,
            kernel=stage.window.sides,
            stride=stage.window.stride,
            groups=stage.groups,
            in_size=tuple(sides),
            out_size=out,
            parameters=channels // stage.groups * taps * stage.outputs,
            neurons=stage.outputs * out[0] * out[1],
        )
        products = channels // stage.groups * stage.outputs * _inside(stage.window, out, sides)
        layer = self.layers[name]  # whose sizes alone imply most numbers
        if layer.dense_operations != products:
            self.layers[name] = replace(layer, synapses=products)
        self.size = (stage.outputs, *out)

    def recurrence(self, name, stage):
        """The spikes of the step before, through weights of their own, are added to the sums."""
        n, loop = stage.outputs, f"{name}.rec"
        self.sources, self.unpaid = (), n
        self.keep(
            loop,
            kind="linear",
            in_channels=n,
            out_channels=n,
            parameters=n * n,
            neurons=0,
            feedback=(name, loop),
        )
        self.sources = (name, loop)

    def sum_with(self, sources, size, values, pooled):
        """Spikes of 1 / unit are `unit` steps."""
        self.sources, self.pooled_sum = (*sources, *self.sources), pooled
        self.values = (values[0] + values[1], values[1])
        self.unpaid += size[0] * size[1] * size[2]

    def sum_with_pooled(self, stage, sources, _, values, __):
        """What a fork reads stays unpooled; the next layer is charged for windows and sum."""
        taps = stage.pooling.sides[0] * stage.pooling.sides[1]
        unit = values[1] * (taps if stage.mean else 1)
        self.sum_with(sources, self.size, (values[0] * taps, unit), True)
        self.unpaid += (taps - 1) * self.size[0] * self.size[1] * self.size[2]

    def pool(self, stage):
        channels, *sides = self.size
        size, window = stage.pooling.positions(sides), stage.pooling.sides
        taps = window[0] * window[1]
        adds = channels * size[0] * size[1] * (taps - 1)
        self.size = (channels, *size)
        self.values = (self.values[0] * taps, self.values[1] * (taps if stage.mean else 1))
        if len(self.sources) > 1 or self.sources == (IMAGE,):
            self.unpaid += adds
            self.pooled_sum = True
            return
        (name,) = self.sources
        done, all_of_it = self.poolings.get(name, (0, (1, 1)))
        adds, window = done + adds, (all_of_it[0] * window[0], all_of_it[1] * window[1])
        self.poolings[name] = adds, window
        taps, layer = window[0] * window[1], self.layers[name]
        own = adds == channels * size[0] * size[1] * (taps - 1)
        self.unpaid = 0 if own else adds
        self.layers[name] = _with_pooling(layer, window if own else (1, 1), size)


def _with_pooling(layer, window, size):
    """The map is said where it is not that of whole windows side by side."""
    out = layer.out_size if isinstance(layer.out_size, tuple) else (layer.out_size,) * 2
    whole = tuple(n // k for n, k in zip(out, window, strict=True)) == size
    return replace(layer, pool=window, pooled_size=None if whole else size)
