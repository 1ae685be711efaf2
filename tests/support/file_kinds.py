"""Every kind of file that people bring, each with its reader and a small valid example.

A new kind of file is one entry of KINDS; tests/contracts/test_files.py checks what all of them
promise.
"""

import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import nir
from data_files import SETS
from nir_graphs import conv, graph_of, image
from safetensors.torch import save
from tiny import QUICK
from torch import nn

from hw_models import Layer, Workload, load_profile
from hw_models.calibration.measurements import Measurement, read_measurements
from nas_service.dashboard.auth import read_token
from nas_service.importers.network_file import Given, read_network
from nas_service.importers.rate_file import read_rates
from nas_service.searches.single import read_candidate
from nas_service.snn.checkpoint import load_weights
from nas_service.store.database import url_from_file
from nas_service.study.loading import load_spec


@dataclass(frozen=True)
class FileKind:
    """A kind of file.

    Args:
        name: Of the example, from the folder that it is put into.
        content: Of the example.
        read: What its reader makes of it, to be compared.
        text: Whether line ends and byte-order marks may differ.
        cut: Bytes that are left of a cut file; by default two thirds. None where a part of such a
            file may be complete.
        beside: Other files that the reader needs, by name.
    """

    name: str
    content: bytes
    read: Callable[[Path], Any]
    text: bool = True
    cut: int | None = -1
    beside: Mapping[str, bytes] = field(default_factory=dict)

    def put(self, folder: Path, content: bytes | None = None, name: str | None = None) -> Path:
        """Writes the example, or other content, with what it needs beside it."""
        files = {**self.beside, name or self.name: self.content if content is None else content}
        for place, own in files.items():
            path = folder / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(own)
        path.chmod(0o600)
        return path

    @property
    def part(self) -> bytes:
        """The content of a file that was cut."""
        return self.content[: len(self.content) * 2 // 3 - 1 if self.cut == -1 else self.cut]


def as_json(document: Any) -> bytes:
    return (json.dumps(document, indent=1) + "\n").encode()


LAYERS = as_json(
    Workload((Layer("a", "conv", 2, 4, kernel=3, in_size=8, out_size=8),), 2).to_json()
)
ARCHITECTURE = {
    "cells": ["0002 0000 0000 0000"],
    "channels": 4,
    "head_pool": 2,
    "hidden": 16,
    "time_steps": 2,
    "weight_bits": 8,
}
STUDY = QUICK.format(trainings=2)
PROFILE = b"""base = "corrected"

[values]
sar_bit_energy = 0.1
crossbar_size = 128
"""


def with_study(read: Callable[[Path, Any], Any]) -> Callable[[Path], Any]:
    """A reader of files that belong to a study."""

    def reader(path: Path) -> Any:
        study = path.parent / "study.toml"
        study.write_text(STUDY)
        return read(path, load_spec(study))

    return reader


def initial(path: Path) -> Any:
    """The initial trials of a study that names a file."""
    study = path.parent / "study.toml"
    study.write_text(STUDY.replace("[search]", f'[search]\ninitial = ["{path.name}"]'))
    return load_spec(study).search.initial


def measured(path: Path) -> Any:
    """The workload of a measurement that names a file."""
    table = path.parent / "m.csv"
    table.write_text(f"workload,energy_uJ\n{path.name},92.1\n")
    return read_measurements(table)[0].workload


def measurements(path: Path) -> list[Measurement]:
    """The measurements without their places, which name the folder."""
    return [replace(m, line=m.line.partition(": ")[2]) for m in read_measurements(path)]


def graph() -> bytes:
    file = io.BytesIO()
    nir.write(file, graph_of({"input": image(2, 4), "a": conv(3, 2, 4)}, "input a"))
    return file.getvalue()


def of_data_set(name: str, member: str | None = None, text: bool = False) -> FileKind:
    """A file of a data set: the one that damages are tried on, or another one."""
    source, files, usual = SETS[name]
    member = member or usual

    def read(path: Path) -> Any:
        samples = source.read_train(path.parents[member.count("/")], 2)
        return samples.stock.digest, samples.labels.tolist()

    others = {place: content for place, content in files.items() if place != member}
    return FileKind(member, files[member], read, text, beside=others)


def weights() -> bytes:
    return save(dict(nn.Linear(3, 2).state_dict()))


def weights_of(path: Path) -> Any:
    module = nn.Linear(3, 2)
    load_weights(module, path)
    return module.weight.tolist()


def network(path: Path) -> Any:
    return read_network(path, Given(time_steps=2)).workload


KINDS = {
    "study": FileKind("s.toml", STUDY.encode(), lambda path: load_spec(path).model_dump()),
    "chip profile": FileKind("p.toml", PROFILE, lambda path: load_profile(path).values),
    "layer list": FileKind("net.json", LAYERS, network),
    "architecture": FileKind("a.json", as_json(ARCHITECTURE), with_study(read_candidate)),
    "trial": FileKind(
        "t.json", as_json({"architecture": ARCHITECTURE, "seed": 3}), with_study(read_candidate)
    ),
    "initial trial": FileKind("a.json", as_json(ARCHITECTURE), initial),
    "measurements": FileKind(
        "m.csv",
        b"workload,energy_uJ,latency_ms\nnet.json,92.1,1.31\nnet.json,71.0,1.33\n",
        measurements,
        cut=42,
        beside={"net.json": LAYERS},
    ),
    "measured workload": FileKind(
        "net.json",
        LAYERS,
        measured,
    ),
    "spike rates": FileKind("r.json", as_json({"a": 0.1, "b": [0.1, 0.2]}), read_rates),
    "spike rates as text": FileKind("r.txt", b"# of a lab\na 0.1\n\nfc 0.25\n", read_rates, cut=20),
    "token": FileKind("token", b"0123456789abcdef0123456789abcdef\n", read_token),
    "storage URL": FileKind(
        "url",
        b"postgresql://user:secret@host/database\n",
        lambda path: url_from_file(path, "NAS_STORAGE_FILE"),
        cut=None,
    ),
    "NIR graph": FileKind("net.nir", graph(), network, text=False),
    "NIR graph as HDF5": FileKind("net.h5", graph(), network, text=False),
    "weights": FileKind("w.safetensors", weights(), weights_of, text=False),
    **{f"data set, {name}": of_data_set(name) for name in SETS},
    "gestures, list": of_data_set("gesture", "DvsGesture/trials_to_train.txt", text=True),
    "gestures, labels": of_data_set("gesture", "DvsGesture/user01_led_labels.csv", text=True),
    "tiny ImageNet, classes": of_data_set(
        "tiny_imagenet", "tiny-imagenet-200/wnids.txt", text=True
    ),
}
