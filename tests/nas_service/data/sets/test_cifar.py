"""CIFAR-10 and CIFAR-100 in a few records of their own."""

import io
import tarfile
from dataclasses import replace

import numpy as np
import pytest

from nas_service.data.sets.cifar import CIFAR10, CIFAR100, reader
from nas_service.errors import DataError

RECORDS = {"train": 10, "test": 2}


def small(source):
    return replace(source, read=reader(source.uses, RECORDS), published={})


def contents(source, labels=None):
    """Every file's bytes, the pixels [12, 3, 32, 32] and the labels [12] in the files' order."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (12, 3, 32, 32), dtype=np.uint8)
    fine = rng.integers(0, source.task.classes, 12, dtype=np.uint8) if labels is None else labels
    coarse = [3] if source.task.classes == 100 else []
    rows = [bytes([*coarse, y]) + x.tobytes() for x, y in zip(pixels, fine, strict=True)]
    names = [name for part in source.uses.values() for name in part]
    each = len(rows[:10]) // len(source.uses["train"])
    files = [b"".join(rows[i : i + each]) for i in range(0, 10, each)] + [b"".join(rows[10:])]
    return dict(zip(names, files, strict=True)), pixels, fine


def in_folder(tmp_path, source, files):
    folder = tmp_path / source.locations[0].path
    folder.mkdir()
    for name, content in files.items():
        (folder / name).write_bytes(content)


def in_archive(tmp_path, source, files):
    place = source.locations[1]
    with tarfile.open(tmp_path / place.path, "w:gz") as archive:
        for name, content in reversed(files.items()):  # as official archives, in no order
            info = tarfile.TarInfo(f"{place.root}/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("source", [CIFAR10, CIFAR100], ids=lambda s: s.name)
@pytest.mark.parametrize("put", [in_folder, in_archive])
def test_every_record_is_read(source, put, tmp_path):
    files, pixels, labels = contents(source)
    put(tmp_path, source, files)
    train, test = small(source).read_train(tmp_path), small(source).read_test(tmp_path)
    assert (train.stock.pixels == pixels[:10]).all()
    assert (test.stock.pixels == pixels[10:]).all()
    assert [*train.labels, *test.labels] == labels.tolist()


def test_another_place_below_the_data_folder(tmp_path):
    files, _, labels = contents(CIFAR10)
    (tmp_path / "mine").mkdir()
    in_archive(tmp_path / "mine", CIFAR10, files)
    (tmp_path / "mine" / CIFAR10.locations[1].path).rename(tmp_path / "mine" / "copy.tgz")
    result = small(CIFAR10).in_archive("mine/copy.tgz").read_train(tmp_path)
    assert result.labels.tolist() == labels[:10].tolist()


@pytest.mark.parametrize(
    ("source", "change", "message"),
    [
        (CIFAR10, lambda raw: raw[:-1], "6145 bytes, 2 images of 3073 are needed"),
        (CIFAR10, lambda raw: b"\x0a" + raw[1:], "label 10, 0..9"),
        (CIFAR100, lambda raw: b"\x14" + raw[1:], "label 20, 0..19"),
        (CIFAR100, lambda raw: raw[:1] + b"\x64" + raw[2:], "label 100, 0..99"),
    ],
)
def test_wrong_records_are_named(source, change, message, tmp_path):
    files, *_ = contents(source)
    last = source.uses["train"][-1]
    in_folder(tmp_path, source, files | {last: change(files[last])})
    with pytest.raises(DataError, match=message) as caught:
        small(source).read_train(tmp_path)
    assert last in str(caught.value)
    assert len(small(source).read_test(tmp_path)) == 2


@pytest.mark.parametrize("put", [in_folder, in_archive])
def test_suffixes_in_any_case(put, tmp_path):
    files, _, labels = contents(CIFAR10)
    put(tmp_path, CIFAR10, {name.replace(".bin", ".BIN"): file for name, file in files.items()})
    for path in tmp_path.glob("*.gz"):
        path.rename(tmp_path / "cifar-10-binary.TAR.GZ")
    with pytest.raises(DataError, match="not the official file"):  # its hash is compared
        CIFAR10.read_train(tmp_path)
    assert small(CIFAR10).read_train(tmp_path).labels.tolist() == labels[:10].tolist()


@pytest.mark.parametrize("put", [in_folder, in_archive])
def test_a_missing_file_is_named(put, tmp_path):
    files, *_ = contents(CIFAR10)
    files.pop("data_batch_3.bin")
    put(tmp_path, CIFAR10, files)
    with pytest.raises(DataError, match=r"data_batch_3\.bin.*missing"):
        small(CIFAR10).read_train(tmp_path)


def test_hashes_of_the_official_files(tmp_path):
    """Of the archive, or of its members where it is unpacked."""
    files, *_ = contents(CIFAR10)
    in_archive(tmp_path, CIFAR10, files)
    expected = "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"
    with pytest.raises(DataError, match=f"cifar-10-binary.tar.gz: not .* expected {expected}"):
        CIFAR10.read_train(tmp_path)
    in_folder(tmp_path, CIFAR10, files)
    with pytest.raises(DataError, match=r"data_batch_1\.bin: not the official file"):
        CIFAR10.read_train(tmp_path)
