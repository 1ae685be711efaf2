"""`nir`: one time step as a NIR graph, by NIR's own equations or for one of their readers.

The graph reads scaled images, (pixels - mean) / deviation by channel, and puts out class scores of
this step, to be averaged over steps and votes. What NIR cannot say is in its metadata, one JSON
text. For a reader, a Python file beside the graph loads it and sets what a file cannot say.
"""

import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import nir
import torch
from torch import Tensor

from nas_service.export.formats import Contents
from nas_service.export.nir_equations import Equations
from nas_service.export.nir_readers import READERS, Reader
from nas_service.export.nir_writer import Writer, demand_nodes
from nas_service.export.run import Run
from nas_service.export.step_graph import StepGraph
from nas_service.export.torch_format import imported
from nas_service.export.trained_network import TrainedNetwork
from nas_service.snn.neurons import Neuron

TEMPLATE = Path(__file__).with_name("nir_template.txt")
NUMBER = re.compile(r"^\d+_")  # begins the name of each node


def contents(network: TrainedNetwork, name: str) -> Contents:
    """See `Module.contents`."""
    return {".nir": _serialized(network, None)}


def run(path: Path, pixels: Tensor) -> Run:
    """See `Module.run`: NIR's equations, from the file alone."""
    graph = nir.read(path, type_check=False)
    facts = json.loads(graph.metadata["nas_service"])
    own = facts["input"]
    mean, deviation = (torch.tensor(own[key])[:, None, None] for key in ("mean", "deviation"))
    images = (pixels.float() - mean) / deviation
    equations = Equations(graph, facts)
    steps = [
        equations.step(images[:, t] if images.dim() == 5 else images)
        for t in range(own["time_steps"])
    ]
    (output,) = (name for name, node in graph.nodes.items() if isinstance(node, nir.Output))
    scores = torch.stack([x[output] for x in steps]).unflatten(-1, (-1, facts["votes"]))
    spikes = {
        NUMBER.sub("", name): torch.stack([x[name] for x in steps])
        for name, node in graph.nodes.items()
        if isinstance(node, nir.LIF)
    }
    return Run(scores.mean((0, -1)), spikes)


@dataclass(frozen=True)
class ReaderFormat:
    """The same format for one reader, as `Module` defines it."""

    name: str

    @property
    def reader(self) -> Reader:
        """The reader."""
        return READERS[self.name]

    @property
    def suffix(self) -> str:
        """Of the Python file that loads the graph."""
        return f".load_{self.name}.py"

    def contents(self, network: TrainedNetwork, name: str) -> Contents:
        """See `Module.contents`."""
        demand_nodes(network.graph)
        self.reader.settings_of(_neuron(network.graph))
        graph = _serialized(network, self.reader)
        return {".nir": graph, self.suffix: self._source(network, f"{name}.nir").encode()}

    def run(self, path: Path, pixels: Tensor) -> Run:
        """See `Module.run`: the reader runs the graph as the Python file beside it says."""
        self.reader.demand_installed()
        module = imported(path.with_name(path.name.removesuffix(".nir") + self.suffix))
        network = module.load(len(pixels))
        spikes: dict[str, list[Tensor]] = {name: [] for name in module.FACTS["neurons"]}
        for name, layer in network.named_children():
            if (steps := spikes.get(NUMBER.sub("", name))) is not None:
                layer.register_forward_hook(lambda _, __, y, steps=steps: steps.append(_first(y)))
        scores = module.scores(pixels, network)
        return Run(scores, {name: torch.stack(steps) for name, steps in spikes.items()})

    def _source(self, network: TrainedNetwork, file: str) -> str:
        reader, events = self.reader, network.inputs.task.events
        fields = {
            "TITLE": reader.title,
            "FILE": ascii(file)[1:-1].replace('"', '\\"'),  # within three quotation marks
            "FILE_NAME": ascii(file),
            "VERSION": version("nas-service"),
            "PACKAGES": f"{reader.title}, nir, nirtorch and torch",
            "SHAPE": "[B, T, C, H, W]" if events else "[B, C, H, W]",
            "IMAGE": "images[:, t]" if events else "images",
            "CLASSES": ascii(network.inputs.class_names),
            "IMPORTS": "\n".join(_imports(reader)),
            "LOAD": _indented([*reader.load, *self._settings(network.graph)]),
        }
        return re.sub(r"@(\w+)@", lambda field: fields[field[1]], TEMPLATE.read_text())

    def _settings(self, graph: StepGraph) -> Iterator[str]:
        """The statements that set all layers of neurons."""
        if settings := self.reader.settings_of(_neuron(graph)):
            yield "for name, module in network.named_children():"
            yield "    if type(GRAPH.nodes[name]) is nir.LIF:"
            yield f"        layer = {self.reader.layer}"
            yield from (f"        {line}" for line in settings)


def for_reader(name: str) -> ReaderFormat:
    """The format for a reader of READERS."""
    return ReaderFormat(name)


def _neuron(graph: StepGraph) -> Neuron:
    """The neurons, of which only the threshold differs between layers."""
    return cast(Neuron, graph.neurons[0].neuron)


def _first(output: Any) -> Tensor:
    """The spikes in what a layer returns, which may be spikes and a state."""
    spikes: Tensor = output[0] if isinstance(output, tuple) else output
    return spikes


def _imports(reader: Reader) -> Iterator[str]:
    """The lines of imports, those of the standard library first."""
    lines = sorted({"import json", "from pathlib import Path", *reader.imports, "import nir"})
    own = [x for x in lines if x.split()[1] in ("contextlib", "functools", "io", "json", "pathlib")]
    yield from own
    yield ""
    yield from [x for x in (*lines, "import torch") if x not in own]


def _indented(lines: Iterable[str]) -> str:
    return "\n".join(4 * " " + line for line in lines).strip()


def _serialized(network: TrainedNetwork, reader: Reader | None) -> bytes:
    """The graph as a file of NIR, with its metadata."""
    writer = Writer(network.graph, reader).write()
    metadata = {"nas_service": json.dumps(_facts(network, writer), allow_nan=False)}
    graph = nir.NIRGraph(writer.nodes, writer.edges, metadata, type_check=False)
    file = io.BytesIO()
    nir.write(file, graph)
    return file.getvalue()


def _facts(network: TrainedNetwork, writer: Writer) -> dict[str, Any]:
    graph = network.graph
    neuron = _neuron(graph)
    examples = network.examples
    return network.document() | {
        "reader": writer.reader.title if writer.reader else None,
        "time_step": 1.0,  # in the unit of the graph's time constants, where there is no reader
        "late_edges": writer.late,
        "votes": graph.votes,
        "neurons": [node.name for node in graph.neurons],
        "step": "u = v + (r x + v_leak - v) time_step / tau, v = 0 at first",
        "fires": "u >= v_threshold" if neuron.fires_at_threshold else "u > v_threshold",
        "reset": neuron.reset,
        "examples": {
            "pixels": examples.tolist(),
            "scores": network.scores(examples).tolist(),
        },
    }
