"""N-MNIST, DVS128 Gesture and CIFAR10-DVS in tiny files of their own formats."""

import io
import struct
import tarfile
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from nas_service.data.batches import batch
from nas_service.data.images import split
from nas_service.data.sets import cifar10_dvs, dvs_gesture, n_mnist
from nas_service.errors import DataError

N_MNIST = replace(n_mnist.SOURCE, published={})
GESTURE = replace(dvs_gesture.SOURCE, published={})
CIFAR10_DVS = replace(cifar10_dvs.SOURCE, published={})


def strokes(row, end_us=100):
    """Ten events along one row, evenly spaced in time."""
    return [(end_us * i // 10, i, row, i % 2) for i in range(10)]


def atis(events):
    return b"".join(bytes([x, y, p << 7 | t >> 16, t >> 8 & 255, t & 255]) for t, x, y, p in events)


def aedat2(events):
    words = (((127 - x) << 8 | (127 - y) << 1 | 1 - p, t) for t, x, y, p in events)
    return b"#!AER-DAT2.0\r\n" + b"".join(struct.pack(">II", *pair) for pair in words)


def aedat3(events):
    head = struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, len(events), len(events), len(events))
    words = ((x << 17 | y << 2 | p << 1 | 1, t) for t, x, y, p in events)
    body = b"".join(struct.pack("<II", *pair) for pair in words)
    return b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + head + body


def n_mnist_files(part):
    first = 10 if part == "Test" else 0
    return {
        f"{part}/{digit}/{first + i:05d}.bin": atis(strokes(digit + i))
        for digit in range(10)
        for i in range(2)
    }


def in_folder(folder, files):
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def in_zip(path, files):
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)


def put_n_mnist(how, tmp_path):
    for part in ("Train", "Test"):
        files = n_mnist_files(part)
        if how == "folder":
            in_folder(tmp_path / "N-MNIST", files)
        else:
            in_zip(tmp_path / "N-MNIST" / f"{part}.zip", files)


@pytest.mark.parametrize("how", ["folder", "zips"])
def test_n_mnist(how, tmp_path):
    put_n_mnist(how, tmp_path)
    train, test = N_MNIST.read_train(tmp_path, 5), N_MNIST.read_test(tmp_path, 5)
    assert train.labels.tolist() == [digit for digit in range(10) for _ in range(2)]
    assert train.shape == test.shape == (5, 2, 34, 34)
    pixels = train.stock.pixels[7]  # digit 3, second recording: row 4, two events a frame
    assert pixels.sum((1, 2, 3)).tolist() == [2] * 5
    assert [tuple(i) for i in np.argwhere(pixels[2])] == [(0, 4, 4), (1, 4, 5)]


def test_each_number_of_frames_has_a_separate_cache_entry(tmp_path, cache):
    put_n_mnist("folder", tmp_path)
    two, five = N_MNIST.read_train(tmp_path, 2), N_MNIST.read_train(tmp_path, 5)
    assert (two.shape[0], five.shape[0]) == (2, 5)
    assert (two.stock.pixels.sum(1) == five.stock.pixels.sum(1)).all()
    assert (two.labels == five.labels).all()
    assert len(list(cache.iterdir())) == 2
    N_MNIST.read_train(tmp_path, 2)
    assert len(list(cache.iterdir())) == 2


def test_the_same_rows_are_split_off_for_any_number_of_frames(tmp_path):
    put_n_mnist("folder", tmp_path)
    parts = [split(N_MNIST.read_train(tmp_path, t), None, 10, seed=3) for t in (1, 4)]
    assert (parts[0].train.rows == parts[1].train.rows).all()
    pixels, labels = batch(parts[1].train, [0, 1, 2])
    assert pixels.shape == (3, 4, 2, 34, 34)
    assert pixels.sum((1, 2, 3, 4)).tolist() == [10] * 3
    assert labels.tolist() == parts[1].train.labels[:3].tolist()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"Train/a/0.bin": atis(strokes(1))}, "'a' is no digit"),
        ({"Train/1/0.bin": b""}, "no events"),
        ({"Train/1/0.bin": bytes(6)}, "no multiple of 5"),
        ({"Train/1/0.bin": atis([(0, 0, 34, 0)])}, r"event 0 at \(0, 34\)"),
        ({"Train/readme": b""}, "N-MNIST: no sample of the train part of n_mnist in it"),
    ],
)
def test_wrong_n_mnists_are_named(files, message, tmp_path):
    in_folder(tmp_path / "N-MNIST", files)
    with pytest.raises(DataError, match=message):
        N_MNIST.read_train(tmp_path, 3)


