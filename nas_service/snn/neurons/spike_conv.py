"""Sparse convolutions: on a CPU, inputs that are 0 are skipped.

A dense convolution spends as many multiplications on a 0 as on a spike. Where the input consists of
few spikes, the forward pass and the gradient of the weights only add up at the spikes. The backward
pass uses the list of spikes instead of the input. The gradient of the input is dense.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from nas_service.snn.neurons import native
from nas_service.snn.neurons.scan import in_cpp

# Share of non-zero inputs above which a dense convolution is faster, for many output channels; the
# share is half of that for HALF channels. Measured with fp32 and AVX2, 16 to 64 channels, kernels 3
# and 5.
AT_MOST = {"infer": 0.42, "train": 0.54}
HALF = 32


def worthwhile(c_out: int, training: bool) -> float:
    """The largest share of spikes in the input, 0..1, for which the sparse convolution is faster.

    Args:
        c_out: Output channels.
        training: True where the gradient of the weights is computed too.

    Returns:
        The share, 0..1.
    """
    return AT_MOST["train" if training else "infer"] * c_out / (c_out + HALF)


class _SpikeConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, spikes: native.Spikes) -> Tensor:
        ctx.save_for_backward(weight)
        ctx.spikes, ctx.shape = spikes, x.shape
        return native.spike_conv_forward(spikes, x.shape, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, to_y: Tensor) -> tuple[Tensor | None, Tensor | None, None]:
        (weight,) = ctx.saved_tensors
        to_x = to_weight = None
        if ctx.needs_input_grad[0]:
            turned = weight.flip(2, 3).transpose(0, 1)
            turned = turned.contiguous(memory_format=torch.channels_last)
            to_x = nn.functional.conv2d(to_y, turned, padding=weight.shape[2] // 2)
        if ctx.needs_input_grad[1]:
            to_weight = native.spike_conv_backward(ctx.spikes, ctx.shape, weight, to_y)
        return to_x, to_weight, None


class SpikeConv2d(nn.Conv2d):
    """nn.Conv2d, faster where its input [N, C, H, W] has few spikes, in channels_last on a CPU."""

    def _conv_forward(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        training = torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)
        share = worthwhile(self.out_channels, training)
        spikes = native.spikes_of(x, share) if self._suits(x, weight, bias) else None
        y: Tensor
        if spikes is None:
            y = super()._conv_forward(x, weight, bias)
        else:
            y = _SpikeConv.apply(x, weight, spikes)  # type: ignore[no-untyped-call]
        return y

    def _suits(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> bool:
        k = self.kernel_size[0]
        same_size = self.kernel_size == (k, k) and self.padding == (k // 2, k // 2) and k % 2
        plain = self.stride == self.dilation == (1, 1) and self.groups == 1 and bias is None
        if not (same_size and plain and k > 1 and x.dim() == 4 and x.numel()):
            return False
        if x.shape[1] != self.in_channels:
            return False
        if torch.is_autocast_enabled("cpu"):
            return False
        if not x.dtype == weight.dtype == torch.float32 or x.device != weight.device:
            return False
        last = x.is_contiguous(memory_format=torch.channels_last)
        return last and self.padding_mode == "zeros" and in_cpp(x)
