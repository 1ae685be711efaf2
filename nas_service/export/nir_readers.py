"""Programs that read NIR: what each makes of a neuron, and the Python lines that load a file."""

import importlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nas_service.errors import NasError

if TYPE_CHECKING:
    from nas_service.snn.neurons import Neuron


class Constants(NamedTuple):
    """What a file says of a layer of neurons, so that its reader computes the network's neurons."""

    tau: float
    r: float
    threshold: float


@dataclass(frozen=True)
class Reader:
    """One program. A time step is u = v + (x - v) / tau in the network, see `Neuron`."""

    package: str  # what is imported
    title: str
    constants: "Callable[[Neuron], Constants]"
    imports: tuple[str, ...]
    load: tuple[str, ...]  # statements that make `network` of `GRAPH` and the number `batch`
    layer: str  # a layer of neurons, of the module that nirtorch names after its node
    at_least: str  # the statement with which a layer fires at u >= threshold; "" where it does
    above: str  # the statement with which it fires at u > threshold; "" where it does
    subtract: str | None  # the statement for a soft reset; None where it has none
    more: tuple[str, ...] = ()  # statements for each layer of neurons
    by_channel: bool = False  # it reads one constant a channel, not one a neuron

    @property
    def installed(self) -> bool:
        """True where it can be imported."""
        try:
            importlib.import_module(self.package)
        except ImportError:
            return False
        return True

    def demand_installed(self) -> None:
        """NasError where it cannot be imported."""
        if not self.installed:
            raise NasError(
                f"{self.title} is not installed: pip install {self.package}, or export without "
                "--check"
            )

    def settings(self, neuron: "Neuron") -> Iterator[str]:
        """The statements that a layer of these neurons needs after it was loaded."""
        yield from self.more
        if rule := self.at_least if neuron.fires_at_threshold else self.above:
            yield rule
        if neuron.reset == "subtract":
            yield self.subtract or ""


def in_steps(neuron: "Neuron") -> Constants:
    """NIR's own equation with a time step of 1."""
    return Constants(neuron.tau, 1.0, neuron.threshold)


def _unscaled(neuron: "Neuron") -> Constants:
    """u tau = (1 - 1 / tau) v tau + x, for a reader whose time step is 0.0001."""
    return Constants(neuron.tau * 1e-4, neuron.tau, neuron.threshold * neuron.tau)


def _exponential(neuron: "Neuron") -> Constants:
    """u tau = exp(-1 / tau') v tau + x with exp(-1 / tau') = 1 - 1 / tau."""
    decay = 1 - 1 / neuron.tau
    return Constants(-1 / math.log(decay), 1.0, neuron.threshold * neuron.tau)


BY_NODE = "{type(node): make for node in GRAPH.nodes.values() if type(node) not in ENDS}"
# Norse's and Sinabs's own functions run branches in a wrong order and add nothing where two nodes
# lead into one, without a word.
CONNECTED = f"network = nirtorch.nir_to_torch(GRAPH, {BY_NODE})"

# A new reader is one entry here.
READERS = {
    "norse": Reader(
        "norse",
        "Norse",
        in_steps,
        (
            "from functools import partial",
            "import nirtorch",
            "from norse.torch.functional.reset import reset_subtract",
            "from norse.torch.utils.import_nir import _import_norse_module",
        ),
        (
            "# norse.torch.from_nir runs branches in a wrong order: nirtorch connects the nodes",
            "make = partial(_import_norse_module, dt=1.0)",
            CONNECTED,
        ),
        layer="module",
        at_least="layer.p = layer.p._replace(v_th=below(layer.p.v_th))",
        above="",
        subtract="layer.p = layer.p._replace(reset_method=reset_subtract)",
    ),
    "snntorch": Reader(
        "snntorch",
        "snnTorch",
        _unscaled,
        ("import contextlib", "import io", "from snntorch.import_nir import import_from_nir"),
        (
            "with contextlib.redirect_stdout(io.StringIO()):  # it prints what it does",
            "    network = import_from_nir(GRAPH)",
        ),
        layer="module",
        at_least="layer.threshold = below(layer.threshold)",
        above="",
        subtract=None,
    ),
    "spikingjelly": Reader(
        "spikingjelly",
        "SpikingJelly",
        in_steps,
        ("from spikingjelly.activation_based.nir_exchange import import_from_nir",),
        ("network = import_from_nir(GRAPH, dt=1.0)",),
        layer="module.module",
        at_least="",
        above="layer.v_threshold = above(layer.v_threshold).item()",
        subtract="layer.v_reset = None",
    ),
    "sinabs": Reader(
        "sinabs",
        "Sinabs",
        _exponential,
        (
            "from functools import partial",
            "import nirtorch",
            "from sinabs.activation import MembraneReset, MembraneSubtract, SingleSpike",
            "from sinabs.nir import _import_sinabs_module",
        ),
        (
            "# sinabs.nir.from_nir runs branches in a wrong order: nirtorch connects the nodes",
            "make = partial(_import_sinabs_module, batch_size=batch, num_timesteps=None)",
            CONNECTED,
        ),
        layer="module",
        at_least="",
        above="layer.spike_threshold.data = above(layer.spike_threshold.data)",
        subtract="layer.reset_fn = MembraneSubtract()",
        more=("layer.spike_fn = SingleSpike", "layer.reset_fn = MembraneReset()"),
        by_channel=True,
    ),
}
