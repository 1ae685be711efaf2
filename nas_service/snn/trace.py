"""From a network to what the chip must do: the network is the only source of shapes."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from hw_models import Layer, Workload
from nas_service.snn.network import Network
from nas_service.snn.neurons import LIF, BatchNormLIF
from nas_service.snn.quantization import network_parameters
from nas_service.snn.wiring import Maps, wired
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.task import Task

PIXEL_BITS = 8  # of a directly coded image, or of counts of events


def trace(architecture: Architecture, task: Task, votes: int = 1) -> Workload:
    """Workload of an architecture, from a run on the meta device: no numbers, only shapes."""
    return wired(architecture, *traced_blocks(architecture, task, votes))


def traced_blocks(a: Architecture, task: Task, votes: int = 1) -> tuple[dict[str, Layer], Maps]:
    """Layers by block, and the size of each cell's nodes."""
    with torch.device("meta"), torch.inference_mode():
        network = Network(a, task, votes).eval()
        layers, maps = _run(network, a, task)
    parameters = sum(p.numel() for p in network_parameters(network))
    if (traced := sum(x.trained_numbers for x in layers.values())) != parameters:
        raise AssertionError(f"traced {traced} parameters of {parameters}")
    return layers, maps


def _run(network: Network, a: Architecture, task: Task) -> tuple[dict[str, Layer], Maps]:
    layers: dict[str, Layer] = {}
    maps: Maps = []

    def record(name: str, block: nn.Module, m: nn.Module, x: Tensor, y: Tensor) -> None:
        layers[name] = _layer(name, block, m, x, y, a.bits(name))

    hooks = [
        cell.register_forward_hook(lambda _, x, __: maps.append(x[0][0].numel()))
        for cell in network.cells
    ]
    frames = (a.time_steps,) if task.events else ()
    with _watching(network, record):
        network(torch.empty(1, *frames, task.channels, task.size, task.size))
    for hook in hooks:
        hook.remove()
    layers["stem"] = replace(layers["stem"], once=not task.events, input_bits=PIXEL_BITS)
    return layers, maps


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
        parameters=sum(p.numel() for p in network_parameters(block)),
        neurons=_neurons(before, x),
        input_adds=x.shape[1] * (_window(before) ** 2 - 1),
        **shape,
    )


def _neurons(before: list[nn.Module], x: Tensor) -> int:
    """Potentials kept in front of a matrix that reads x [T*B, ...], before any pooling."""
    found = sum(isinstance(m, LIF | BatchNormLIF) for m in before)
    return found * x[0].numel() * _window(before) ** 2


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


def spike_rates(network: Network, images: Tensor) -> dict[str, float | tuple[float, ...]]:
    """Share of non-zero inputs of each weight matrix in each time step, over images [B, C, H, W].

    One number for a matrix that is multiplied once; 0 in the first step of a backward edge, over
    which nothing has come yet.
    """
    found: dict[str, list[float]] = {}

    def record(name: str, block: nn.Module, m: nn.Module, x: Tensor, y: Tensor) -> None:
        busy = (x != 0).unflatten(0, (-1, len(images))).flatten(1).double().mean(1)
        found.setdefault(name, []).extend(busy.tolist())

    with torch.inference_mode(), _watching(network.eval(), record):
        network(images)
    return {name: _in_each_step(name, busy, network.time_steps) for name, busy in found.items()}


def _in_each_step(name: str, busy: list[float], time_steps: int) -> float | tuple[float, ...]:
    if name == "stem" and len(busy) == 1:
        return busy[0]
    return (*[0.0] * (time_steps - len(busy)), *busy)
