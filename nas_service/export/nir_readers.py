"""Programs that read NIR: what each makes of a neuron, and the Python lines that load a file."""

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from nas_service.errors import NasError, SpecError

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
    # the statements that each layer needs after it was loaded, by reset and `fires_at_threshold`;
    # a rule that is missing is not possible
    settings: Mapping[tuple[str, bool], tuple[str, ...]]
    least_tau: float = 0.0  # in time steps; it must be larger
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

    def settings_of(self, neuron: "Neuron") -> tuple[str, ...]:
        """The statements that each layer of these neurons needs after it was loaded.

        Raises:
            SpecError: It has no such neurons.
        """
        rule = neuron.reset, neuron.fires_at_threshold
        if neuron.tau <= self.least_tau:
            raise SpecError(
                f"{self.title} needs a time constant above {self.least_tau:g} time steps, the "
                f"network has {neuron.tau:g}; {self._others(neuron)}"
            )
        if rule not in self.settings:
            resets = f"{self.title} resets to 0, the network by subtraction"
            raise SpecError(f"{resets}; {self._others(neuron)}")
        return self.settings[rule]

    def _others(self, neuron: "Neuron") -> str:
        """What can say these neurons, for the end of a message."""
        rule = neuron.reset, neuron.fires_at_threshold
        able = [
            name
            for name, reader in READERS.items()
            if rule in reader.settings and neuron.tau > reader.least_tau
        ]
        return f"--for {', '.join(able)}, and the formats nir, torch and onnx can"


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


ZERO, SUBTRACT = "zero", "subtract"  # resets
ABOVE, AT = False, True  # a neuron fires above its threshold, or at it too
SINGLE = ("layer.spike_fn = SingleSpike", "layer.reset_fn = MembraneReset()")
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
        settings={
            (ZERO, ABOVE): (),
            (ZERO, AT): ("layer.p = layer.p._replace(v_th=below(layer.p.v_th))",),
            (SUBTRACT, ABOVE): ("layer.p = layer.p._replace(reset_method=reset_subtract)",),
            (SUBTRACT, AT): (
                "reset = lambda z, u, v_reset, v_th: u - z * above(v_th)",
                "layer.p = layer.p._replace(v_th=below(layer.p.v_th), reset_method=reset)",
            ),
        },
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
        settings={
            (ZERO, ABOVE): (),
            (ZERO, AT): ("layer.threshold = below(layer.threshold)",),
        },
    ),
    "spikingjelly": Reader(
        "spikingjelly",
        "SpikingJelly",
        in_steps,
        ("from spikingjelly.activation_based.nir_exchange import import_from_nir",),
        ("network = import_from_nir(GRAPH, dt=1.0)",),
        layer="module.module",
        settings={
            (ZERO, ABOVE): ("layer.v_threshold = above(layer.v_threshold).item()",),
            (ZERO, AT): (),
            (SUBTRACT, ABOVE): (
                "layer.v_reset = None",
                "del layer.surrogate_function  # a module, which a function replaces",
                "layer.surrogate_function = lambda distance: (distance > 0).to(distance)",
            ),
            (SUBTRACT, AT): ("layer.v_reset = None",),
        },
        least_tau=1.0,
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
        settings={
            (ZERO, ABOVE): (
                *SINGLE,
                "layer.spike_threshold.data = above(layer.spike_threshold.data)",
            ),
            (ZERO, AT): SINGLE,
            (SUBTRACT, ABOVE): (
                SINGLE[0],
                "layer.reset_fn = MembraneSubtract(layer.spike_threshold.data.clone())",
                "layer.spike_threshold.data = above(layer.spike_threshold.data)",
            ),
            (SUBTRACT, AT): (SINGLE[0], "layer.reset_fn = MembraneSubtract()"),
        },
        least_tau=1.0,
        by_channel=True,
    ),
}
