"""NIR files that were changed, cut or linked to other files are refused."""

import re

import h5py
import nir
import numpy as np
import pytest
from nir_graphs import a_graph, conv, graph_of, image, lif, linear, pool

from hw_models import WorkloadError
from hw_models.errors import HardwareError
from nas_service.importers import from_nir
from nas_service.importers.network_file import load_workload


def changed(path, change):
    nir.write(str(path), a_graph())
    with h5py.File(path, "a") as file:
        change(file["node/nodes/a"])
    return path


def another_kind(node):
    del node["type"]
    node["type"] = "MaxPool2d"


def outside(node):
    del node["weight"]
    node["weight"] = h5py.ExternalLink("other.nir", "/node/nodes/a/weight")


def outside_storage(node):
    del node["weight"]
    node.create_dataset("weight", (8, 2, 3, 3), "f8", external=[("other.raw", 0, 1152)])


def huge(node):
    del node["weight"]
    node.create_dataset("weight", (2**16, 2**13, 3, 3), "f4", chunks=(8, 8, 3, 3))


def endless(node):
    node["metadata/round"] = node


def words(node):
    del node["weight"]
    node["weight"] = "many"


def nothing(node):
    del node["stride"]


def more(node):
    node["rate"] = 1.0


def empty(node):
    del node["weight"]
    node["weight"] = h5py.Empty("f")


def full(node):
    del node["padding"]
    node["padding"] = "full"


def untyped(node):
    del node["type"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (another_kind, "node 'a' is a MaxPool2d"),
        (outside, "/node/nodes/a/weight is a link"),
        (outside_storage, "weight is stored in another file"),
        (huge, "more than 1073741824 bytes when unpacked"),
        (endless, "groups more than 64 deep"),
        (words, r"net.nir: node 'a': .Conv2d. weight = 'many': numbers are needed"),
        (nothing, r"net.nir: node 'a': .Conv2d. 'stride' is missing"),
        (more, r"net.nir: node 'a': .Conv2d. unknown 'rate': known are input_shape, weight"),
        (untyped, r"net.nir: node 'a': its kind is missing"),
        (empty, r"net.nir: node 'a': .Conv2d. weight is empty: numbers are needed"),
        (full, r"net.nir: node 'a': .Conv2d. padding = 'full': numbers or one of same, valid"),
    ],
)
def test_manipulated_files_are_refused(tmp_path, change, message):
    path = changed(tmp_path / "net.nir", change)
    with pytest.raises(WorkloadError, match=message):
        load_workload(path, 4)


def test_truncated_files(tmp_path):
    """The message says how much of the file is there."""
    nir.write(str(tmp_path / "net.nir"), a_graph())
    data = (tmp_path / "net.nir").read_bytes()
    for length in range(len(data) // 12, len(data), len(data) // 12):
        (tmp_path / "cut.nir").write_bytes(data[:length])
        with pytest.raises(WorkloadError, match=rf"cut\.nir: .*cut off, {length} of {len(data)} b"):
            load_workload(tmp_path / "cut.nir", 4)
    (tmp_path / "cut.nir").write_bytes(data[:5])
    with pytest.raises(WorkloadError, match=r"cut\.nir: no NIR graph: the file is cut off"):
        load_workload(tmp_path / "cut.nir", 4)


def test_damaged_files_say_no_word_of_a_library(tmp_path):
    nir.write(str(tmp_path / "net.nir"), a_graph())
    data = (tmp_path / "net.nir").read_bytes()
    messages = []
    for place in range(0, len(data), len(data) // 45):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        (tmp_path / "bad.nir").write_bytes(damaged)
        try:
            load_workload(tmp_path / "bad.nir", 4)
        except WorkloadError as error:
            messages.append(str(error))
    assert len(messages) > 3
    assert not re.search("synchronously|__init__|codec|incoming dict", "".join(messages))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "the file is empty"),
        (b"version https://git-lfs.github.com/spec/v1", "git lfs pull"),
        (b"<!DOCTYPE html>", "a web page or XML: download the file itself"),
        (b'\n{"layers": []}', "JSON: a layer list has the suffix .json"),
        (b"\xef\xbb\xbf{}", "text: a layer list has the suffix .json"),
        (b"PK\x03\x04", "a ZIP archive, as torch.save writes"),
        (b"no graph", "HDF5 is needed"),
        (b"\x89HDF\n\x1a\n", "a copy in text mode changed its line ends"),
    ],
)
def test_files_of_another_kind(tmp_path, content, message):
    (tmp_path / "net.NIR").write_bytes(content)
    with pytest.raises(WorkloadError, match=rf"net\.NIR: no NIR graph: .*{message}"):
        load_workload(tmp_path / "net.NIR", 4)


