"""scikit-learn's digits: 1797 grey images of 8x8, ten classes; nothing to download.

Source: UCI, Optical Recognition of Handwritten Digits (E. Alpaydin, C. Kaynak).
"""

from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from nas_service.data.images import Images, Source
from nas_service.spaces.task import Task

TEST_SAMPLES = 360
SPLIT_SEED = 0  # the test images are the same in every study


def _parts() -> tuple[Images, Images]:
    bunch = load_digits()
    pixels = (bunch.images / 16).astype(np.float32)[:, None]  # [N, 1, 8, 8], 0..1
    whole = Images(pixels, bunch.target.astype(np.int64))
    train, test = train_test_split(
        np.arange(len(whole)),
        test_size=TEST_SAMPLES,
        random_state=SPLIT_SEED,
        stratify=whole.labels,
    )
    return whole.take(train), whole.take(test)


def _read_train(_: Path) -> Images:
    return _parts()[0]


def _read_test(_: Path) -> Images:
    return _parts()[1]


SOURCE = Source(Task(1, 8, 10), _read_train, _read_test, validation_samples=360)
