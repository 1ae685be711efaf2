"""The cache: what comes out is what went in, damage is noticed, processes do not disturb."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from nas_service.data.cache import Samples, cached, folder_of_cache, key_of
from nas_service.errors import DataError

PIXELS = np.random.default_rng(0).integers(0, 256, (10, 2, 4, 4), dtype=np.uint8)
LABELS = np.arange(10) % 3


def samples(pixels=PIXELS, labels=LABELS, step=4, order=reversed):
    starts = list(order(range(0, len(pixels), step)))
    chunks = ((i, pixels[i : i + step], labels[i : i + step]) for i in starts)
    return Samples(len(pixels), pixels.shape[1:], chunks)


def refuse():
    raise AssertionError("read again")


def same(images, pixels=PIXELS):
    return (images.stock.pixels == pixels).all() and (images.labels == LABELS).all()


@pytest.mark.parametrize("step", [1, 3, 10])
@pytest.mark.parametrize("order", [list, reversed])
def test_round_trip_in_any_order(step, order, tmp_path):
    images = cached(tmp_path, "x", lambda: samples(step=step, order=order))
    assert same(images)
    assert isinstance(images.stock.pixels, np.memmap)
    assert not images.stock.pixels.flags.writeable
    again = cached(tmp_path, "x", refuse)
    assert same(again)
    assert again.digest == images.digest
    assert (again.stock.sums[:, :, 0] == PIXELS.sum((2, 3))).all()
    assert (again.stock.sums[:, :, 1] == (PIXELS.astype(int) ** 2).sum((2, 3))).all()
    assert os.listdir(tmp_path) == ["x"]


def test_counts_that_a_byte_cannot_hold(tmp_path):
    wide = PIXELS.astype(np.int64)
    wide[9, 0, 0, 0] = 256
    images = cached(tmp_path, "x", lambda: samples(wide))
    assert images.stock.pixels.dtype == np.uint16
    assert same(images, wide)


def test_counts_that_nothing_holds(tmp_path):
    wide = PIXELS.astype(np.int64)
    wide[9, 0, 0, 0] = 65536
    with pytest.raises(DataError, match="65536 events of one pixel"):
        cached(tmp_path, "x", lambda: samples(wide))
    assert os.listdir(tmp_path) == []


def test_missing_samples_are_an_error(tmp_path):
    missing = Samples(11, PIXELS.shape[1:], samples().chunks)
    with pytest.raises(DataError, match="1 of 11 samples were not read"):
        cached(tmp_path, "x", lambda: missing)
    with pytest.raises(DataError, match="0 of 0"):
        cached(tmp_path, "y", lambda: Samples(0, PIXELS.shape[1:], iter(())))
    assert os.listdir(tmp_path) == []


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(raw)


def zero(path):
    path.write_bytes(bytes(path.stat().st_size))


@pytest.mark.parametrize("name", ["pixels.npy", "labels.npy", "sums.npy", "about.json"])
@pytest.mark.parametrize("damage", [cut, flip, zero, os.remove])
def test_a_damaged_entry_is_made_again(name, damage, tmp_path):
    digest = cached(tmp_path, "x", samples).digest
    damage(tmp_path / "x" / name)
    images = cached(tmp_path, "x", samples)
    assert same(images)
    assert images.digest == digest
    assert same(cached(tmp_path, "x", refuse))
    assert os.listdir(tmp_path) == ["x"]


def test_an_entry_of_another_version(tmp_path):
    cached(tmp_path, "x", samples)
    about = json.loads((tmp_path / "x" / "about.json").read_text())
    about["version"] += 1
    (tmp_path / "x" / "about.json").write_text(json.dumps(about))
    with pytest.raises(AssertionError, match="read again"):
        cached(tmp_path, "x", refuse)


class Touch:
    """A pickle of it makes a file when it is loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_pickle_is_never_loaded(tmp_path):
    """Not even to compare its digest: what a pickle runs, it runs while it is loaded."""
    cached(tmp_path, "x", samples)
    path, made = tmp_path / "x" / "labels.npy", tmp_path / "made"
    np.save(path, np.array([Touch(made)], dtype=object), allow_pickle=True)
    np.load(path, allow_pickle=True)
    made.unlink()  # it would have run
    assert same(cached(tmp_path, "x", samples))
    assert not made.exists()


def test_a_copied_entry_is_known_by_its_content(tmp_path):
    cached(tmp_path, "x", samples)
    shutil.copytree(tmp_path / "x", tmp_path / "y", copy_function=shutil.copyfile)
    assert same(cached(tmp_path, "y", refuse))


MAKE = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from test_cache import cached, samples
print("ready", flush=True)
sys.stdin.readline()
print(cached(Path(sys.argv[2]), "x", lambda: samples(step=1)).digest)
"""


@pytest.mark.process
def test_processes_that_make_it_at_once(tmp_path):
    command = [sys.executable, "-c", MAKE, str(Path(__file__).parent), str(tmp_path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, **pipes) for _ in range(3)]
    assert [process.stdout.readline() for process in processes] == ["ready\n"] * 3
    for process in processes:
        process.stdin.write("go\n")
        process.stdin.flush()
    result = {process.communicate(timeout=120)[0].strip() for process in processes}
    assert result == {cached(tmp_path, "x", refuse).digest}
    assert os.listdir(tmp_path) == ["x"]


def test_leftovers_of_a_killed_process_are_removed(tmp_path):
    for name, age_s in ((".old.1", 2 * 24 * 3600), (".young.1", 60)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "pixels.npy").write_bytes(b"x")
        then = time.time() - age_s
        os.utime(tmp_path / name, (then, then))
    cached(tmp_path, "x", samples)
    assert sorted(os.listdir(tmp_path)) == [".young.1", "x"]


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(DataError, match="NAS_CACHE names another folder"):
        cached(tmp_path / "file" / "below", "x", samples)


def test_where_the_cache_lies(tmp_path, monkeypatch):
    monkeypatch.setenv("NAS_CACHE", "/somewhere")
    assert str(folder_of_cache(tmp_path)) == "/somewhere"
    monkeypatch.delenv("NAS_CACHE")
    assert folder_of_cache(tmp_path) == tmp_path / ".nas-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", "/home/me/.cache")
    assert str(folder_of_cache(tmp_path / "nowhere")) == "/home/me/.cache/nas-service"


def test_keys():
    assert key_of("a", 1) == key_of("a", 1)
    assert len({key_of("a", 1), key_of("a", 2), key_of("a", "1"), key_of(["a", 1])}) == 4
