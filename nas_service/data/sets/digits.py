"""scikit-learn's digits: 1797 grey images of 8x8, ten classes; nothing to download.

Source: UCI, Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak).
"""

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from nas_service.data.dataset import numbered
from nas_service.data.images import Images, Stock
from nas_service.data.stratified import split_by_class
from nas_service.errors import DataError
from nas_service.spaces.task import Task

TEST_SAMPLES = 360
TASK = Task(1, 8, 10, largest_pixel=16)
SPLIT_SEED = 0  # all studies have the same test images


@cache
def _parts() -> tuple[Images, Images]:
    table = np.loadtxt(_file(), delimiter=",").astype(np.int64)  # [N, 64 pixels and the label]
    pixels = table[:, :-1].reshape(-1, 1, 8, 8).astype(np.uint8)  # 0..16
    images = Images.of(Stock.of(pixels), table[:, -1].copy())
    rest = len(images) - TEST_SAMPLES
    train, test = split_by_class(images.labels, rest, TEST_SAMPLES, SPLIT_SEED)
    return images.take(train), images.take(test)


def _file() -> Path:
    """The file of scikit-learn; to import the package would take a second."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise DataError("data.name = 'digits': its file comes with scikit-learn, which is missing")
    return Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"


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
