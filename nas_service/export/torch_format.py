"""`torch`: a Python file of plain PyTorch modules that needs nothing of this package, and weights.

Weights stay integers, with the scale and bias of each channel after the sum, so that the file
computes what the deployed network computes. Batch norms are folded into scale and bias.
"""

import importlib.util
import re
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import torch
from safetensors.torch import save
from torch import Tensor

from nas_service.errors import DataError
from nas_service.export.formats import Contents
from nas_service.export.run import Run
from nas_service.export.step_graph import READOUT, Node, StepGraph
from nas_service.export.trained_network import TrainedNetwork
from nas_service.snn.neurons import Neuron

TEMPLATE = Path(__file__).with_name("torch_template.txt")
EXAMPLES = "examples."  # begins the names of tensors that are no weights
PLAIN = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}  # torch's own
POOLS = {"sum_pool": "AvgPool2d", "mean_pool": "AvgPool2d", "max_pool": "MaxPool2d"}


def contents(network: TrainedNetwork, name: str) -> Contents:
    """See `Module.contents`."""
    graph = network.graph
    tensors = {key: x.contiguous() for node in graph.nodes for key, x in _tensors(node).items()}
    tensors[EXAMPLES + "pixels"] = network.examples.contiguous()
    tensors[EXAMPLES + "scores"] = network.scores(network.examples)
    return {".py": _source(network).encode(), ".weights.safetensors": save(tensors)}


def run(path: Path, pixels: Tensor) -> Run:
    """See `Module.run`."""
    module = imported(path)
    network = module.load()
    spikes: dict[str, list[Tensor]] = {}
    layers = {n: m for n, m in network.named_children() if isinstance(m, module.LIF)}
    for name, layer in layers.items():
        steps = spikes.setdefault(name, [])
        layer.register_forward_hook(lambda _, __, y, steps=steps: steps.append(y[0]))
    with torch.no_grad():
        scores = network(module.scaled(pixels))
    return Run(scores, {name: torch.stack(steps) for name, steps in spikes.items()})


def imported(path: Path) -> ModuleType:
    """The module of a Python file that was exported."""
    specification = importlib.util.spec_from_file_location(path.stem, path)
    if specification is None or specification.loader is None:
        raise DataError(f"{path}: no Python file")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def _tensors(node: Node) -> dict[str, Tensor]:
    """The weights of a node by the names that they have in the Python file."""
    tensors = {} if node.weight is None else {f"{node.name}.weight": node.weight}
    if node.scale is not None and node.bias is not None:
        scale = node.name if node.weight is None else f"{node.name}_scale"
        tensors |= {f"{scale}.scale": node.scale, f"{scale}.bias": node.bias}
    return tensors


def _source(network: TrainedNetwork) -> str:
    graph, inputs = network.graph, network.inputs
    metrics = network.document()["metrics"]
    fields = {
        "VERSION": version("nas-service"),
        "ABOUT": _literal(network.facts | {"metrics": metrics}),
        "TIME_STEPS": str(graph.time_steps),
        "VOTES": str(graph.votes),
        "MEAN": _literal(inputs.mean),
        "DEVIATION": _literal(inputs.deviation),
        "CLASSES": _literal(inputs.class_names),
        "FIRE": _fire(network.graph.neurons[0].neuron),
        "MODULES": _indented(line for node in graph.nodes[1:] for line in _modules(node)),
        "STEP": _indented(line for node in graph.nodes[1:] for line in _lines(node, graph)),
        "IMAGE": "images[:, t]" if inputs.task.events else "images",
        "SHAPE": "[B, T, C, H, W]" if inputs.task.events else "[B, C, H, W]",
    }
    return re.sub(r"@(\w+)@", lambda field: fields[field[1]], TEMPLATE.read_text())


def _literal(value: Any) -> str:
    """A value as Python writes it, in ASCII."""
    return ascii(value)


def _indented(lines: Iterator[str]) -> str:
    return "\n".join(8 * " " + line for line in lines).strip()


def _fire(neuron: Neuron | None) -> str:
    """The lines that decide spikes and new potentials."""
    neuron = cast(Neuron, neuron)
    compare = ">=" if neuron.fires_at_threshold else ">"
    reset = (
        "u - spikes * self.threshold"
        if neuron.reset == "subtract"
        else "torch.where(spikes > 0, torch.zeros_like(u), u)"
    )
    lines = (f"spikes = (u {compare} self.threshold).to(u.dtype)", f"return spikes, {reset}")
    return _indented(iter(lines))


def _modules(node: Node) -> Iterator[str]:
    """The lines that make the modules of a node; none for one that needs none."""
    target, g = f"self.{node.name}", node.geometry
    if node.neuron is not None:
        yield f"{target} = LIF(tau={node.neuron.tau!r}, threshold={node.neuron.threshold!r})"
    if node.weight is not None:
        yield f"{target} = {(_convolution if g else _linear)(node)}"
    if node.scale is not None:
        own = target if node.weight is None else f"{target}_scale"
        yield f"{own} = Scale({len(node.scale)})"
    if node.kind in POOLS:
        divisor = ", divisor_override=1" if node.kind == "sum_pool" else ""
        sizes = f"{g['kernel_size']}, stride={g['stride']}, padding={g['padding']}"
        yield f"{target} = nn.{POOLS[node.kind]}({sizes}{divisor})"


def _convolution(node: Node) -> str:
    c_out, c_in, kernel, _ = cast(Tensor, node.weight).shape
    g = node.geometry
    options = {key: value for key, value in g.items() if value != PLAIN[key]}
    sizes = "".join(f", {key}={_side(value)}" for key, value in options.items())
    return f"nn.Conv2d({c_in * g['groups']}, {c_out}, {kernel}{sizes}, bias=False)"


def _side(value: Any) -> Any:
    """One number in place of two equal ones."""
    return value[0] if isinstance(value, tuple) and len(set(value)) == 1 else value


def _linear(node: Node) -> str:
    f_out, f_in = cast(Tensor, node.weight).shape
    return f"nn.Linear({f_in}, {f_out}, bias=False)"


def _lines(node: Node, graph: StepGraph) -> Iterator[str]:
    """The statements that compute a node from variables named as the nodes that it reads."""
    x = _read(node)
    match node.kind:
        case "sum":
            yield f"{node.name} = {x}"
        case "neurons":
            yield f'{node.name} = self.fire("{node.name}", {x}, state)'
        case "flatten":
            yield f"{node.name} = {x}.flatten(1)"
        case "convolution" | "linear":
            yield f"{node.name} = self.{node.name}_scale(self.{node.name}({x}))"
        case _:
            yield f"{node.name} = self.{node.name}({x})"
    if node.name in graph.late_names:
        yield f'state["{node.name}"] = {node.name}  # read in the next time step'
    if node.name == READOUT:
        yield f"return {READOUT}"


def _read(node: Node) -> str:
    """The sum that a node reads."""
    late = [f'late(state, "{name}", {node.like})' for name in node.late]
    return " + ".join((*late, *node.inputs)) or f"torch.zeros_like({node.like})"
