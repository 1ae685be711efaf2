"""Networks in files: layer lists, NIR graphs, architectures, and trials with an architecture.

One reader for every command that asks for a network. What a file does not say is either said by
the caller or assumed, and what was assumed is named.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hw_models import Layer, Workload, WorkloadError
from hw_models.assumption import Assumption
from hw_models.files.json_file import read_json
from hw_models.files.text_file import LARGEST_B
from hw_models.layer_list import FIGURES, IMAGE_BITS, REMEDIES, read_layers
from hw_models.network import Network
from nas_service.errors import SpecError
from nas_service.importers import nir_layers
from nas_service.importers.nir_file import time_steps_in
from nas_service.importers.nir_signal import ANALOG_BITS
from nas_service.spaces.architecture_document import (
    GRAPH_SUFFIXES,
    architecture_in,
    holds_architecture,
)
from nas_service.spaces.input_density import ASSUMED, InputDensity

if TYPE_CHECKING:
    from nas_service.study.spec import StudySpec

SUFFIXES = (".json", *GRAPH_SUFFIXES)
KINDS = (
    "a layer list (time_steps, layers), an architecture (cells, channels, ...), or what "
    "`nas show NAME TRIAL --json` or `nas evaluate --json` prints is needed"
)
Layers = tuple[Layer, ...]
Rate = float | Sequence[float]


@dataclass(frozen=True)
class Given:
    """Figures that the caller gives: they replace those of a file.

    Args:
        time_steps: Time steps of an inference.
        weight_bits: Bits of all weights.
        input_bits: Bits of the values that the network reads.
        spike_rate: Share of inputs that are not 0, 0..1: of all layers, one of each in their
            order, or by the name of each; one of each may be one per time step.
        input_shape: Shape of what the network reads, (channels, height, width) or (features,).
    """

    time_steps: int | None = None
    weight_bits: int | None = None
    input_bits: int | None = None
    spike_rate: Rate | Sequence[Rate] | Mapping[str, Rate] | None = None
    input_shape: tuple[int, ...] | None = None


def read_network(
    path: Path,
    given: Given,
    spec: "StudySpec | None" = None,
    density: InputDensity | None = None,
) -> Network:
    """Reads a network from a file of any known kind.

    Args:
        path: A layer list, an architecture, a trial or an evaluation (.json), or a NIR graph
            (.nir, .h5, .hdf5).
        given: Figures that the file does not say, or that replace the file's.
        spec: The study whose images an architecture is for.
        density: Of the bits of these images; None where they are not known.

    Returns:
        The workload, and what was assumed.

    Raises:
        WorkloadError: It is no such file, or lacks what nobody gave.
        FileError: The file cannot be read.
        SpecError: It holds an architecture that is wrong, or one without a study.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise WorkloadError(f"{path}: suffix {suffix!r}, one of {', '.join(SUFFIXES)} is needed")
    if suffix in GRAPH_SUFFIXES:
        return _graph(path, given)
    document = read_json(path)
    try:
        if holds_architecture(document):
            return _architecture(document, given, spec, density or ASSUMED)
        return _layer_list(document, given)
    except (WorkloadError, SpecError) as error:
        raise type(error)(f"{path}: {error}") from None


def load_workload(path: Path, time_steps: int | None = None) -> Workload:
    """Reads a layer list (.json) or a NIR graph (.nir, .h5, .hdf5); suffixes in any case.

    Args:
        path: The file.
        time_steps: Time steps of an inference; a layer list has its own, a graph has none.

    Returns:
        The workload.

    Raises:
        WorkloadError: It is no such file, or a graph without `time_steps`.
    """
    return read_network(path, Given(time_steps=time_steps)).workload


def _graph(path: Path, given: Given) -> Network:
    steps = given.time_steps or time_steps_in(path, LARGEST_B)
    if steps is None:
        raise WorkloadError(
            f"{path}: a graph has no time steps: --time-steps is needed (a file that `nas export "
            "--format nir` wrote says its own)"
        )
    bits = given.weight_bits or FIGURES["weight_bits"], given.input_bits or FIGURES["input_bits"]
    read = nir_layers(path, *bits, given.input_shape)
    assumed = [
        Assumption(figure, FIGURES[figure], (), remedy) for figure, remedy in REMEDIES.items()
    ]
    if read.image and given.input_bits is None:
        assumed.append(Assumption("input_bits", bits[1], read.image, IMAGE_BITS))
    if read.analog:
        remedy = "input_bits in a layer list"
        assumed.append(Assumption("input_bits", ANALOG_BITS, read.analog, remedy))
    try:  # the bits of what the graph reads are in the layers, which may read means of it
        return _network(read.layers, steps, assumed, replace(given, input_bits=None))
    except WorkloadError as error:
        raise WorkloadError(f"{path}: {error}") from None


