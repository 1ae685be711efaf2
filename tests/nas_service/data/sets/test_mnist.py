"""IDX files: contents written by hand, and an error for each kind of damage."""

import gzip
import io
from dataclasses import replace

import numpy as np
import pytest

from nas_service.data import DATASETS
from nas_service.data.sets.mnist import FASHION_MNIST, parse_idx
from nas_service.errors import DataError

NAMES = [f"{p}-{k}" for p in ("train", "t10k") for k in ("images-idx3-ubyte", "labels-idx1-ubyte")]
UNCHECKED = replace(FASHION_MNIST, published={})


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
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(raw, mtime=0))
    return tmp_path


def read(folder):
    return UNCHECKED.read_train(folder)


def test_files_are_read_as_images_and_labels(tmp_path):
    images = read(folder_with(tmp_path))
    expected = np.random.default_rng(0).integers(0, 256, (20, 28, 28), dtype=np.uint8)
    assert (images.stock.pixels[:, 0] == expected).all()
    assert images.labels.tolist() == [i % 10 for i in range(20)]


def test_reads_files_that_are_not_zipped(tmp_path):
    folder_with(tmp_path)
    expected = read(tmp_path).digest
    for path in tmp_path.glob("*.gz"):
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert read(tmp_path).digest == expected


def test_suffixes_in_any_case(tmp_path):
    expected = read(folder_with(tmp_path)).digest
    for path in tmp_path.glob("*.gz"):
        path.rename(path.with_suffix(".GZ"))
    assert read(tmp_path).digest == expected


def test_a_changed_file_is_read_again(tmp_path):
    before = read(folder_with(tmp_path)).digest
    assert read(folder_with(tmp_path, n=30)).digest != before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": idx((20, 28, 28), bytes(19 * 784))}, "15680 bytes announced, it has 14896"),
        ({"images": idx((20, 28, 28), bytes(21 * 784))}, "it has more"),
        ({"images": idx((20, 32, 32), bytes(20 * 1024))}, "no IDX file"),
        ({"images": b"PK\x03\x04"}, "no IDX file"),
        ({"images": idx((2**31, 28, 28), b"")}, "2147483648 items"),
        ({"labels": idx((19,), bytes(19))}, "19 labels for 20 train images"),
        ({"labels": idx((20,), bytes([10] * 20))}, "label 10"),
        ({"labels": b""}, "no IDX file"),
    ],
)
def test_damaged_files_are_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=message) as caught:
        read(folder_with(tmp_path, **changes))
    assert str(tmp_path) in str(caught.value)


def test_a_flipped_byte_is_found(tmp_path):
    path = folder_with(tmp_path) / "train-images-idx3-ubyte.gz"
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)
    with pytest.raises(DataError, match="train-images"):
        read(tmp_path)


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist"])
def test_files_that_are_not_the_official_ones(name, tmp_path):
    """Both sets name their files alike, so the hash alone tells them apart."""
    source = DATASETS[name]
    folder = tmp_path / source.locations[0].path
    folder.mkdir(parents=True)
    folder_with(folder)
    with pytest.raises(DataError, match="not the official file") as caught:
        source.read_train(tmp_path)
    expected = source.published["train-images-idx3-ubyte.gz"].removeprefix("sha256:")
    assert expected in str(caught.value)
    assert "train-images-idx3-ubyte.gz: " in str(caught.value)


def test_missing_files_name_the_expected_folder(tmp_path):
    with pytest.raises(DataError, match=r"FashionMNIST/raw.*NAS_DATA.*zalandoresearch"):
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
    assert len(UNCHECKED.read_test(tmp_path)) == 20


def written(raw, zipped):
    return gzip.compress(raw, mtime=0) if zipped else raw


@pytest.mark.parametrize("zipped", [False, True])
def test_idx_by_hand(zipped):
    """Two images of 2x3 bytes, 0..11."""
    result = parse_idx(written(idx((2, 2, 3), bytes(range(12))), zipped), "x", (2, 3))
    assert result.tolist() == [[[0, 1, 2], [3, 4, 5]], [[6, 7, 8], [9, 10, 11]]]


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (idx((2, 2, 3), bytes(11)), "12 bytes announced, it has 11"),
        (idx((2, 2, 3), bytes(13)), "12 bytes announced, it has more"),
        (idx((0, 2, 3), b""), "0 items announced"),
        (idx((10**6 + 1, 2, 3), b""), "1000001 items announced"),
        (idx((2, 3, 2), bytes(12)), "no IDX file"),
        (idx((2, 6), bytes(12)), "no IDX file"),
        (idx((2, 2, 3), b"")[:7], "no IDX file"),
        (b"\x00\x00\x0d\x03" + idx((2, 2, 3), bytes(48))[4:], "no IDX file"),
        (b"\x01" + idx((2, 2, 3), bytes(12))[1:], "no IDX file"),
    ],
)
def test_wrong_idx_files_are_named(zipped, raw, message):
    with pytest.raises(DataError, match=message) as caught:
        parse_idx(written(raw, zipped), "some.file", (2, 3))
    assert "some.file" in str(caught.value)


@pytest.mark.parametrize("cut", [0, 5, 15, -9, -1])
def test_zipped_files_that_end_early(cut):
    with pytest.raises(DataError, match=r"some\.file"):
        parse_idx(written(idx((2, 2, 3), bytes(range(12))), True)[:cut], "some.file", (2, 3))


def test_a_gzip_bomb_is_unpacked_no_further_than_announced():
    """64 MiB of zeros after the twelve bytes that are announced."""
    file = io.BytesIO()
    with gzip.GzipFile(fileobj=file, mode="wb", compresslevel=1) as packed:
        packed.write(idx((2, 2, 3), bytes(12)))
        for _ in range(64):
            packed.write(bytes(2**20))
    with pytest.raises(DataError, match="12 bytes announced, it has more"):
        parse_idx(file.getvalue(), "bomb", (2, 3))
