"""The workload of a network, and its spike rates: shapes are read from a run of the network."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hw_models import Layer, RecordedInputs, Workload
from hw_models.layer import synapses_of
from nas_service.snn.network import Network
from nas_service.snn.neurons import LIF, BatchNormLIF
from nas_service.snn.quantization import matrix_of, network_parameters
from nas_service.snn.wiring import Maps, wired
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.task import PIXEL_BITS, Task


def trace(architecture: Architecture, task: Task, votes: int = 1) -> Workload:
    """The workload of an architecture.

    Args:
        architecture: The candidate.
        task: The shape of its images, and its classes.
        votes: Outputs that are averaged for each class.

    Returns:
        Its layers, from a run on torch's meta device, which computes shapes but no numbers.
    """
    return wired(architecture, *_traced_blocks(architecture, task, votes))


def _traced_blocks(a: Architecture, task: Task, votes: int = 1) -> tuple[dict[str, Layer], Maps]:
    """Layers by the name of their block, and the values of each cell's node [K].

    The arguments are those of `trace`.

    Raises:
        AssertionError: The layers do not have all parameters of the network.
    """
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
    with _recording(network, record):
        network(torch.empty(1, *frames, task.channels, task.size, task.size))
    for hook in hooks:
        hook.remove()
    layers["stem"] = replace(layers["stem"], once=not task.events, input_bits=PIXEL_BITS)
    return layers, maps


@contextmanager
def _recording(network: Network, record: Callable[..., None]) -> Iterator[None]:
    """Calls `record(name, block, matrix, input, output)` for the weight matrix of each block."""
    hooks = []
    for name, block in network.blocks().items():
        matrix = matrix_of(block)

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
        matrix = m.in_channels // m.groups * m.out_channels
        sizes = y.shape[-1], x.shape[-1], m.kernel_size[0], m.stride[0]
        zeros = int(m.padding[0])
        shape["synapses"] = synapses_of(matrix, *sizes, zeros, m.dilation[0])
    norms = [b.num_features for b in before if isinstance(b, nn.BatchNorm2d)]
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
        scales=2 * (y.shape[1] + sum(norms)) if norms else None,
        **shape,
    )


def _neurons(before: list[nn.Module], x: Tensor) -> int:
    """Neurons whose spikes a matrix reads as x [T*B, ...], counted before any pooling."""
    lif_layers = sum(isinstance(m, LIF | BatchNormLIF) for m in before)
    return lif_layers * x[0].numel() * _window(before) ** 2


def _around(block: nn.Module, matrix: nn.Module) -> tuple[list[nn.Module], list[nn.Module]]:
    """The modules of a block before and after its matrix."""
    modules = list(block.children())
    position = modules.index(matrix)
    return modules[:position], modules[position + 1 :]


def pooling_before(block: nn.Module, matrix: nn.Module) -> int:
    """Side of the average pooling between a block's neurons and its matrix.

    Args:
        block: A block of a network.
        matrix: Its convolution or linear layer.

    Returns:
        The side in pixels; 1 where there is no pooling.
    """
    return _window(_around(block, matrix)[0])


def _window(modules: list[nn.Module]) -> int:
    """Side of the average pooling among the modules; 1 where there is none."""
    sides = [m.kernel_size for m in modules if isinstance(m, nn.AvgPool2d)]
    return math.prod(s if isinstance(s, int) else s[0] for s in sides)


def _bits_of_mean(window: int) -> int:
    """Bits of the sum of a window of spikes, 0 .. window^2."""
    return (window**2).bit_length()


def spike_rates(
    network: Network,
    images: Tensor,
    on_input: Callable[[str, int, Tensor], None] = lambda name, window, x: None,
) -> dict[str, float | tuple[float, ...]]:
    """Share of non-zero inputs of each weight matrix.

    Args:
        network: Put into evaluation mode.
        images: Scaled images [B, C, H, W], or recordings [B, T, C, H, W].
        on_input: Called with the name of each block, the side of the average pooling between its
            neurons and its matrix, and what the matrix reads in one or more time steps.

    Returns:
        For each block, the share in each time step [T], 0..1; one number for a matrix that is
        multiplied once. It is 0 in the first step of a backward edge, which transmits nothing yet.
    """
    shares: dict[str, list[float]] = {}

    def record(name: str, block: nn.Module, m: nn.Module, x: Tensor, y: Tensor) -> None:
        steps = (x != 0).unflatten(0, (-1, len(images))).flatten(1)
        share = steps.sum(1).double() / steps.shape[1]
        shares.setdefault(name, []).extend(share.tolist())
        on_input(name, pooling_before(block, m), x)

    with torch.inference_mode(), _recording(network.eval(), record):
        network(images)
    return {name: _in_each_step(name, each, network.time_steps) for name, each in shares.items()}


def _in_each_step(name: str, shares: list[float], time_steps: int) -> float | tuple[float, ...]:
    if name == "stem" and len(shares) == 1:
        return shares[0]
    return (*[0.0] * (time_steps - len(shares)), *shares)


def recorded_inputs(
    network: Network, images: Tensor, pixels: NDArray[np.integer]
) -> dict[str, RecordedInputs]:
    """What each weight matrix reads.

    Args:
        network: Put into evaluation mode.
        images: N scaled images [N, C, H, W], or recordings [N, T, C, H, W].
        pixels: The same unscaled, as a chip reads them; larger values count as the largest of
            PIXEL_BITS.

    Returns:
        For each block the maps of all time steps, the first step's of all samples first; N maps of
        a matrix that is multiplied once. The maps of the first step of a backward edge, which
        transmits nothing yet, are 0.
    """
    steps: dict[str, list[Tensor]] = {}
    geometry: dict[str, tuple[int, int]] = {}  # bits of an input, dilation

    def record(name: str, block: nn.Module, m: nn.Module, x: Tensor, y: Tensor) -> None:
        window = pooling_before(block, m)
        dilation = m.dilation[0] if isinstance(m, nn.Conv2d) else 1
        geometry[name] = _bits_of_mean(window), int(dilation)
        if name != "stem":
            maps = x.reshape(*x.shape[:2], *x.shape[2:] or (1, 1))
            kind = torch.uint8 if window**2 < 2**8 else torch.int16
            steps.setdefault(name, []).append((maps * window**2).round().to(kind).cpu())

    with torch.inference_mode(), _recording(network.eval(), record):
        network(images)
    recorded = {
        name: RecordedInputs.of(_in_all_steps(maps, network.time_steps * len(images)), *own)
        for name, maps, own in ((n, steps[n], geometry[n]) for n in steps)
    }
    frames = pixels if pixels.ndim == 4 else np.concatenate(np.swapaxes(pixels, 0, 1))
    read = np.minimum(frames, 2**PIXEL_BITS - 1)
    return {"stem": RecordedInputs.of(read, PIXEL_BITS, geometry["stem"][1]), **recorded}


def _in_all_steps(parts: list[Tensor], count: int) -> NDArray[np.integer]:
    """The maps of all time steps [count, C, H, W]."""
    maps = torch.cat(parts).numpy()
    missing = np.zeros((count - len(maps), *maps.shape[1:]), maps.dtype)
    return np.concatenate([missing, maps])
