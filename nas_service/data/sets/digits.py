"""scikit-learn's digits: 1797 grey images of 8x8, ten classes; nothing to download.

Source: UCI, Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak).
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from nas_service.data.dataset import numbered
from nas_service.data.images import Images, Stock
from nas_service.spaces.task import Task

TEST_SAMPLES = 360
TASK = Task(1, 8, 10, largest_pixel=16)
SPLIT_SEED = 0  # all studies have the same test images


@cache
def _parts() -> tuple[Images, Images]:
    from sklearn.datasets import load_digits  # slow to load, and most commands read no image
    from sklearn.model_selection import train_test_split

    bunch = load_digits()
    pixels = bunch.images.astype(np.uint8)[:, None]  # [N, 1, 8, 8], 0..16
    images = Images.of(Stock.of(pixels), bunch.target.astype(np.int64))
    train, test = train_test_split(
        np.arange(len(images)),
        test_size=TEST_SAMPLES,
        random_state=SPLIT_SEED,
        stratify=images.labels,
    )
    return images.take(train), images.take(test)


@dataclass(frozen=True)
class Digits:
    """A data set that comes with scikit-learn."""

    name: str = "digits"
    task: Task = TASK
    validation_samples: int = 360
    home: str = "https://archive.ics.uci.edu/dataset/80 (comes with scikit-learn)"
    licence: str = "CC BY 4.0"

    def read_train(self, folder: Path, time_steps: int = 1) -> Images:
        """All training and validation images; the arguments do not matter."""
        return _parts()[0]

    def read_test(self, folder: Path, time_steps: int = 1) -> Images:
        """The test images; the arguments do not matter."""
        return _parts()[1]

    def class_names(self, folder: Path) -> tuple[str, ...]:
        """The ten digits."""
        return numbered(self.task.classes)


SOURCE = Digits()
