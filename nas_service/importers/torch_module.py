"""The workload of any torch module, from recording the operations of one forward pass.

The module runs one time step (or time folded into the batch) of an example. For every tensor that
depends on the example the layers are recorded that it depends on, so branches and skips are
noticed whatever code makes them.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from norse.torch.module.snn import SNN, SNNCell, SNNRecurrent, SNNRecurrentCell
from torch import Tensor, nn
from torch.nn.utils.parametrize import ParametrizationList
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakIdKeyDictionary

from hw_models import Layer, Workload, WorkloadError
from hw_models.layer import pair
from nas_service.snn.neurons.scan import forced

aten = torch.ops.aten
PIXEL_BITS = 8
WINDOWS = range(2, 17)  # sides of average poolings whose means of spikes are recognised
RECURRENT = (nn.RNNBase, nn.RNNCellBase, SNNRecurrent, SNNRecurrentCell)
MATRICES = (aten.mm.default, aten.addmm.default, aten.bmm.default, aten.baddbmm.default)
POOLS = (
    aten.avg_pool2d.default,
    aten.max_pool2d_with_indices.default,
    aten._adaptive_avg_pool2d.default,
    aten.mean.dim,
)


def from_module(
    module: nn.Module, example: Tensor, time_steps: int, weight_bits: int = 8
) -> Workload:
    """The workload of a module.

    Spike rates are measured on the example. Inputs that are no spikes count as means of spikes
    where they are multiples of 1 / window^2, else as 8-bit values.

    Args:
        module: Put into evaluation mode for the run; unchanged afterwards.
        example: Inputs [B, ...] of one time step.
        time_steps: Time steps of an inference.
        weight_bits: Bits of all weights.

    Raises:
        WorkloadError: A part of the module has no counterpart on a chip; the message names it.
    """
    _demand_feed_forward(module)
    if not isinstance(example, Tensor) or example.dim() < 2:
        raise WorkloadError(f"example {type(example).__name__}: a tensor [B, ...] is needed")
    recorder = _Recorder(weight_bits, module, rows=(len(example), len(example) * time_steps))
    was_training = module.training
    with torch.inference_mode(False), torch.no_grad(), recorder.names():
        try:
            module.eval()
            recorder.run(example)
        finally:
            module.train(was_training)
    recorder.demand_all()
    return Workload(tuple(recorder.layers.values()), time_steps)


def _demand_feed_forward(module: nn.Module) -> None:
    for name, part in module.named_modules():
        if isinstance(part, RECURRENT):
            raise WorkloadError(
                f"module {name!r} ({type(part).__name__}): recurrent weights are not supported"
            )


@dataclass(frozen=True)
class _Signal:
    """The layers that a tensor depends on, and the additions per sample after these layers."""

    sources: frozenset[str]
    adds: int


@dataclass
class _Recorder(TorchDispatchMode):
    """Records every operation of one forward pass."""

    weight_bits: int
    module: nn.Module
    rows: tuple[int, int]  # possible numbers of input vectors: images, or images times time steps
    layers: dict[str, Layer] = field(default_factory=dict)
    signals: Any = field(default_factory=WeakIdKeyDictionary)
    running: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def run(self, example: Tensor) -> None:
        """Runs the module on an example; WorkloadError where it does not fit."""
        inputs = example.detach().clone()
        self.signals[inputs] = _Signal(frozenset(), 0)
        try:
            with forced("python"), self:  # torch does not dispatch what runs in C++
                self.module(inputs)
        except RuntimeError as error:
            shape = tuple(example.shape)
            raise WorkloadError(f"module: an example {shape} does not pass ({error})") from error

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        signals = [self.signals[x] for x in _tensors(args) if x in self.signals]
        if not signals:
            return out
        if func is aten.convolution.default:
            signal = self._convolution(args, signals)
        elif func in MATRICES:
            signal = self._matrix(func, args)
        else:
            signal = self._passed(func, args, out, signals)
        for tensor in _tensors([out]):
            self.signals[tensor] = signal
        return out

    def _convolution(self, args: Any, signals: list[_Signal]) -> _Signal:
        x, weight, bias, stride, padding, dilation, transposed, _, groups = args
        if x not in self.signals or weight in self.signals:
            raise self._cannot("weights that depend on the input are not supported")
        if transposed or x.dim() != 4 or any(d != 1 for d in dilation):
            raise self._cannot(
                "only plain convolutions of maps are known: not transposed, "
                "not dilated, two dimensions"
            )
        sides = [x.shape[2:], weight.shape[2:], stride, padding]
        if any(len({int(n) for n in pair}) > 1 for pair in sides):
            raise self._cannot(
                f"maps {tuple(x.shape[2:])} and kernels {tuple(weight.shape[2:])}: "
                "square ones are needed"
            )
        side, kernel = x.shape[-1], weight.shape[-1]
        out_size = (side + 2 * padding[0] - kernel) // stride[0] + 1
        return self._keep(
            x,
            weight,
            bias,
            kind="conv",
            in_channels=x.shape[1],
            kernel=kernel,
            out_channels=weight.shape[0],
            stride=stride[0],
            groups=groups,
            in_size=side,
            out_size=out_size,
        )

    def _matrix(self, func: Any, args: Any) -> _Signal:
        bias = args[0] if "add" in str(func) else None
        x, weight = args[-2:]
        if x not in self.signals or weight in self.signals or weight.dim() != 2:
            raise self._cannot("products of two signals, or of stacked matrices, are not supported")
        if len(x) not in self.rows:
            raise self._cannot(f"{len(x)} vectors for {self.rows[0]} images: one each is supported")
        return self._keep(
            x,
            weight,
            bias,
            kind="linear",
            in_channels=weight.shape[0],
            out_channels=weight.shape[1],
        )

    def _keep(self, x: Tensor, weight: Tensor, bias: Tensor | None, **shape: Any) -> _Signal:
        name = self.running[-1] if self.running else "module"
        if name in self.layers:
            raise self._cannot(
                "it is used twice in one pass: give one time step, and every layer "
                "weights of its own"
            )
        signal = self.signals[x]
        for source in signal.sources if x.dim() == 4 else ():
            self._unpool(source, x.shape[-1])
        bits, rate = _coding(x)
        plain: dict[str, Any] = {k: v if isinstance(v, str) else int(v) for k, v in shape.items()}
        self.layers[name] = Layer(
            name,
            **plain,
            weight_bits=self.weight_bits,
            input_bits=bits,
            spike_rate=rate,
            parameters=weight.numel() + (0 if bias is None else bias.numel()),
            input_adds=signal.adds,
            sources=tuple(sorted(signal.sources, key=list(self.layers).index)),
        )
        return _Signal(frozenset([name]), 0)

    def _passed(self, func: Any, args: Any, out: Any, signals: list[_Signal]) -> _Signal:
        """The output of an operation without weights: sums of branches, poolings, neurons."""
        sources = frozenset().union(*(s.sources for s in signals))
        adds = max(s.adds for s in signals)
        tensors = _tensors([out])
        if any(s.sources != sources for s in signals) and tensors and "cat" not in str(func):
            adds = sum({s.sources: s.adds for s in signals}.values()) + tensors[0][0].numel()
        if func in POOLS and tensors and tensors[0].dim() in (2, 4) and args[0].dim() == 4:
            adds += self._pooled(args[0], tensors[0], sources)
        return _Signal(sources, adds)

    def _pooled(self, x: Tensor, y: Tensor, sources: frozenset[str]) -> int:
        """The additions of a pooling; 0 where it is recorded at the only layer before it."""
        shrunk = x.shape[-1] // (y.shape[-1] if y.dim() == 4 else 1)
        layers = [self.layers[name] for name in sources]
        if shrunk > 1 and len(layers) == 1 and layers[0].map_size == x.shape[-1]:
            (layer,) = layers
            self.layers[layer.name] = replace(layer, pool=pair(layer.pool)[0] * shrunk)
            return 0
        window = (
            shrunk if shrunk > 1 else 3
        )  # a pooling that keeps the size of its map is 3x3 in our spaces
        return (window**2 - 1) * y[0].numel()

    def _unpool(self, source: str, side: int) -> None:
        """Removes the pooling of a layer that is also read before it."""
        layer = self.layers[source]
        height, _ = pair(layer.out_size)
        if pair(layer.map_size)[0] < side <= height:
            self.layers[source] = replace(layer, pool=height // side)

    def _cannot(self, reason: str) -> WorkloadError:
        name = self.running[-1] if self.running else "module"
        return WorkloadError(f"module {name!r}: {reason}")

    @contextmanager
    def names(self) -> Iterator[None]:
        """A context in which the recorder knows which part of the module is running."""
        hooks = []
        for name, part in self.module.named_modules():
            if any(True for _ in part.children()) and not getattr(part, "parametrizations", None):
                continue
            hooks.append(part.register_forward_pre_hook(self._enter(name)))
            hooks.append(part.register_forward_hook(self._leave(part), always_call=True))
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _enter(self, name: str) -> Callable[..., None]:
        def enter(*_: Any) -> None:
            self.running.append(name or "module")

        return enter

    def _leave(self, part: nn.Module) -> Callable[..., None]:
        def leave(_: nn.Module, __: Any, out: Any) -> None:
            self.running.pop()
            tensors = _tensors([out])
            if isinstance(part, SNN | SNNCell) and tensors and tensors[0] in self.signals:
                self._neurons(tensors[0])

        return leave

    def _neurons(self, spikes: Tensor) -> None:
        """Counts neurons for the layer before them; where branches meet, for the last one."""
        names = [name for name in self.layers if name in self.signals[spikes].sources]
        for name in names[-1:]:
            self.layers[name] = replace(self.layers[name], neurons=spikes[0].numel())

    def demand_all(self) -> None:
        """WorkloadError where there is no layer, or a part with weights did not run."""
        if not self.layers:
            raise WorkloadError("module: no layer with weights")
        idle = [
            name or "module"
            for name, part in self.module.named_modules()
            if _holds_weights(part) and (name or "module") not in self.layers
        ]
        if idle:
            raise WorkloadError(f"modules {idle}: weights that the example did not reach")


def _holds_weights(part: nn.Module) -> bool:
    """True where a module itself has a matrix, maybe through a parametrization."""
    if isinstance(part, ParametrizationList):
        return False
    return hasattr(part, "parametrizations") or any(
        p.dim() >= 2 for p in part.parameters(recurse=False)
    )


def _coding(x: Tensor) -> tuple[int, float]:
    """Bits of a layer's inputs, and the share of them that is not 0, 0..1."""
    rate = float((x != 0).double().mean())
    if bool(((x == 0) | (x == 1)).all()):
        return 1, rate
    for side in WINDOWS:
        levels = x * side**2
        if float(x.min()) >= 0 and float((levels - levels.round()).abs().max()) < 1e-4:
            return (side**2).bit_length(), rate
    return PIXEL_BITS, rate


def _tensors(values: Any) -> list[Tensor]:
    """Tensors among arguments, lists of them included."""
    tensors: list[Tensor] = []
    for value in values if isinstance(values, list | tuple) else [values]:
        if isinstance(value, Tensor):
            tensors.append(value)
        elif isinstance(value, list | tuple):
            tensors += _tensors(value)
    return tensors
