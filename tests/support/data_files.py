"""Small data sets of every kind of file."""

import gzip
import io
import struct
import zipfile
from dataclasses import replace

import numpy as np
from image_trees import colours, layout, png

from nas_service.data import DATASETS, source_of
from nas_service.data.sets.cifar import CIFAR10, reader
from nas_service.data.sets.cifar10_dvs import CLASSES
from nas_service.spaces.task import Task
from nas_service.study.sections import Data

STROKES = [(10 * i, i, 3, i % 2) for i in range(10)]


def idx(*shape):
    head = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
    return gzip.compress(head + bytes(int(np.prod(shape))))


def atis():
    return b"".join(bytes([x, y, p << 7, 0, t]) for t, x, y, p in STROKES)


def aedat2():
    return b"#!AER-DAT2.0\r\n" + b"".join(
        struct.pack(">II", (127 - x) << 8 | (127 - y) << 1 | 1 - p, t) for t, x, y, p in STROKES
    )


def aedat3():
    events = [struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t) for t, x, y, p in STROKES]
    head = struct.pack("<hhiiiiii", 1, 0, 8, 4, 0, len(events), len(events), len(events))
    return b"#!AER-DAT3.1\r\n#!END-HEADER\r\n" + head + b"".join(events)


def zipped(files):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def free(name, **changes):
    return replace(DATASETS[name], published={}, **changes)


TABLE = b"class,startTime_usec,endTime_usec\n1,0,100\n"
IMAGES = layout(unsplit={"a": 2, "b": 2})
FOLDER = Data(name="image_folder", archive="set", size=4, classes=2)
CIFAR_ROWS = {"train": 5, "test": 1}
SETS = {  # name: source, files of its training part, the file that is damaged
    "images": (source_of(FOLDER), {f"set/{n}": c for n, c in IMAGES.items()}, "set/a/1.png"),
    "zip": (source_of(FOLDER), {"set": zipped(IMAGES)}, "set"),
    "idx": (
        free("fashion_mnist"),
        {
            "train-images-idx3-ubyte.gz": idx(4, 28, 28),
            "train-labels-idx1-ubyte.gz": idx(4),
        },
        "train-images-idx3-ubyte.gz",
    ),
    "cifar": (
        replace(CIFAR10, read=reader(CIFAR10.uses, CIFAR_ROWS), published={}),
        {f"cifar-10-batches-bin/data_batch_{i}.bin": bytes(3073) for i in range(1, 6)},
        "cifar-10-batches-bin/data_batch_4.bin",
    ),
    "tiny_imagenet": (
        free("tiny_imagenet_200", task=Task(3, 4, 1)),
        {
            "tiny-imagenet-200/wnids.txt": b"n1\n",
            "tiny-imagenet-200/train/n1/images/n1_0.JPEG": png(colours()),
        },
        "tiny-imagenet-200/train/n1/images/n1_0.JPEG",
    ),
    "n_mnist": (free("n_mnist"), {"N-MNIST/Train/1/0.bin": atis()}, "N-MNIST/Train/1/0.bin"),
    "gesture": (
        free("dvs128_gesture"),
        {
            "DvsGesture/trials_to_train.txt": b"user01_led.aedat\n",
            "DvsGesture/user01_led.aedat": aedat3(),
            "DvsGesture/user01_led_labels.csv": TABLE,
        },
        "DvsGesture/user01_led.aedat",
    ),
    "cifar10_dvs": (
        free("cifar10_dvs"),
        {f"CIFAR10-DVS/{name}/{i}.aedat": aedat2() for name in CLASSES for i in range(2)},
        "CIFAR10-DVS/cat/1.aedat",
    ),
    "cifar10_dvs in a zip": (
        free("cifar10_dvs"),
        {f"CIFAR10-DVS/{name}.zip": zipped({f"{name}/0.aedat": aedat2()}) for name in CLASSES},
        "CIFAR10-DVS/cat.zip",
    ),
}
