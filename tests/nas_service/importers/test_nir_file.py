"""NIR files that were changed, cut or linked to other files are refused."""

import h5py
import nir
import pytest
from nir_graphs import a_graph

from hw_models import WorkloadError
from nas_service.importers import load_workload


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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (another_kind, "node 'a' is a MaxPool2d"),
        (outside, "/node/nodes/a/weight is a link"),
        (outside_storage, "weight is stored in another file"),
        (huge, "more than 1073741824 bytes when unpacked"),
        (endless, "groups more than 64 deep"),
        (words, "net.nir"),
        (nothing, "net.nir"),
    ],
)
def test_manipulated_files_are_refused(tmp_path, change, message):
    path = changed(tmp_path / "net.nir", change)
    with pytest.raises(WorkloadError, match=message):
        load_workload(path, 4)


def test_truncated_files(tmp_path):
    nir.write(str(tmp_path / "net.nir"), a_graph())
    data = (tmp_path / "net.nir").read_bytes()
    for length in range(0, len(data), len(data) // 12):
        (tmp_path / "cut.nir").write_bytes(data[:length])
        with pytest.raises(WorkloadError, match=r"cut\.nir: no NIR graph"):
            load_workload(tmp_path / "cut.nir", 4)


def test_files_that_are_no_workload(tmp_path):
    for name, text in [("a.nir", "no graph"), ("b.json", "{"), ("c.json", "[]")]:
        (tmp_path / name).write_text(text)
        with pytest.raises(WorkloadError):
            load_workload(tmp_path / name, 4)
    with pytest.raises(WorkloadError, match=r"suffix '\.onnx', one of \.json, \.nir"):
        load_workload(tmp_path / "a.onnx", 4)
    with pytest.raises(WorkloadError, match="time steps"):
        load_workload(tmp_path / "a.nir")
    with pytest.raises(WorkloadError, match=r"none\.json"):
        load_workload(tmp_path / "none.json")