def test_other_data_in_hdf5(tmp_path):
    with h5py.File(tmp_path / "net.h5", "w") as file:
        file["events/x"] = [1, 2]
    with pytest.raises(
        WorkloadError, match=r"HDF5 with the entries \['events'\], 'node' is needed"
    ):
        load_workload(tmp_path / "net.h5", 4)
    nir.write(str(tmp_path / "one.nir"), lif(2))
    with pytest.raises(WorkloadError, match=r"one\.nir: graph is a LIF: a NIRGraph is needed"):
        load_workload(tmp_path / "one.nir", 4)


@pytest.mark.parametrize("suffix", ["nir", "NIR", "Nir", "h5", "H5", "hdf5"])
def test_suffixes_in_any_case(tmp_path, suffix):
    nir.write(str(tmp_path / f"net.{suffix}"), a_graph())
    assert load_workload(tmp_path / f"net.{suffix}", 4) == from_nir(a_graph(), 4)


def test_what_older_files_do_not_have(tmp_path):
    """The first files had convolutions without input_shape and neurons without v_reset."""
    nir.write(str(tmp_path / "net.nir"), a_graph())
    with h5py.File(tmp_path / "net.nir", "a") as file:
        del file["node/nodes/a/input_shape"], file["node/nodes/a_lif/v_reset"]
    assert load_workload(tmp_path / "net.nir", 4) == from_nir(a_graph(), 4)
    with h5py.File(tmp_path / "net.nir", "a") as file:
        del file["node/nodes/input/shape"]
    with pytest.raises(WorkloadError, match=r"net\.nir: node 'input': .* add --input 2,H,W "):
        load_workload(tmp_path / "net.nir", 4)


def test_inner_graphs_are_not_checked_by_nir(tmp_path):
    """Its check refuses grouped convolutions, loops without types, and unknown poolings."""
    ends = {"input": image(2, 8), "output": nir.Output({"output": np.array([8, 4, 4])})}
    inner = ends | {"a": conv(8, 1, 8, groups=2), "p": pool(2)}
    outer = {"in": image(2, 8), "block": graph_of(inner, "input a p output"), "b": linear(3, 128)}
    nir.write(str(tmp_path / "net.nir"), graph_of(outer, "in block b"))
    layers = load_workload(tmp_path / "net.nir", 4).layers
    assert [(x.name, x.groups, x.pool) for x in layers] == [("block.a", 2, 2), ("b", 1, 1)]


def test_files_that_are_no_workload(tmp_path):
    for name, text in [("b.json", "{"), ("c.json", "[]")]:
        (tmp_path / name).write_text(text)
        with pytest.raises(HardwareError):
            load_workload(tmp_path / name, 4)
    with pytest.raises(WorkloadError, match=r"suffix '\.onnx', one of \.json, \.nir"):
        load_workload(tmp_path / "a.onnx", 4)
    with pytest.raises(WorkloadError, match="time steps"):
        load_workload(tmp_path / "a.nir")
    with pytest.raises(HardwareError, match=r"none\.json"):
        load_workload(tmp_path / "none.json")
    with pytest.raises(WorkloadError, match=r"none\.nir: cannot be read .No such file"):
        load_workload(tmp_path / "none.nir", 4)


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        ('{"input": {"time_steps": 3}}', 3),
        ('{"input": {"time_steps": 0}}', None),
        ('{"input": {"time_steps": "3"}}', None),
        ('{"input": {"time_steps": 1e9}}', None),
        ('{"input": []}', None),
        ("{", None),
        (None, None),
    ],
    ids=range(7),
)
def test_time_steps_are_those_of_the_metadata_of_our_own_files(tmp_path, text, steps):
    path = tmp_path / "a.nir"
    nir.write(str(path), a_graph())
    if text is not None:
        with h5py.File(path, "a") as file:
            file["node/metadata/nas_service"] = text
    if steps is None:
        with pytest.raises(WorkloadError, match="--time-steps is needed"):
            load_workload(path)
    else:
        assert load_workload(path).time_steps == steps
        assert load_workload(path, 5).time_steps == 5
