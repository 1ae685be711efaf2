"""Workloads as arrays: one column per layer, so that one or thousands are costed alike.

N candidates, L layers, S spike rates of a layer: one, or one for each time step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hw_models.errors import WorkloadError
from hw_models.layer import Layer
from hw_models.workload import Workload

Array = NDArray[np.float64]

NUMBERS = (
    "in_channels", "out_channels", "taps", "groups", "in_pixels", "pixels", "pooled_pixels",
    "pool_taps", "weight_bits", "input_bits", "once", "trained_numbers", "neurons", "input_adds",
    "linear", "synapses", "scales",
)  # fmt: skip


def numbers_of(layer: Layer) -> tuple[int, ...]:
    """A layer as numbers, in the order of NUMBERS."""
    return (
        layer.in_channels, layer.out_channels, layer.taps, layer.groups, layer.in_pixels,
        layer.out_pixels, layer.map_pixels, layer.pool_taps, layer.weight_bits, layer.input_bits,
        layer.once,
        layer.trained_numbers, -1 if layer.neurons is None else layer.neurons,
        layer.input_adds, layer.kind == "linear", layer.dense_operations, layer.scale_numbers,
    )  # fmt: skip


NOTHING = (
    0,
    0,
    1,
    1,
    0,
    0,
    0,
    1,
    1,
    1,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
)  # a layer that costs nothing, in this order


@dataclass(frozen=True, eq=False)
class LayerTable:
    """Layers of one workload [L], or of N workloads [N, L] filled up with empty layers.

    Counts are float64, exact to 2^53. `neurons` is -1 where a layer has one for each output.
    """

    in_channels: Array
    out_channels: Array
    taps: Array  # positions of the kernel
    groups: Array
    in_pixels: Array
    pixels: Array  # of the layer's own output map
    pooled_pixels: Array  # of the map after the pooling
    pool_taps: Array  # pixels of a pooling window
    weight_bits: Array
    input_bits: Array
    once: Array
    trained_numbers: Array
    neurons: Array
    input_adds: Array
    linear: Array
    synapses: Array  # products of a time step, none on padding
    scales: Array  # numbers beside the weights in a deployed network
    sent_bits: Array  # in a time step
    rates: Array  # [..., L, S]
    sources: NDArray[np.intp]  # [..., L, P] positions of what a layer reads, -1 for none
    loops: NDArray[np.intp]  # [..., L] number of a layer's feedback loop, 0 for none
    time_steps: Array  # [] or [N, 1]

    @classmethod
    def of(cls, workload: Workload) -> "LayerTable":
        """The layers of one workload [L]; kept with the workload, as it is costed repeatedly."""
        if "layer_table" not in workload.derived:
            workload.derived["layer_table"] = cls._of(workload)
        table: LayerTable = workload.derived["layer_table"]
        return table

    @classmethod
    def _of(cls, workload: Workload) -> "LayerTable":
        numbers = np.array([numbers_of(x) for x in workload.layers], dtype=np.float64).T
        rates = [x.rates for x in workload.layers]
        widest = max(map(len, rates))
        return cls(
            **dict(zip(NUMBERS, numbers, strict=True)),
            sent_bits=np.array(workload.sent_bits, dtype=np.float64),
            rates=np.array([r * (widest // len(r)) for r in rates], dtype=np.float64),
            sources=_padded(workload.predecessors),
            loops=np.array(workload.loops, dtype=np.intp),
            time_steps=np.float64(workload.time_steps),  # type: ignore[arg-type]
        )

    @classmethod
    def stack(cls, workloads: Sequence[Workload]) -> "LayerTable":
        """N workloads [N, L], each filled up to the longest with layers that cost nothing.

        Args:
            workloads: At least one.

        Returns:
            The table of all N workloads.

        Raises:
            WorkloadError: No workload, or spike rates for different numbers of time steps.
        """
        if not workloads:
            raise WorkloadError("no workload to cost")
        length = max(len(w.layers) for w in workloads)
        numbers = np.empty((len(workloads), length, len(NUMBERS)))
        numbers[:] = NOTHING
        widest = max(len(x.rates) for w in workloads for x in w.layers)
        rates = np.zeros((len(workloads), length, widest))
        width = max(len(read) for w in workloads for read in w.predecessors)
        sources = np.full((len(workloads), length, max(width, 1)), -1, dtype=np.intp)
        loops = np.zeros((len(workloads), length), dtype=np.intp)
        sent_bits = np.zeros((len(workloads), length))
        for n, w in enumerate(workloads):
            loops[n, : len(w.layers)] = w.loops
            sent_bits[n, : len(w.layers)] = w.sent_bits
            numbers[n, : len(w.layers)] = [numbers_of(x) for x in w.layers]
            for i, (x, read) in enumerate(zip(w.layers, w.predecessors, strict=True)):
                rates[n, i] = _spread(x, widest)
                sources[n, i, : len(read)] = read
        steps = np.array([[w.time_steps] for w in workloads], dtype=np.float64)
        columns = np.ascontiguousarray(np.moveaxis(numbers, -1, 0))
        return cls(
            **dict(zip(NUMBERS, columns, strict=True)),
            sent_bits=sent_bits,
            rates=rates,
            sources=sources,
            loops=loops,
            time_steps=steps,
        )

    def part(self, rows: slice | NDArray[np.intp]) -> "LayerTable":
        """The table of some of the N workloads."""
        return LayerTable(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def at_rate(self, rate: float) -> "LayerTable":
        """The same layers, all at one spike rate."""
        return replace(self, rates=np.full((*self.taps.shape, 1), rate))

    def __len__(self) -> int:
        """Number N of workloads."""
        return len(self.in_channels)

    @cached_property
    def rate(self) -> Any:
        """Spike rates, mean over time steps [..., L]."""
        return self.rates[..., 0] if self.rates.shape[-1] == 1 else self.rates.mean(-1)

    @cached_property
    def silent(self) -> bool:
        """True where no input ever spikes."""
        return not self.rates.any()

    @cached_property
    def dense(self) -> bool:
        """True where every input spikes."""
        return bool((self.rates == 1).all())

    @cached_property
    def looped(self) -> bool:
        """True where any layer is in a feedback loop."""
        return bool(self.loops.any())

    @cached_property
    def grouped(self) -> bool:
        """True where any convolution has groups."""
        return bool((self.groups > 1).any())

    @cached_property
    def group_channels(self) -> Any:
        """Input channels of one group [..., L]."""
        return self.in_channels / self.groups

    @cached_property
    def steps(self) -> Any:
        """Time steps in which a layer has new inputs [..., L]."""
        return np.where(self.once > 0, 1.0, self.time_steps)


def _padded(predecessors: tuple[tuple[int, ...], ...]) -> NDArray[np.intp]:
    width = max(1, *map(len, predecessors)) if len(predecessors) > 1 else 1
    rows = [(*read, *[-1] * (width - len(read))) for read in predecessors]
    return np.array(rows, dtype=np.intp)


def _spread(layer: Layer, widest: int) -> Any:
    """Spike rates of a layer in a table with `widest` of them: one for all, or one each."""
    rates = layer.rates
    if len(rates) == 1:
        return rates[0]
    if len(rates) != widest:
        raise WorkloadError(
            f"layer {layer.name!r}: rates for {len(rates)} time steps in a batch with {widest}"
        )
    return rates


def over_layers(values: Any, weights: Any = None) -> Any:
    """Sum over the layers: several times faster than `sum`, and each workload's sum is the same
    to the last bit in every batch, which a product of matrices does not promise.

    Args:
        values: Numbers [..., L].
        weights: Of each layer [..., L]; 1 by default.

    Returns:
        A number, or [N].
    """
    rows = np.ascontiguousarray(values if weights is None else values * weights)
    return np.einsum("...l->...", rows)
