"""Batches of images as tensors. B images, T frames, C channels, H W pixels.

`raw` gives bytes, which are fast to copy to a device; `scale` makes numbers of them there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_service.data.images import Images

Index = NDArray[np.int64] | Tensor | Sequence[int] | slice


def raw(images: Images, index: Index) -> Tensor:
    """Unscaled pixels of some images.

    Args:
        images: The images.
        index: Their numbers [B], or a slice.

    Returns:
        [B, C, H, W], or [B, T, C, H, W] of events; uint8, or int32 where counts are above 255.
    """
    positions = index.cpu().numpy() if isinstance(index, Tensor) else index
    pixels = images.stock.pixels[images.rows[positions]]  # a copy: the stock is never changed
    return torch.from_numpy(pixels if pixels.dtype == np.uint8 else pixels.astype(np.int32))


def scale(images: Images, pixels: Tensor) -> Tensor:
    """Scales raw pixels: (pixels - mean) / deviation by channel.

    Args:
        images: The images, with the mean and deviation of each channel [C].
        pixels: [..., C, H, W].

    Returns:
        float32 of the same shape, on the device of the pixels.
    """
    mean, deviation = (
        torch.from_numpy(x).to(pixels.device)[:, None, None]
        for x in (images.mean, images.deviation)
    )
    return (pixels.float() - mean) / deviation


class Examples(Protocol):
    """Labelled images that a network is trained on or scored with."""

    @property
    def labels(self) -> Tensor:
        """[N] int64."""

    def pixels(self, index: Tensor) -> Tensor:
        """Raw pixels [B, ...] of some images, which augmentation may still vary."""

    def scaled(self, pixels: Tensor) -> Tensor:
        """Raw pixels [B, ...] as a network reads them, on their device."""


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images of a data set, whose pixels are read from memory or disk batch by batch."""

    images: Images

    @property
    def labels(self) -> Tensor:
        """See `Examples.labels`."""
        return torch.from_numpy(self.images.labels)

    def pixels(self, index: Tensor) -> Tensor:
        """See `Examples.pixels`."""
        return raw(self.images, index)

    def scaled(self, pixels: Tensor) -> Tensor:
        """See `Examples.scaled`."""
        return scale(self.images, pixels)


@dataclass(frozen=True, eq=False)
class ImageTensors:
    """A few images as tensors of scaled numbers [N, ...]."""

    values: Tensor
    labels: Tensor

    def pixels(self, index: Tensor) -> Tensor:
        """The scaled pixels [B, ...] of some images."""
        return self.values[index]

    def scaled(self, pixels: Tensor) -> Tensor:
        """The same pixels, which are scaled already."""
        return pixels


def batch(images: Images, index: Index) -> tuple[Tensor, Tensor]:
    """Scaled pixels and labels of some images.

    Args:
        images: The images.
        index: Their numbers [B], or a slice.

    Returns:
        Pixels [B, C, H, W], or [B, T, C, H, W] of events, and labels [B].
    """
    positions = index.cpu().numpy() if isinstance(index, Tensor) else index
    return scale(images, raw(images, positions)), torch.from_numpy(images.labels[positions])


def all_images(images: Images) -> tuple[Tensor, Tensor]:
    """All images, scaled [N, ...], and their labels [N]: for small data sets."""
    return batch(images, slice(None))
