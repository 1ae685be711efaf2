"""From a network to what the chip must do: the network is the only source of shapes."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hw_models import Layer, Workload
from nas_service.snn.network import CellNetwork, Network
from nas_service.snn.neurons import LIF
from nas_service.spaces.architecture import IN, OUT, Architecture
from nas_service.spaces.task import Task

PIXEL_BITS = 8  # of a directly coded image


def trace(architecture: Architecture, task: Task, votes: int = 1) -> Workload:
    """Workload of an architecture, from a run on the meta device: no numbers, only shapes."""
    return wired(architecture, *traced_blocks(architecture, task, votes))


Maps = list[int]  # values of each cell's node: channels times pixels


def traced_blocks(a: Architecture, task: Task, votes: int = 1) -> tuple[dict[str, Layer], Maps]:
    """Layers by block, and the size of each cell's nodes."""
    with torch.device("meta"), torch.inference_mode():
        network = Network(a, task, votes).eval()
        layers, maps = _run(network, a, task)
    parameters = sum(p.numel() for p in network.parameters())
    if (traced := sum(x.trained_numbers for x in layers.values())) != parameters:
        raise AssertionError(f"traced {traced} parameters of {parameters}")
    return layers, maps


def _run(network: Network, a: Architecture, task: Task) -> tuple[dict[str, Layer], Maps]:
    layers: dict[str, Layer] = {}
    maps: Maps = []
    neurons = {name: _potentials(block, a.time_steps) for name, block in network.blocks().items()}

    def record(name: str, block: nn.Module, m: nn.Module, x: Tensor, y: Tensor) -> None:
        layers[name] = _layer(name, block, m, x, y, a.weight_bits)

    cells = [part for part in network.body if isinstance(part, CellNetwork)]
    hooks = [c.register_forward_hook(lambda _, x, __: maps.append(x[0][0].numel())) for c in cells]
    with _watching(network, record):
        network(torch.empty(1, task.channels, task.size, task.size))
    for hook in hooks:
        hook.remove()
    found = {n: replace(x, neurons=sum(neurons[n])) for n, x in layers.items()}
    found["stem"] = replace(found["stem"], once=True, input_bits=PIXEL_BITS)
    return found, maps


def _potentials(block: nn.Module, time_steps: int) -> list[int]:
    """Fills up, while the network runs, with the potentials of each layer of neurons."""
    found: list[int] = []
    for lif in (m for m in block.modules() if isinstance(m, LIF)):
        lif.register_forward_hook(lambda _, x, __: found.append(x[0].numel() // time_steps))
    return found


@contextmanager
def _watching(network: Network, record: Callable[..., None]) -> Iterator[None]:
    """Calls `record(name, block, matrix, input, output)` for the weight matrix of each block."""
    hooks = []
    for name, block in network.blocks().items():
        matrix = next(m for m in block.modules() if isinstance(m, nn.Conv2d | nn.Linear))

        def hook(m: nn.Module, x: Any, y: Tensor, name: str = name, block: Any = block) -> None:
            record(name, block, m, x[0], y)

        hooks.append(matrix.register_forward_hook(hook))
    try:
        yield
    finally:
        for hook_ in hooks:
            hook_.remove()


def _layer(name: str, block: nn.Module, m: nn.Module, x: Tensor, y: Tensor, bits: int) -> Layer:
    before, after = _around(block, m)
    shape: dict[str, Any] = {"kind": "linear"}
    if isinstance(m, nn.Conv2d):
        shape = {"kind": "conv", "kernel": m.kernel_size[0], "stride": m.stride[0]}
        shape |= {"groups": m.groups, "in_size": x.shape[-1], "out_size": y.shape[-1]}
    return Layer(
        name=name,
        in_channels=x.shape[1],
        out_channels=y.shape[1],
        pool=_window(after),
        weight_bits=bits,
        input_bits=_bits_of_mean(_window(before)),
        parameters=sum(p.numel() for p in block.parameters()),
        input_adds=x.shape[1] * (_window(before) ** 2 - 1),
        **shape,
    )


def _around(block: nn.Module, matrix: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    modules = list(block.children())
    at = modules.index(matrix)
    return modules[:at], modules[at + 1 :]


def pooled_in_front(block: nn.Module, matrix: nn.Module) -> int:
    """Side of the average pooling between a block's neurons and its matrix; 1 for none."""
    return _window(_around(block, matrix)[0])


def _window(modules: list[nn.Module]) -> int:
    """Side of the average pooling among the modules; 1 where there is none."""
    sides = [m.kernel_size for m in modules if isinstance(m, nn.AvgPool2d)]
    return math.prod(s if isinstance(s, int) else s[0] for s in sides)


def _bits_of_mean(window: int) -> int:
    """Bits of the sum of a window of spikes, 0 .. window^2."""
    return (window**2).bit_length()


def wired(architecture: Architecture, layers: dict[str, Layer], maps: Maps) -> Workload:
    """The layers of an architecture's live edges as a graph; shapes are given, not made."""
    a, source = architecture, _only("stem")
    found = [replace(layers["stem"], sources=())]
    for k, cell in enumerate(a.cells):
        live = cell.live()
        reads = {
            edge: tuple(x for end in ends for x in (source if end == IN else _only(_edge(k, end))))
            for edge, ends in live.wiring().items()
        }
        source = reads.pop(OUT)
        found += [replace(layers[_edge(k, e)], sources=ends) for e, ends in reads.items()]
        name = f"reduction{k}" if k + 1 < len(a.cells) else "hidden"
        adds = layers[name].input_adds + live.additions * maps[k]
        found.append(replace(layers[name], sources=source, input_adds=adds))
        source = _only(name)
    found.append(replace(layers["readout"], sources=source))
    return Workload(tuple(replace(x, weight_bits=a.weight_bits) for x in found), a.time_steps)


def _only(name: str) -> tuple[str, ...]:
    return (name,)


def _edge(cell: int, edge: str) -> str:
    return f"cell{cell}.edge{edge}"


def spike_rates(network: Network, images: Tensor) -> dict[str, float | tuple[float, ...]]:
    """Share of non-zero inputs of each weight matrix in each time step, over images [B, C, H, W].

    One number for a matrix that is multiplied once.
    """
    rates: dict[str, float | tuple[float, ...]] = {}

    def record(name: str, block: nn.Module, m: nn.Module, x: Tensor, y: Tensor) -> None:
        steps = len(x) // len(images)
        busy = (x != 0).unflatten(0, (steps, -1)).flatten(1).double().mean(1)
        rates[name] = float(busy) if steps == 1 else tuple(busy.tolist())

    with torch.inference_mode(), _watching(network.eval(), record):
        network(images)
    return rates
