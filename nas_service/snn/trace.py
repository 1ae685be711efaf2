"""From a network to what the chip must do: the network is the only source of shapes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from hw_models import Layer, Workload
from nas_service.snn.network import Network
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.task import Task


def trace(architecture: Architecture, task: Task, votes: int = 1) -> Workload:
    """Workload of an architecture, from a run on the meta device: no numbers, only shapes."""
    with torch.device("meta"), torch.inference_mode():
        network = Network(architecture, task, votes).eval()
        layers: list[Layer] = []
        record = _recorder(layers, architecture.weight_bits)
        with _watching(network, record):
            network(torch.empty(1, task.channels, task.size, task.size))
    workload = Workload(tuple(layers), architecture.time_steps)
    parameters = sum(p.numel() for p in network.parameters())
    if workload.parameters != parameters:
        raise AssertionError(f"traced {workload.parameters} parameters of {parameters}")
    return workload


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


def _recorder(layers: list[Layer], bits: int) -> Callable[..., None]:
    def record(name: str, block: nn.Module, m: nn.Module, x: Tensor, y: Tensor) -> None:
        held = sum(p.numel() for p in block.parameters())
        pool = next((p.kernel_size for p in _after(block, m) if isinstance(p, nn.AvgPool2d)), 1)
        if isinstance(m, nn.Conv2d):
            kernel, stride, in_size, out_size = (
                m.kernel_size[0],
                m.stride[0],
                x.shape[-1],
                y.shape[-1],
            )
            kind = "conv"
        else:
            kernel, stride, in_size, out_size, kind = 1, 1, 1, 1, "linear"
        layers.append(
            Layer(
                name=name,
                kind=kind,
                in_channels=x.shape[1],
                out_channels=y.shape[1],
                kernel=kernel,
                stride=stride,
                in_size=in_size,
                out_size=out_size,
                pool=pool if isinstance(pool, int) else pool[0],
                weight_bits=bits,
                parameters=held,
            )
        )

    return record


def _after(block: nn.Module, matrix: nn.Module) -> list[nn.Module]:
    modules = list(block.children())
    return modules[modules.index(matrix) + 1 :]


def spike_rates(network: Network, images: Tensor) -> dict[str, float]:
    """Share of non-zero inputs of each weight matrix, over images [B, C, H, W] and all steps."""
    rates: dict[str, float] = {}

    def record(name: str, block: nn.Module, m: nn.Module, x: Tensor, y: Tensor) -> None:
        rates[name] = float((x != 0).double().mean())

    with torch.inference_mode(), _watching(network.eval(), record):
        network(images)
    return rates