def test_a_missing_digit_is_noted(tmp_path):
    in_folder(tmp_path / "N-MNIST", {f"Train/{i}/0.bin": atis(strokes(i)) for i in range(9)})
    (note,) = N_MNIST.read_train(tmp_path, 2).notes
    assert note == f"{tmp_path / 'N-MNIST' / 'Train'}: no recording of digit 9"


def test_the_hash_of_n_mnist_is_an_md5(tmp_path):
    put_n_mnist("zips", tmp_path)
    with pytest.raises(DataError, match=r"its md5 is .* expected 20959b8e626244a1b502305a9e6e2031"):
        n_mnist.SOURCE.read_train(tmp_path, 3)


def test_notes_name_the_first_recording_and_count_the_others(tmp_path):
    files = n_mnist_files("Train")
    for name in sorted(files)[4:9]:
        files[name] = atis([*strokes(3), (5, 1, 1, 0), (6, 1, 1, 0)])
    in_folder(tmp_path / "N-MNIST", files)
    for _ in range(2):  # from the files, then from the cache
        (note,) = N_MNIST.read_train(tmp_path, 2).notes
        assert note.endswith(
            "Train/2/00000.bin and 4 other files: earlier than an event before it, counted in the "
            "frame of its own time (10 events)"
        )


@pytest.mark.parametrize("change", [str.upper, str.title])
def test_suffixes_in_any_case(change, tmp_path):
    def renamed(files):
        ends = (name.rpartition(".") for name in files)
        names = [f"{stem}.{change(suffix)}" for stem, _, suffix in ends]
        return dict(zip(names, files.values(), strict=True))

    in_folder(tmp_path / "N-MNIST", renamed(n_mnist_files("Train")))
    in_zip(tmp_path / "n" / "N-MNIST" / f"Train.{change('zip')}", renamed(n_mnist_files("Train")))
    in_folder(tmp_path / "DvsGesture", renamed(gesture_files()))
    for label, name in enumerate(cifar10_dvs.CLASSES):
        files = renamed(dvs_files(name, label))
        in_zip(tmp_path / "CIFAR10-DVS" / f"{name}.{change('zip')}", files)
    assert len(N_MNIST.read_train(tmp_path, 2)) == len(N_MNIST.read_train(tmp_path / "n", 2)) == 20
    assert GESTURE.read_train(tmp_path, 2).labels.tolist() == [2, 10]
    assert len(CIFAR10_DVS.read_test(tmp_path, 2)) == 10


TABLE = b"class,startTime_usec,endTime_usec\n"


def gesture_files():
    """Two people; the first makes gestures 3 and 11, from 0 to 100 and from 200 to 300."""
    late = [(t + 200, x, y, p) for t, x, y, p in strokes(20)]
    return {
        "trials_to_train.txt": b"user01_led.aedat\n",
        "trials_to_test.txt": b"user02_lab.aedat\n",
        "user01_led.aedat": aedat3([*strokes(10), (150, 9, 9, 1), *late]),
        "user01_led_labels.csv": TABLE + b"3,0,100\n11,200,300\n",
        "user02_lab.aedat": aedat3(strokes(30)),
        "user02_lab_labels.csv": TABLE + b"1,0,100\n",
    }