def _layer_list(document: Any, given: Given) -> Network:
    if isinstance(document, dict) and "layers" not in document:
        raise WorkloadError(f"no network (its keys: {', '.join(document):.60}): {KINDS}")
    read = read_layers(document, given.time_steps, given.input_shape)
    return _network(read.layers, read.time_steps, read.assumed, given)


def _architecture(
    document: Any, given: Given, spec: "StudySpec | None", density: InputDensity
) -> Network:
    if spec is None:
        raise SpecError("an architecture needs --study, the study whose images it is for")
    from nas_service.data import source_of
    from nas_service.snn.trace import trace
    from nas_service.spaces.architecture import Architecture
    from nas_service.spaces.operations import operations_of
    from nas_service.spaces.task import PIXEL_BITS
    from nas_service.study.assumed_rates import AssumedRates

    inner, facts = architecture_in(document)
    task = source_of(spec.data).task
    shape = (task.channels, task.size, task.size)
    if given.input_shape not in (None, shape):
        raise SpecError(f"--input {given.input_shape}, but the images of the study are {shape}")
    architecture = Architecture.from_json(inner, operations_of(spec.space.operations))
    workload = trace(architecture, task, spec.network.votes)
    assumed = [Assumption("input_bits", PIXEL_BITS, ("stem",), IMAGE_BITS)]
    if facts.get("spike_rates"):  # measured in its training
        workload = Workload(_at_rates(workload.layers, facts["spike_rates"]), workload.time_steps)
    else:
        rates = AssumedRates(1.0, density, REMEDIES["spike_rate"])
        if given.spike_rate is None:
            assumed += rates.assumptions(workload)
        steps = given.time_steps or workload.time_steps
        workload = rates.of_workload(replace(workload, time_steps=steps))
    if density.measured:
        given = replace(given, spike_rate=_inside(given.spike_rate, workload.layers))
    network = _network(workload.layers, workload.time_steps, assumed, given)
    return replace(network, chip=dict(architecture.chip))


def _inside(rate: Any, layers: Layers) -> Any:
    """One rate for all layers but the first, whose input is known; other rates as they are."""
    if rate is None or isinstance(rate, Mapping | Sequence):
        return rate
    return {layers[0].name: layers[0].spike_rate} | {x.name: rate for x in layers[1:]}


def _network(
    layers: Layers, time_steps: Any, assumed: Iterable[Assumption], given: Given
) -> Network:
    """The network of layers, with the figures that the caller gives."""
    if given.weight_bits is not None:
        layers = tuple(replace(x, weight_bits=given.weight_bits) for x in layers)
    if given.input_bits is not None:
        layers = tuple(
            replace(x, input_bits=given.input_bits) if _reads_image(x, i) else x
            for i, x in enumerate(layers)
        )
    if given.spike_rate is not None:
        layers = _at_rates(layers, given.spike_rate)
    steps = time_steps if given.time_steps is None else given.time_steps
    settled = {REMEDIES[figure] for figure in REMEDIES if getattr(given, figure) is not None}
    settled |= {IMAGE_BITS} if given.input_bits is not None else set()
    left = tuple(x for x in assumed if x.remedy not in settled)
    return Network(Workload(layers, steps), left)


def _reads_image(layer: Layer, position: int) -> bool:
    if layer.sources is None:
        return position == 0
    return not layer.sources and not layer.feedback


def _at_rates(layers: Layers, rates: Any) -> Layers:
    """The layers at one spike rate, at one for each in their order, or at one by the name of each.

    Raises:
        WorkloadError: Rates for other layers, or none for some.
    """
    if not isinstance(rates, Mapping | list | tuple):
        rates = [rates] * len(layers)
    names = [x.name for x in layers]
    if not isinstance(rates, Mapping):
        if len(rates) != len(layers):
            needed = f"{len(layers)} spike rates are needed, one for each layer"
            raise WorkloadError(f"{needed}, not {len(rates)}")
        rates = dict(zip(names, rates, strict=True))
    if missing := [name for name in names if name not in rates]:
        raise WorkloadError(f"spike rates: none for layer {missing[0]!r}: one a layer is needed")
    if unknown := [name for name in rates if name not in names]:
        raise WorkloadError(
            f"spike rates: {unknown[0]!r:.60} is no layer of {', '.join(names):.80}"
        )
    return tuple(replace(x, spike_rate=_rate(rates[x.name])) for x in layers)


def _rate(rate: Any) -> Any:
    return tuple(rate) if isinstance(rate, list) else rate
