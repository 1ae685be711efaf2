"""The real files, where they lie beside the project."""

from pathlib import Path

import numpy as np
import pytest

from nas_service.data import DATASETS, source_of
from nas_service.data.batches import batch
from nas_service.data.images import split
from nas_service.study.sections import Data

SHARED = Path(__file__).parents[3] / "../shared/data"
TINY = "tinyimagenet20_subset_8000_900.zip"
N_MNIST = "nmnist_subset_1000_100.zip"


def beside(name):
    there = (SHARED / name).exists()
    return pytest.mark.skipif(not there, reason=f"{name} is not beside the project")


@beside("FashionMNIST")
def test_fashion_mnist():
    """Byte for byte the official files: their hashes are checked on the way."""
    images = DATASETS["fashion_mnist"].read_train(SHARED)
    assert np.bincount(images.labels).tolist() == [6000] * 10
    assert len(DATASETS["fashion_mnist"].read_test(SHARED)) == 10000
    mean, deviation = images.moments()
    assert (mean[0] / 255, deviation[0] / 255) == pytest.approx((0.2860, 0.3530), abs=5e-5)


@beside(TINY)
def test_pictures_of_a_zip():
    source = source_of(Data(name="image_folder", archive=TINY, size=64, classes=20))
    images, test = source.read_train(SHARED), source.read_test(SHARED)
    assert np.bincount(images.labels).tolist() == [400] * 20
    assert np.bincount(test.labels).tolist() == [45] * 20
    parts = split(images, None, 800, seed=0)
    pixels, _ = batch(parts.train, slice(0, 500))
    assert pixels.shape == (500, 3, 64, 64)
    assert pixels.mean((0, 2, 3)).abs().max() < 0.2


@beside(N_MNIST)
def test_recordings_of_a_zip():
    source = source_of(Data(name="n_mnist", archive=N_MNIST))
    images, test = source.read_train(SHARED, 6), source.read_test(SHARED, 6)
    assert (len(images), len(test)) == (1000, 100)
    assert images.shape == (6, 2, 34, 34)
    counts = images.stock.pixels.sum((1, 2, 3, 4), dtype=np.int64)
    assert (counts.min(), counts.max()) > (1000, 7000)  # 5 bytes each: 1069..7152 in all files
    assert counts.max() <= 7152
    by_frame = images.stock.pixels.sum((0, 2, 3, 4), dtype=np.int64) / counts.sum()
    assert by_frame.min() > 0.05  # three saccades: something moves in every sixth of the time
