"""The workload of any torch module, from recording the operations of one forward pass.

The module runs one time step of an example, or time folded into the batch, or one step after the
other.
"""

import logging

import torch
from norse.torch.module.snn import SNN, SNNRecurrent
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from hw_models import Workload, WorkloadError
from nas_service.importers.nir_signal import Values
from nas_service.importers.torch_layers import Pass, layers_of
from nas_service.importers.torch_quantizers import is_recurrent_stack
from nas_service.importers.torch_recorder import Recorder, Unfit

log = logging.getLogger(__name__)

PIXEL_BITS = 8
MOST_BITS = 32
OVER_TIME = (SNN.forward, SNNRecurrent.forward)
GATED = (nn.RNNBase, nn.RNNCellBase)


def from_module(
    module: nn.Module,
    example: Tensor,
    time_steps: int,
    weight_bits: int = 8,
    input_bits: int | None = None,
) -> Workload:
    """The workload of a module.

    Spike rates are measured on the example. Bits of values inside follow from the operations: the
    mean of k x k spikes has ceil(log2(k^2 + 1)), values that are no sums of spikes have 8.

    Args:
        module: Put into evaluation mode for the run; unchanged afterwards.
        example: Inputs [B, ...] of one time step; one input may leave out B. A module that runs
            over time, as Norse's do, reads [T, B, ...].
        time_steps: Time steps of an inference.
        weight_bits: Bits of all weights.
        input_bits: Bits of the example's values. None: as many as its largest value needs where
            all are whole numbers, else 8; which is logged.

    Returns:
        The workload, with one layer for each weight matrix, in the order in which they run.

    Raises:
        WorkloadError: A part of the module has no counterpart on a chip; the message names it.
    """
    module = getattr(module, "_orig_mod", module)  # of torch.compile
    _demand_known(module)
    _demand_numbers(example)
    if type(time_steps) is not int or time_steps < 1:
        raise WorkloadError(f"time_steps = {time_steps!r:.60}: a whole number from 1 is needed")
    values = _values(example, input_bits)
    with torch.inference_mode(False), torch.no_grad():
        run = _recorded(module, example, time_steps, weight_bits, values)
    workload = Workload(layers_of(run, time_steps), time_steps)
    if silent := [layer.name for layer in workload.layers if not any(layer.rates)]:
        log.warning("layers %s read no spike of the example: a lower bound of their energy", silent)
    return workload


def _recorded(
    module: nn.Module, example: Tensor, time_steps: int, weight_bits: int, values: Values
) -> Pass:
    """A forward pass of a batch; an example of 1 or 3 dimensions may be one input without B."""

    def record(x: Tensor, samples: int) -> Pass:
        return Recorder(module, samples, time_steps, weight_bits).record(x, values)

    if any(map(_runs_over_time, module.modules())):
        if example.dim() < 3 or len(example) not in (1, time_steps):
            raise WorkloadError(
                f"example {tuple(example.shape)}: the module runs over time, "
                f"[{time_steps}, B, ...] is needed"
            )
        return record(example, example.shape[1])
    if example.dim() in (1, 3):
        try:
            return record(example[None], 1)
        except Unfit:
            if example.dim() == 1:
                raise
    return record(example, len(example))


def _runs_over_time(part: nn.Module) -> bool:
    """True for Norse's modules over time, and SpikingJelly's in multi-step mode."""
    return type(part).forward in OVER_TIME or getattr(part, "step_mode", "s") == "m"


def _demand_known(module: nn.Module) -> None:
    """WorkloadError for parts whose products no forward pass shows, or that have no weights yet."""
    for name, part in module.named_modules():
        kind = f"module {name or 'module'!r} ({type(part).__name__})"
        if isinstance(part, torch.jit.ScriptModule):
            raise WorkloadError(f"{kind}: the module from which it was compiled is needed")
        if isinstance(part, GATED) or is_recurrent_stack(part):
            library = "torch" if isinstance(part, GATED) else "Brevitas"
            raise WorkloadError(
                f"{kind}: {library}'s recurrent layers are not spiking: Norse's recurrent cells, "
                "or a layer list with `feedback`, are needed"
            )
        if any(map(is_lazy, part.parameters(recurse=False))):
            raise WorkloadError(f"{kind}: it has no weights yet: it must have been called once")


def _demand_numbers(example: object) -> None:
    if not isinstance(example, Tensor):
        raise WorkloadError(f"example {type(example).__name__}: a tensor [B, ...] is needed")
    shape = tuple(example.shape)
    if not shape or not example.numel():
        raise WorkloadError(f"example {shape}: a tensor [B, ...] with values is needed")
    if example.is_complex() or not bool(example.isfinite().all()):
        raise WorkloadError(f"example {shape}: real, finite values are needed")


def _values(example: Tensor, input_bits: int | None) -> Values:
    """Values of the network's own input."""
    if input_bits is None:
        input_bits, reason = _coding(example)
        level = logging.INFO if input_bits == 1 else logging.WARNING
        log.log(level, "input_bits = %d: %s", input_bits, reason)
    elif type(input_bits) is not int or not 1 <= input_bits <= MOST_BITS:
        raise WorkloadError(f"input_bits = {input_bits!r:.60}: 1..{MOST_BITS} are possible")
    return Values(2**input_bits - 1)


def _coding(example: Tensor) -> tuple[int, str]:
    """Bits of the example's values, and why."""
    x = example.detach().double()
    least, most = float(x.min()), float(x.max())
    if not bool((x == x.round()).all()):
        return PIXEL_BITS, f"the example has fractions in {least:g}..{most:g}, as scaled images"
    bits = max(int(most).bit_length(), 1)
    if least < 0:
        bits = max(bits, (int(-least) - 1).bit_length()) + 1
    if bits > MOST_BITS:
        raise WorkloadError(f"example: a value of {most:g}, at most {MOST_BITS} bits are possible")
    return bits, f"the example has whole numbers in {least:g}..{most:g}"
