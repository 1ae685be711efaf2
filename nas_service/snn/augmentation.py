"""Random crops and flips of tensors, on their device. B images, C channels, H W pixels."""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """How training images are varied; all frames of one recording are moved alike."""

    crop: int = 0  # pixels of black border from which a window of the original size is cut
    flip: bool = False  # left to right, with probability 1/2

    def __call__(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Crops and flips images at random.

        Args:
            pixels: Raw pixels [B, ..., H, W].
            generator: A generator on the CPU, which draws for each image.

        Returns:
            The pixels [B, ..., H, W]; the same tensor where nothing is asked for.
        """
        cropped = _cropped(pixels, self.crop, generator) if self.crop else pixels
        return _flipped(cropped, generator) if self.flip else cropped


AS_IS = Augmentation()


def _cropped(pixels: Tensor, border: int, generator: torch.Generator) -> Tensor:
    count, side = len(pixels), pixels.shape[-1]
    planes = torch.nn.functional.pad(pixels.flatten(1, -3), [border] * 4)  # [B, C, H + 2b, W + 2b]
    corner = torch.randint(2 * border + 1, (2, count, 1), generator=generator)
    rows, columns = (corner + torch.arange(side)).to(pixels.device)  # each [B, H]
    image = torch.arange(count, device=pixels.device)[:, None, None]
    window = planes.permute(0, 2, 3, 1)[image, rows[:, :, None], columns[:, None, :]]
    return window.permute(0, 3, 1, 2).reshape(pixels.shape)


def _flipped(pixels: Tensor, generator: torch.Generator) -> Tensor:
    chosen = torch.rand(len(pixels), generator=generator).to(pixels.device) < 0.5
    return torch.where(chosen.view(-1, *[1] * (pixels.dim() - 1)), pixels.flip(-1), pixels)
