"""Labelled images and how they are split. N images, C channels, H W pixels."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from nas_service.errors import DataError
from nas_service.spaces.task import Task


@dataclass(frozen=True, eq=False)
class Images:
    """Pixels [N, C, H, W] in float32 and labels [N] in int64."""

    pixels: NDArray[np.float32]
    labels: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, index: NDArray[np.int64]) -> "Images":
        return Images(self.pixels[index], self.labels[index])

    def scaled(self, mean: float, deviation: float) -> "Images":
        return Images((self.pixels - np.float32(mean)) / np.float32(deviation), self.labels)

    @property
    def digest(self) -> str:
        """16 hex digits, equal for equal pixels and labels."""
        content = hashlib.sha256(np.ascontiguousarray(self.pixels).tobytes())
        content.update(np.ascontiguousarray(self.labels).tobytes())
        return content.hexdigest()[:16]


@dataclass(frozen=True)
class Source:
    """A data set: its task, and how to read its two parts from the data folder."""

    task: Task
    read_train: Callable[[Path], Images]  # everything that is not test, pixels in 0..1
    read_test: Callable[[Path], Images]  # never read by the search
    validation_samples: int  # held out by default


@dataclass(frozen=True, eq=False)
class Split:
    """What a search sees, and the scaling that its training images define."""

    train: Images
    validation: Images
    mean: float
    deviation: float


def split(images: Images, train_samples: int | None, validation_samples: int, seed: int) -> Split:
    """Two stratified parts without overlap, scaled to mean 0 and deviation 1 of the first."""
    rest = len(images) - validation_samples
    wanted = rest if train_samples is None else train_samples
    if rest < 1 or wanted > rest:
        raise DataError(
            f"{wanted} training and {validation_samples} validation images asked of {len(images)}"
        )
    first, held_out = train_test_split(
        np.arange(len(images)),
        train_size=wanted,
        test_size=validation_samples,
        random_state=seed,
        stratify=images.labels,
    )
    train = images.take(first)
    mean, deviation = float(train.pixels.mean()), float(train.pixels.std())
    scaled = (train.scaled(mean, deviation), images.take(held_out).scaled(mean, deviation))
    return Split(*scaled, mean, deviation)