def put_gesture(how, tmp_path, files):
    if how == "folder":
        return in_folder(tmp_path / "DvsGesture", files)
    with tarfile.open(tmp_path / "DvsGesture.tar.gz", "w:gz") as archive:
        for name, content in reversed(files.items()):
            info = tarfile.TarInfo(f"DvsGesture/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.mark.parametrize("how", ["folder", "archive"])
def test_dvs_gesture(how, tmp_path):
    put_gesture(how, tmp_path, gesture_files())
    train, test = GESTURE.read_train(tmp_path, 2), GESTURE.read_test(tmp_path, 2)
    assert (train.labels.tolist(), test.labels.tolist()) == ([2, 10], [0])
    assert train.shape == (2, 2, 128, 128)
    rows = [np.unique(np.argwhere(x)[:, 2]).tolist() for x in train.stock.pixels]
    assert rows == [[10], [20]]  # what happened between the gestures belongs to none
    assert train.stock.pixels.sum((1, 2, 3, 4)).tolist() == [10, 10]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"user01_led_labels.csv": TABLE + b"12,0,100\n"}, "line 2: class 12 of 1..11"),
        ({"user01_led_labels.csv": TABLE + b"1,100,100\n"}, r"100\.\.100"),
        ({"user01_led_labels.csv": TABLE + b"1,x,100\n"}, "three integers"),
        ({"user01_led_labels.csv": TABLE + "1,0,²\n".encode()}, "three integers"),
        ({"user01_led_labels.csv": TABLE + b"1,0," + b"9" * 5000}, "three integers"),
        ({"user01_led_labels.csv": b"a,b\n"}, "expected class,startTime"),
        ({"user01_led_labels.csv": TABLE + b"1,500,600\n"}, r"500\.\.600 us: no events"),
        ({"user01_led_labels.csv": b""}, "user01_led_labels.csv: the file is empty"),
        ({"trials_to_train.txt": b"../../x.aedat\n"}, "a file name that ends in .aedat"),
        ({"user01_led.aedat": aedat3(strokes(200))}, "10 of 10 events lie off the sensor, which"),
        ({"user01_led.aedat": aedat2(strokes(1))}, "does not begin with #!AER-DAT3.1"),
    ],
)
def test_wrong_gestures_are_named(changes, message, tmp_path):
    put_gesture("folder", tmp_path, gesture_files() | changes)
    with pytest.raises(DataError, match=message):
        GESTURE.read_train(tmp_path, 2)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\n\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_lists_and_tables_of_any_system(end, mark, tmp_path):
    def saved(content):
        return (mark + content.decode().replace("\n", end)).encode()

    texts = {n: c for n, c in gesture_files().items() if not n.endswith(".aedat")}
    files = gesture_files() | {name: saved(content) for name, content in texts.items()}
    put_gesture("folder", tmp_path, files)
    assert GESTURE.read_train(tmp_path, 2).labels.tolist() == [2, 10]
    wrong = {"user01_led_labels.csv": saved(TABLE + b"3,0,100\n\n12,0,100\n")}
    put_gesture("folder", tmp_path, files | wrong)
    with pytest.raises(DataError, match=f"line {7 if end == chr(10) * 2 else 4}: class 12 of 1"):
        GESTURE.read_train(tmp_path, 2)


@pytest.mark.parametrize("missing", ["user01_led.aedat", "user01_led_labels.csv"])
def test_missing_gestures_are_named(missing, tmp_path):
    files = gesture_files()
    files.pop(missing)
    put_gesture("archive", tmp_path, files)
    with pytest.raises(DataError, match=rf"{missing}.*missing"):
        GESTURE.read_train(tmp_path, 2)


def dvs_files(name, label):
    files = {}
    for i in range(11):  # 10 comes after 9, so it is the test recording
        files[f"{name}/cifar10_{name}_{i}.aedat"] = aedat2(strokes(10 * label + i % 10, 50))
    return files


@pytest.mark.parametrize("how", ["folders", "zips"])
def test_cifar10_dvs(how, tmp_path):
    top = tmp_path / "CIFAR10-DVS"
    for label, name in enumerate(cifar10_dvs.CLASSES):
        if how == "folders":
            in_folder(top, dvs_files(name, label))
        else:
            in_zip(top / f"{name}.zip", dvs_files(name, label))
    train, test = CIFAR10_DVS.read_train(tmp_path, 2), CIFAR10_DVS.read_test(tmp_path, 2)
    assert train.labels.tolist() == [label for label in range(10) for _ in range(10)]
    assert test.labels.tolist() == list(range(10))
    assert np.argwhere(train.stock.pixels[25])[:, 2].tolist() == [25] * 10
    assert np.argwhere(test.stock.pixels[2])[:, 2].tolist() == [20] * 10


def test_a_missing_class_of_cifar10_dvs(tmp_path):
    in_zip(tmp_path / "CIFAR10-DVS" / "bird.zip", dvs_files("bird", 2))
    with pytest.raises(DataError, match="CIFAR10-DVS: no recordings of class 'airplane': airplane"):
        CIFAR10_DVS.read_train(tmp_path, 2)


def test_the_hashes_of_cifar10_dvs(tmp_path):
    in_zip(tmp_path / "CIFAR10-DVS" / "bird.zip", dvs_files("bird", 2))
    with pytest.raises(DataError, match=r"bird\.zip.* expected a9c207c91c55b9dc2002dc21c684d785"):
        cifar10_dvs.SOURCE.read_train(tmp_path, 2)
