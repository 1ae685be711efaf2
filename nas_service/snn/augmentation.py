"""Random crops and flips on tensors, on their device. B images, C channels, H W pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """What is done to training images; the frames of one recording are moved alike."""

    crop: int = 0  # pixels of black border from which a window of the old size is cut
    flip: bool = False  # left to right, every other image

    def __call__(self, pixels: Tensor, die: torch.Generator) -> Tensor:
        """Raw pixels [B, ..., H, W], moved by throws of the die."""
        moved = _cropped(pixels, self.crop, die) if self.crop else pixels
        return _flipped(moved, die) if self.flip else moved


AS_IS = Augmentation()


def _cropped(pixels: Tensor, border: int, die: torch.Generator) -> Tensor:
    count, side = len(pixels), pixels.shape[-1]
    planes = torch.nn.functional.pad(pixels.flatten(1, -3), [border] * 4)  # [B, C, H + 2b, W + 2b]
    corner = torch.randint(2 * border + 1, (2, count, 1), generator=die)
    rows, columns = (corner + torch.arange(side)).to(pixels.device)  # each [B, H]
    image = torch.arange(count, device=pixels.device)[:, None, None]
    found = planes.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
    return found.permute(0, 3, 1, 2).reshape(pixels.shape)


def _flipped(pixels: Tensor, die: torch.Generator) -> Tensor:
    chosen = torch.rand(len(pixels), generator=die).to(pixels.device) < 0.5
    return torch.where(chosen.view(-1, *[1] * (pixels.dim() - 1)), pixels.flip(-1), pixels)
