"""Batches of images as tensors. B images, T frames, C channels, H W pixels.

`raw` is for a device: bytes are moved, and `scale` makes numbers of them where they are.
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
    """Pixels [B, C, H, W], or [B, T, C, H, W] of events: uint8, or int32 where counts pass 255."""
    places = index.cpu().numpy() if isinstance(index, Tensor) else index
    pixels = images.stock.pixels[images.rows[places]]  # a copy: the stock is never changed
    return torch.from_numpy(pixels if pixels.dtype == np.uint8 else pixels.astype(np.int32))


def scale(images: Images, pixels: Tensor) -> Tensor:
    """Raw pixels as float32, (pixels - mean) / deviation by channel, on the pixels' device."""
    mean, deviation = (
        torch.from_numpy(x).to(pixels.device)[:, None, None]
        for x in (images.mean, images.deviation)
    )
    return (pixels.float() - mean) / deviation


class Examples(Protocol):
    """What a network is trained on or scored with."""

    @property
    def labels(self) -> Tensor:
        """[N] int64."""

    def pixels(self, index: Tensor) -> Tensor:
        """Images [B, ...] as they are kept, which may still be moved about."""

    def scaled(self, pixels: Tensor) -> Tensor:
        """The same as a network reads them, on their device."""


@dataclass(frozen=True, eq=False)
class StoredImages:
    """Images whose pixels stay where they are until a batch of them is needed."""

    images: Images

    @property
    def labels(self) -> Tensor:
        return torch.from_numpy(self.images.labels)

    def pixels(self, index: Tensor) -> Tensor:
        return raw(self.images, index)

    def scaled(self, pixels: Tensor) -> Tensor:
        return scale(self.images, pixels)


@dataclass(frozen=True, eq=False)
class ImageTensors:
    """Images as tensors of numbers [N, ...]: for few of them."""

    values: Tensor
    labels: Tensor

    def pixels(self, index: Tensor) -> Tensor:
        return self.values[index]

    def scaled(self, pixels: Tensor) -> Tensor:
        return pixels


def batch(images: Images, index: Index) -> tuple[Tensor, Tensor]:
    """Scaled images [B, ...] and their labels [B]."""
    places = index.cpu().numpy() if isinstance(index, Tensor) else index
    return scale(images, raw(images, places)), torch.from_numpy(images.labels[places])


def all_images(images: Images) -> tuple[Tensor, Tensor]:
    """All images of a part at once, as float32: for small sets."""
    return batch(images, slice(None))
