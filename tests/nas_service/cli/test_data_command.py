"""`nas data` as a user calls it."""

import gzip
from dataclasses import replace
from functools import partial

import command_line
import numpy as np
import pytest
from PIL import Image

from nas_service.data import DATASETS

run = partial(command_line.run, "data")
document = partial(command_line.document, "data")


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty data folder and an empty cache."""
    monkeypatch.setenv("NAS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NAS_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    return tmp_path / "data"


def test_every_data_set_describes_itself_and_its_source():
    rows = {row["name"]: row for row in document()}
    assert rows.keys() == DATASETS.keys()
    assert rows["cifar100"]["classes"] == 100
    assert (rows["n_mnist"]["encoding"], rows["mnist"]["encoding"]) == ("events", "direct")
    assert [name for name, row in rows.items() if row["present"]] == ["digits"]
    shown = run().output
    for name, row in rows.items():
        assert row["home"].startswith("http")
        assert name in shown
    assert "2 x 34 x 34" in shown


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_data_set_is_reported(name):
    result, shown = document(name), run(name).output
    assert result["home"] in shown
    for file, value in result["published"].items():
        assert f"{value.replace(':', ' ')}  {file}" in shown  # can be copied whole
    assert (result["parts"]["train"] is None) == (name != "digits")
    assert ("missing" in shown) == (name != "digits")


def test_digits_need_no_files():
    parts = document("digits")["parts"]
    assert [parts[p]["samples"] for p in ("train", "test")] == [1437, 360]


def idx(*shape):
    head = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    values = np.arange(np.prod(shape)) % 7
    return gzip.compress(head + values.astype(np.uint8).tobytes())


def put_fashion(folder):
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(20, 28, 28))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(20))


def test_unofficial_files_are_an_error(folder):
    put_fashion(folder)
    result = run("fashion_mnist")
    assert result.exit_code == 2
    expected = DATASETS["fashion_mnist"].published["train-images-idx3-ubyte.gz"]
    assert expected.removeprefix("sha256:") in result.output
    assert "train-images-idx3-ubyte.gz" in result.output


def test_a_damaged_archive_is_not_a_missing_one(folder):
    (folder / "tiny-imagenet-200.zip").write_bytes(b"PK\x03\x04")
    result = run("tiny_imagenet_200")
    assert result.exit_code == 2
    expected = DATASETS["tiny_imagenet_200"].published["tiny-imagenet-200.zip"]
    assert "tiny-imagenet-200.zip: not the official file, or damaged" in result.output
    assert expected.removeprefix("sha256:") in result.output


def test_counting_reads_no_pixel_and_reading_fills_the_cache(folder, monkeypatch, tmp_path):
    put_fashion(folder)
    unchecked = replace(DATASETS["fashion_mnist"], published={})
    monkeypatch.setitem(DATASETS, "fashion_mnist", unchecked)
    assert document("fashion_mnist")["parts"]["train"]["samples"] == 20
    assert not (tmp_path / "cache").exists()
    train = document("fashion_mnist", "--read")["parts"]["train"]
    assert (train["shape"], train["of_a_class"]) == ([1, 28, 28], [0, 3])
    assert train["digest"] == unchecked.read_train(folder).digest
    assert len(list((tmp_path / "cache").iterdir())) == 2
    assert "0..3" in run("fashion_mnist", "--read").output


@pytest.mark.parametrize("missing", ["train", "t10k"])
def test_reading_a_missing_part_is_an_error(folder, missing, tmp_path):
    """It was listed as missing, with exit code 0, after the other part was read."""
    put_fashion(folder)
    for path in folder.glob(f"{missing}*"):
        path.unlink()
    assert "missing" in run("fashion_mnist").output or missing == "t10k"
    shown = command_line.refused("data", "fashion_mnist", "--read")
    part = "train" if missing == "train" else "test"
    assert f"fashion_mnist: no files of its {part} part in {folder}" in shown
    assert not (tmp_path / "cache").exists()


def test_a_folder_of_images_shows_the_keys_of_its_study(folder):
    for name in ("train/cat", "train/dog", "test/cat", "test/dog"):
        (folder / "pets" / name).mkdir(parents=True)
        for i in range(10):
            Image.new("RGB", (6, 8)).save(folder / "pets" / name / f"{i}.png")
    result = run("image_folder", "--archive", "pets")
    assert result.exit_code == 0
    for line in ("size = 6", "classes = 2", "resize = true", "validation_samples = 2"):
        assert line in result.output.splitlines()
    read = document(
        "image_folder", "--archive", "pets", "--size", 6, "--classes", 2, "--resize", "--read"
    )
    assert read["parts"]["train"]["of_a_class"] == [10, 10]
    refused = run("image_folder", "--archive", "pets", "--size", 6, "--classes", 2, "--read")
    assert refused.exit_code == 2
    assert "6 x 8 pixels, 6 x 6 are needed" in refused.output


def test_a_folder_of_images_is_read_without_saying_its_size(folder):
    """`--read` once only printed the keys of a study here, damaged images or not."""
    for name in ("cat", "dog"):
        (folder / "pets" / name).mkdir(parents=True)
        for i in range(5):
            Image.new("RGB", (8, 8)).save(folder / "pets" / name / f"{i}.png")
    pets = ("image_folder", "--archive", "pets")
    read = document(*pets, "--read")
    assert (read["size"], read["classes"], read["parts"]["train"]["of_a_class"]) == (8, 2, [4, 4])
    assert document(*pets, "--size", 16, "--read")["parts"]["test"]["shape"][-1] == 16
    (folder / "pets" / "cat" / "2.png").write_bytes(b"")
    refused = run(*pets, "--read")
    assert refused.exit_code == 2
    assert "2.png: no image that can be read: an empty file" in refused.output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("image_folder", "--archive", "x", "--size", "8", "--classes", "2"), "searched: x);"),
        (("mnist", "--archive", "x", "--read"), "searched: x);"),
        (("--read",), "--read: NAME, a data set, is needed"),
        (("--archive", "pets"), "--archive: NAME, a data set, is needed"),
        (("mnst",), "did you mean 'mnist'?"),
        (("image_folder",), "needs data.archive"),
        (("image_folder", "--archive", "../x"), "below the data folder"),
        (
            ("image_folder", "--archive", "nowhere"),
            "searched: nowhere); --data or NAS_DATA names another folder\n",
        ),
        (("digits", "--archive", "x"), "digits has no files"),
        (("cifar10", "--size", "8"), "only for image_folder"),
    ],
)
def test_wrong_arguments_are_refused(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.output
