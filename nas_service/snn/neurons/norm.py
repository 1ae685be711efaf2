"""A batch norm and the neurons after it as one operation, which reads every value once less.

T time steps are folded into the batch, [T*B, C, H, W], or a constant current is [B, C, H, W].
"""

from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nas_service.snn.neurons import native
from nas_service.snn.neurons.layers import LIF
from nas_service.snn.neurons.neuron import SNASNET, Neuron
from nas_service.snn.neurons.scan import demand_whole_steps, in_cpp


class _NormScan(torch.autograd.Function):
    """nn.functional.batch_norm followed by Scan; returns spikes and variances of the batch [C]."""

    @staticmethod
    def forward(
        ctx: Any,
        current: Tensor,
        weight: Tensor,
        bias: Tensor,
        norm: native.Norm,
        neuron: Neuron,
        T: int,
        constant: bool,
    ) -> tuple[Tensor, Tensor]:
        spikes, x, variance = native.norm_forward(current, norm, neuron, T, constant)
        ctx.save_for_backward(x, weight, bias, norm.mean, norm.inverse_deviation)
        ctx.call = norm.training, neuron, T, constant
        ctx.mark_non_differentiable(variance)
        return spikes, variance

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_spikes: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, bias, mean, inverse_deviation = ctx.saved_tensors
        training, neuron, T, constant = ctx.call
        norm = native.Norm(weight, bias, mean, inverse_deviation, training)
        gradients = native.norm_backward(x, norm, to_spikes, neuron, T, constant)
        return *gradients, None, None, None, None


class BatchNormLIF(nn.BatchNorm2d):
    """nn.BatchNorm2d followed by LIF: currents [T*B, C, H, W] to spikes [T*B, C, H, W], 0 or 1.

    Its state_dict is that of nn.BatchNorm2d. The C++ backend runs both as one operation; with any
    other backend, and while `lif` has hooks, they run one after the other.
    """

    def __init__(
        self,
        channels: int,
        time_steps: int,
        neuron: Neuron = SNASNET,
        momentum: float = 0.1,
        constant: bool = False,
    ) -> None:
        super().__init__(channels, momentum=momentum)
        self.lif = LIF(time_steps, neuron, constant)

    def forward(self, current: Tensor) -> Tensor:
        """Spikes from currents, in one operation where the C++ backend runs."""
        self._check_input_dim(current)
        if self._fusible(current):
            return self._fused(current)
        spikes: Tensor = self.lif(super().forward(current))
        return spikes

    def _fusible(self, current: Tensor) -> bool:
        hooked = self.lif._forward_hooks or self.lif._forward_pre_hooks
        if hooked or current.shape[1] != self.num_features:
            return False
        fp32 = self.weight.dtype == torch.float32 and self.weight.device == current.device
        return fp32 and in_cpp(current)

    def _fused(self, current: Tensor) -> Tensor:
        lif = self.lif
        demand_whole_steps(current, lif.time_steps, lif.constant)
        norm = self._norm(current)
        spikes, variance = _NormScan.apply(  # type: ignore[no-untyped-call]
            current, self.weight, self.bias, norm, lif.neuron, lif.time_steps, lif.constant
        )
        if self.training:
            self._update_statistics(norm.mean, variance)
        return spikes  # type: ignore[no-any-return]

    def _norm(self, current: Tensor) -> native.Norm:
        mean, variance = cast(Tensor, self.running_mean), cast(Tensor, self.running_var)
        if not self.training:
            inverse = (variance + self.eps).rsqrt_()
            return native.Norm(self.weight, self.bias, mean, inverse, False)
        if current.numel() <= self.num_features:
            raise ValueError(f"batch norm of one value per channel: {tuple(current.shape)}")
        computed = torch.empty_like(mean), torch.empty_like(mean)
        return native.Norm(self.weight, self.bias, *computed, True, self.eps)

    @torch.no_grad()
    def _update_statistics(self, mean: Tensor, variance: Tensor) -> None:
        calls = cast(Tensor, self.num_batches_tracked).add_(1)
        momentum = 1 / float(calls) if self.momentum is None else self.momentum
        cast(Tensor, self.running_mean).lerp_(mean, momentum)
        cast(Tensor, self.running_var).lerp_(variance, momentum)
