"""What the operations of a traced module make of its signals.

Additions are those of one sample in one time step. An operation that only moves values keeps its
signal; one that changes the shape in a way not listed here marks it as `unknown`.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, broadcast_shapes

from nas_service.importers.nir_signal import SPIKES, Values
from nas_service.importers.nir_values import Pair
from nas_service.importers.torch_additions import Additions
from nas_service.importers.torch_signals import (
    Addition,
    Chain,
    Pooling,
    Signal,
    Use,
    merged,
    total,
)

FIRES = ("gt", "ge", "lt", "le", "heaviside", "sign")
BINARY = (*FIRES, "eq", "ne", "logical_and", "logical_or", "logical_not", "logical_xor", "signbit")
SUMS = ("add", "sub", "rsub", "lerp", "addcmul", "addcdiv", "maximum", "minimum")
PRODUCTS = ("mul", "div")
CHOICES = ("where", "masked_fill")
QUANTIZERS = (
    "fake_quantize_per_tensor_affine_cachemask",
    "fake_quantize_per_tensor_affine",
    "_fake_quantize_learnable_per_tensor_affine",
    "_fake_quantize_per_tensor_affine_cachemask_tensor_qparams",
    "_fused_moving_avg_obs_fq_helper",
)
MOVES = (
    "view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "squeeze",
    "unsqueeze", "expand", "slice", "select", "split", "split_with_sizes", "unbind", "chunk",
    "narrow", "index", "index_select", "flip", "roll", "repeat", "tile", "as_strided", "diagonal",
    "pixel_shuffle", "pixel_unshuffle", "channel_shuffle", "native_channel_shuffle", "unfold",
    "im2col", "constant_pad_nd", "reflection_pad1d", "reflection_pad2d", "replication_pad1d",
    "replication_pad2d", "upsample_nearest1d", "upsample_nearest2d", "_upsample_nearest_exact2d",
)  # fmt: skip
KEEPS = (
    *("clone", "detach", "alias", "_to_copy", "contiguous", "copy", "lift_fresh", "dropout"),
    *("relu", "clamp", "clamp_min", "clamp_max", "hardtanh", "abs", "neg", "threshold", "round"),
)
WINDOWS = ("avg_pool2d", "max_pool2d_with_indices", "max_pool2d")
ADAPTIVE = ("_adaptive_avg_pool2d", "adaptive_avg_pool2d", "adaptive_max_pool2d")
REDUCTIONS = ("sum", "mean", "amax", "amin", "max", "min")
UNKNOWN = ("cumsum", "cumprod", "sort", "topk", "histc")  # some keep the shape
PARTS_OF_UNKNOWN = ("attention", "lstm", "gru", "rnn", "fft", "cdist", "trilinear")


@dataclass(frozen=True)
class Operation:
    """One operation of a forward pass that reads signals."""

    name: str  # as torch calls it, without the _ of operations in place
    args: Sequence[Any]
    out: Tensor
    inputs: list[tuple[Tensor, Signal]]  # its arguments that are signals
    number: int
    scope: str  # the part of the module that is running
    step: Hashable  # of the part that is running, where it runs one after the other
    additions: Additions  # of the forward pass
    rows: Callable[[Tensor], int]  # samples of a tensor, times time steps
    map_of: Callable[[Use, Chain], tuple[int, ...]]  # shape of a layer's map after poolings

    @property
    def signals(self) -> list[Signal]:
        """The signals that it reads."""
        return [signal for _, signal in self.inputs]

    def size(self, x: Tensor) -> int:
        """Values of a tensor, per sample and time step."""
        return x.numel() // self.rows(x)

    def addition(self, count: int, decodes: bool = False) -> Addition:
        """Additions that this operation makes."""
        signal = merged(self.signals)
        kind = self.scope, self.name, count
        step = self.step, signal.step
        return self.additions.make(kind, signal.layers, step, self.number, count, decodes)

    def keeps_shape(self) -> bool:
        """True where the output has the shape of an input, or that its inputs are broadcast to."""
        shapes = [x.shape for x in self.args if isinstance(x, Tensor)]
        try:
            return self.out.shape in shapes or self.out.shape == broadcast_shapes(*shapes)
        except RuntimeError:
            return False


def output(op: Operation) -> Signal:
    """The signal that an operation gives."""
    for names, rule in RULES:
        if op.name in names:
            return rule(op)
    if any(part in op.name for part in PARTS_OF_UNKNOWN) or not op.keeps_shape():
        return _unknown(op)
    return replace(merged(op.signals), values=None)


def _unknown(op: Operation) -> Signal:
    signal = merged(op.signals)
    return replace(signal, values=None, unknown=signal.unknown or op.name)


def _moved(op: Operation) -> Signal:
    return merged(op.signals)


def _fired(op: Operation) -> Signal:
    """Spikes; what the neurons keep of earlier time steps is no reading of these steps."""
    return replace(merged(op.signals).now(), values=SPIKES)


def _sum(op: Operation) -> Signal:
    signal = merged(op.signals)
    if len(op.inputs) < 2:
        return signal if _by_channel(op) else replace(signal, values=None)
    values = [s.values for s in op.signals]
    grown = signal.values if op.name in ("maximum", "minimum") else total(values)
    steps = len({s.layers for s in op.signals}) < len({frozenset(s.reads) for s in op.signals})
    return replace(signal, values=grown).adding(op.addition(op.size(op.out), decodes=steps))


def _product(op: Operation) -> Signal:
    signal = merged(op.signals)
    if len(op.inputs) < 2:
        return replace(signal, values=_scaled(op, signal.values) if _by_channel(op) else None)
    values = [s.values for s in op.signals]
    others = [v for v in values if v != SPIKES]
    gated = op.name == "mul" and len(others) < 2
    return replace(signal, values=(others or [SPIKES])[0] if gated else None)


def _by_channel(op: Operation) -> bool:
    """True for a constant operand that is one number, or one for each channel."""
    constants = [
        a for a in op.args if isinstance(a, Tensor) and all(a is not x for x, _ in op.inputs)
    ]
    return all(sum(n > 1 for n in a.shape) < 2 for a in constants)


def _scaled(op: Operation, values: Values | None) -> Values | None:
    return values and replace(values, scales=values.scales | {str(op.number)})


def _choice(op: Operation) -> Signal:
    """A choice between values by a mask, or between two constants."""
    signal = merged(op.signals)
    mask = op.args[0] if op.name == "where" else op.args[1]
    parts = [s for x, s in op.inputs if x is not mask]
    return replace(signal, values=merged(parts).values if parts else SPIKES)


def _quantized(op: Operation) -> Signal:
    """Values of an activation that is rounded to integers lowest..highest times a scale."""
    lowest, highest = [a for a in op.args if type(a) is int][-2:]
    if op.name == "_fused_moving_avg_obs_fq_helper":
        lowest, highest = op.args[8:10]
    values = Values(max(int(highest) - int(lowest), 1))
    return replace(op.signals[0], values=_scaled(op, values))  # the others are statistics of it


def _side_by_side(op: Operation) -> Signal:
    """Tensors of branches, or of the time steps of one branch, as one tensor.

    Of time steps the last one counts: in the first, recurrent connections do not add yet.
    """
    numbers = [s.step for s in op.signals]
    signal = merged(op.signals)
    folds = op.rows(op.inputs[0][0]) < op.rows(op.out)
    if len(numbers) > 1 and (folds or numbers == sorted(set(numbers))):
        last = op.signals[-1]
        return replace(signal, reads=last.reads, adds=last.adds)
    return signal


def _window(op: Operation) -> Signal:
    window = _pair(op.args[1])
    kind = "max" if "max" in op.name else "mean"
    if len(op.args) > 6 and op.args[6] == 1:  # divisor_override
        kind = "sum"
    return _pooled(op, kind, window, (math.prod(window) - 1) * op.size(op.out))


def _adaptive(op: Operation) -> Signal:
    """Windows from floor(i n / m) to ceil((i + 1) n / m) for n inputs and m outputs."""
    x = op.inputs[0][0]
    rows, columns = (_spans(n, m) for n, m in zip(x.shape[-2:], op.out.shape[-2:], strict=True))
    channels = op.size(x) // math.prod(x.shape[-2:])
    count = channels * (sum(rows) * sum(columns) - len(rows) * len(columns))
    kind = "max" if "max" in op.name else "mean"
    return _pooled(op, kind, (max(rows), max(columns)), count)


def _spans(size: int, parts: int) -> list[int]:
    return [-(-(i + 1) * size // parts) - i * size // parts for i in range(parts)]


def _reduced(op: Operation) -> Signal:
    """A sum, mean or maximum over some sides; over time steps or outputs it decodes the scores."""
    x = op.inputs[0][0]
    kind = op.name if op.name in ("mean", "sum") else "max"
    if _over_map(op, x):
        window = int(x.shape[-2]), int(x.shape[-1])
        return _pooled(op, kind, window, (math.prod(window) - 1) * op.size(op.out))
    decodes = op.rows(x) != op.rows(op.out)
    count = op.size(x) - (0 if decodes else op.size(op.out))
    taps = x.numel() // op.out.numel()
    return _counted(op, kind, taps).adding(op.addition(count, decodes))


def _over_map(op: Operation, x: Tensor) -> bool:
    """True for a reduction over both sides of a map [N, C, H, W]."""
    dims = op.args[1] if len(op.args) > 1 and isinstance(op.args[1], list | tuple) else ()
    return x.dim() == 4 and {d % 4 for d in dims} == {2, 3}


def _pooled(op: Operation, kind: str, window: Pair, additions: int) -> Signal:
    x = op.inputs[0][0]
    signal = _counted(op, kind, math.prod(window))
    size = (int(op.out.shape[-2]), int(op.out.shape[-1])) if op.out.dim() == 4 else (1, 1)
    whole = [op.map_of(*read) for read in signal.reads.items()] == [tuple(x.shape[1:])]
    of_spikes = signal.values is not None
    return signal.pooled(Pooling(kind, window, size, op.addition(additions), of_spikes), whole)


def _counted(op: Operation, kind: str, taps: int) -> Signal:
    """The input with the values of the sum, mean or maximum of `taps` of its values."""
    signal = op.signals[0]
    if signal.values is None or kind == "max":
        return signal
    return replace(signal, values=signal.values.pooled(taps, kind == "mean"))


def _pair(value: Any) -> Pair:
    sides = list(value) if isinstance(value, list | tuple) else [value]
    return int(sides[0]), int(sides[-1])


Rule = Callable[[Operation], Signal]
RULES: tuple[tuple[Sequence[str], Rule], ...] = (
    (BINARY, _fired),
    (SUMS, _sum),
    (PRODUCTS, _product),
    (CHOICES, _choice),
    (QUANTIZERS, _quantized),
    (MOVES + KEEPS, _moved),
    (("cat", "stack"), _side_by_side),
    (WINDOWS, _window),
    (ADAPTIVE, _adaptive),
    (REDUCTIONS, _reduced),
    (UNKNOWN, _unknown),
)
