"""Data sets: splits without overlap, and files that are missing, short or foreign."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from nas_service.data import DATASETS
from nas_service.data.fashion_mnist import read_idx
from nas_service.data.images import Images, split
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


@pytest.mark.parametrize("missing", NAMES[:2])
def test_the_missing_file_is_named(tmp_path, missing):
    (folder_with(tmp_path) / f"{missing}.gz").unlink()
    with pytest.raises(DataError, match=f"{missing}.gz is missing"):
        read(tmp_path)


@pytest.mark.parametrize("sub", ["", "FashionMNIST/raw", "fashion_mnist"])
def test_folders_that_are_searched(tmp_path, sub):
    (tmp_path / sub).mkdir(parents=True, exist_ok=True)
    folder_with(tmp_path / sub)
    assert len(read(tmp_path)) == 20
    assert len(DATASETS["fashion_mnist"].read_test(tmp_path)) == 20


@pytest.mark.parametrize("end", ["", ".gz"])
def test_idx_by_hand(tmp_path, end):
    """Two images of 2x3 bytes, 0..11."""
    path = tmp_path / f"x{end}"
    raw = idx((2, 2, 3), bytes(range(12)))
    path.write_bytes(gzip.compress(raw) if end else raw)
    found = read_idx(path, (2, 3))
    assert found.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize("end", ["", ".gz"])
@pytest.mark.parametrize(
    ("raw", "said"),
    [
        (idx((2, 2, 3), bytes(11)), "12 bytes announced, 11 found"),
        (idx((2, 2, 3), bytes(13)), "12 bytes announced, more found"),
        (idx((0, 2, 3), b""), "0 items announced"),
        (idx((10**6 + 1, 2, 3), b""), "1000001 items announced"),
        (idx((2, 3, 2), bytes(12)), "no IDX file"),
        (idx((2, 6), bytes(12)), "no IDX file"),
        (idx((2, 2, 3), b"")[:7], "no IDX file"),
        (b"\x00\x00\x0d\x03" + idx((2, 2, 3), bytes(48))[4:], "no IDX file"),
        (b"\x01" + idx((2, 2, 3), bytes(12))[1:], "no IDX file"),
    ],
)
def test_wrong_idx_files_are_named(tmp_path, end, raw, said):
    path = tmp_path / f"wrong{end}"
    path.write_bytes(gzip.compress(raw) if end else raw)
    with pytest.raises(DataError, match=said) as caught:
        read_idx(path, (2, 3))
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("cut", [0, 5, 15, -9, -1])
def test_zipped_files_that_end_early(tmp_path, cut):
    path = tmp_path / "cut.gz"
    path.write_bytes(gzip.compress(idx((2, 2, 3), bytes(range(12))))[:cut])
    with pytest.raises(DataError, match=r"cut\.gz"):
        read_idx(path, (2, 3))


def test_what_is_not_zipped_but_says_so(tmp_path):
    path = tmp_path / "plain.gz"
    path.write_bytes(idx((2, 2, 3), bytes(12)))
    with pytest.raises(DataError, match=r"plain\.gz: damaged or unreadable"):
        read_idx(path, (2, 3))


def tagged(n=100):
    """Images that carry their own number, ten of each of ten classes."""
    pixels = np.arange(n, dtype=np.float32).reshape(n, 1, 1, 1)
    return Images(pixels, np.arange(n, dtype=np.int64) % 10)


@pytest.mark.parametrize(("wanted", "size"), [(None, 80), (80, 80), (40, 40)])
def test_parts_are_disjoint_and_stratified(wanted, size):
    parts = split(tagged(), wanted, 20, seed=4)
    numbers = [
        np.rint(p.pixels.ravel() * parts.deviation + parts.mean).astype(int).tolist()
        for p in (parts.train, parts.validation)
    ]
    assert (len(numbers[0]), len(numbers[1])) == (size, 20)
    assert len(set(numbers[0]) | set(numbers[1])) == size + 20
    assert np.bincount(parts.train.labels).tolist() == [size // 10] * 10
    assert np.bincount(parts.validation.labels).tolist() == [2] * 10
    assert [n % 10 for n in numbers[1]] == parts.validation.labels.tolist()


def test_digits_never_share_an_image():
    """1797 images; the 360 of the test are the same whoever asks."""
    train, test = DATASETS["digits"].read_train(Path()), DATASETS["digits"].read_test(Path())
    assert (len(train), len(test), train.pixels.min(), train.pixels.max()) == (1437, 360, 0, 1)
    whole = sorted(p.tobytes() for part in (train, test) for p in part.pixels)
    assert whole == sorted((p / 16).astype(np.float32).tobytes() for p in load_digits().images)
    assert DATASETS["digits"].read_test(Path()).digest == test.digest
    assert train.digest != test.digest


def test_digest_sees_every_pixel_and_label():
    a = tagged()
    other = a.pixels.copy()
    other[7] += 1
    assert a.digest == tagged().digest
    assert Images(other, a.labels).digest != a.digest
    assert Images(a.pixels, a.labels[::-1]).digest != a.digest


def test_scaling_by_hand():
    assert tagged(3).scaled(1.0, 2.0).pixels.ravel().tolist() == [-0.5, 0, 0.5]


@pytest.mark.skipif(not SHARED.exists(), reason="Fashion-MNIST is not beside the project")
def test_the_real_files():
    images = read(SHARED)
    assert np.bincount(images.labels).tolist() == [6000] * 10
    assert len(DATASETS["fashion_mnist"].read_test(SHARED)) == 10000
