"""Data sets: splits without overlap, and files that are missing, short or foreign."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from nas_service.data import DATASETS
from nas_service.data.images import split
from nas_service.errors import DataError

SHARED = Path(__file__).parents[3] / "../shared/data"
NAMES = [f"{p}-{k}" for p in ("train", "t10k") for k in ("images-idx3-ubyte", "labels-idx1-ubyte")]


def test_digits_split_once():
    train = DATASETS["digits"].read_train(Path())
    test = DATASETS["digits"].read_test(Path())
    parts = split(train, None, 360, seed=0)
    assert (len(parts.train), len(parts.validation), len(test)) == (1077, 360, 360)
    assert abs(parts.train.pixels.mean()) < 1e-5
    assert parts.train.pixels.std() == pytest.approx(1, abs=1e-5)
    for part in (parts.validation, test):
        assert np.bincount(part.labels).min() >= 34
    assert split(train, None, 360, seed=0).train.digest == parts.train.digest
    assert split(train, None, 360, seed=1).train.digest != parts.train.digest


def test_more_images_asked_than_there_are():
    with pytest.raises(DataError, match="1078 training and 360 validation"):
        split(DATASETS["digits"].read_train(Path()), 1078, 360, seed=0)


def idx(shape, body):
    head = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return head + body


def folder_with(tmp_path, n=20, **changes):
    pixels = np.random.default_rng(0).integers(0, 256, (n, 28, 28), dtype=np.uint8)
    labels = np.arange(n, dtype=np.uint8) % 10
    contents = {"images": idx((n, 28, 28), pixels.tobytes()), "labels": idx((n,), labels.tobytes())}
    contents |= changes
    for name in NAMES:
        raw = contents["images" if "images" in name else "labels"]
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(raw))
    return tmp_path


def read(folder):
    return DATASETS["fashion_mnist"].read_train(folder)


def test_reads_what_it_should(tmp_path):
    images = read(folder_with(tmp_path))
    assert images.pixels.shape == (20, 1, 28, 28)
    assert images.pixels.max() <= 1
    assert images.labels.tolist() == [i % 10 for i in range(20)]


def test_reads_files_that_are_not_zipped(tmp_path):
    folder_with(tmp_path)
    expected = read(tmp_path).digest
    for path in tmp_path.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert read(tmp_path).digest == expected


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"images": idx((20, 28, 28), bytes(19 * 784))}, "15680 bytes announced, 14896 found"),
        ({"images": idx((20, 28, 28), bytes(21 * 784))}, "more found"),
        ({"images": idx((20, 32, 32), bytes(20 * 1024))}, "no IDX file"),
        ({"images": b"PK\x03\x04"}, "no IDX file"),
        ({"images": idx((2**31, 28, 28), b"")}, "2147483648 items"),
        ({"labels": idx((19,), bytes(19))}, "19 labels for 20 images"),
        ({"labels": idx((20,), bytes([10] * 20))}, "label 10"),
        ({"labels": b""}, "no IDX file"),
    ],
)
def test_damaged_files_are_named(tmp_path, changes, said):
    with pytest.raises(DataError, match=said) as caught:
        read(folder_with(tmp_path, **changes))
    assert "idx" in str(caught.value)


def test_a_flipped_byte_is_found(tmp_path):
    path = folder_with(tmp_path) / "train-images-idx3-ubyte.gz"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="train-images"):
        read(tmp_path)


def test_missing_file_says_where_to_put_it(tmp_path):
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte.gz is missing.*NAS_DATA"):
        read(tmp_path)


@pytest.mark.skipif(not SHARED.exists(), reason="Fashion-MNIST is not beside the project")
def test_the_real_files():
    images = read(SHARED)
    assert np.bincount(images.labels).tolist() == [6000] * 10
    assert len(DATASETS["fashion_mnist"].read_test(SHARED)) == 10000
