"""docs/read_crossbars.py refuses damaged and hostile files in one line."""

import json

import numpy as np
import pytest
import read_crossbars

INDEX = {
    "chip": {"level_S": 1.0, "sign": "differential"},
    "nodes": [{"name": "fc", "weight": [1, 2]}],
    "crossbars": {"fc": [{"rows": 2, "columns": 1}]},
}
ARRAYS = {
    "fc.0.conductance": np.array([[3.0], [4.0]]),
    "fc.0.inputs": np.arange(2),
    "fc.0.outputs": np.zeros(1, int),
    "fc.0.worth": np.ones(1),
    "fc.0.references": np.full((1, 2), -1),
}


@pytest.fixture
def files(tmp_path):
    """Name of a network of one layer, whose two inputs weigh 3 and 4."""
    (tmp_path / "net.json").write_text(json.dumps(INDEX))
    np.savez_compressed(tmp_path / "net.npz", **ARRAYS)
    return str(tmp_path / "net")


def test_a_network_is_a_line_for_each_layer(files, capsys):
    read_crossbars.main([files])
    assert capsys.readouterr().out == "fc: 1 crossbars, sums of all inputs: [7] ...\n"


@pytest.mark.parametrize(
    ("suffix", "content"),
    [
        (".json", b""),
        (".json", b"[" * 100_000),
        (".json", b"\xff\xfe"),
        (".json", b"[]"),
        (".json", json.dumps(INDEX | {"nodes": [{"name": "fc", "weight": [1, 10**12]}]}).encode()),
        (".json", json.dumps(INDEX | {"nodes": [{"name": "\x1b[2J", "weight": [1, 2]}]}).encode()),
        (".json", json.dumps(INDEX | {"chip": {}}).encode()),
        (".npz", b""),
        (".npz", b"PK\x03\x04 no archive"),
        (".npz", b"\x93NUMPY\x01\x00"),
    ],
    ids=["empty", "deep", "bytes", "list", "wide", "escape", "chip", "void", "archive", "array"],
)
def test_a_damaged_file_is_one_line(files, suffix, content):
    with open(files + suffix, "wb") as file:
        file.write(content)
    assert_refused(files)


@pytest.mark.parametrize(
    ("key", "array"),
    [
        ("fc.0.conductance", np.zeros((5, 1))),
        ("fc.0.inputs", np.array([0, 9])),
        ("fc.0.outputs", np.array([7])),
        ("fc.0.references", np.array([[4, 4]])),
        ("fc.0.conductance", np.array([["a"], ["b"]])),
        ("fc.0.conductance", np.array([[np.nan], [1.0]])),
    ],
    ids=["shape", "input", "output", "reference", "text", "nan"],
)
def test_a_wrong_array_is_one_line(files, key, array):
    np.savez_compressed(files + ".npz", **(ARRAYS | {key: array}))
    assert_refused(files)


def test_arrays_of_more_bytes_than_memory_should_hold_are_refused(files, monkeypatch):
    monkeypatch.setattr(read_crossbars, "LARGEST_B", 100)
    assert "more than 100" in assert_refused(files)


@pytest.mark.parametrize("arguments", [[], ["a", "b"]])
def test_a_wrong_number_of_arguments_shows_the_usage(arguments):
    with pytest.raises(SystemExit, match="usage: python"):
        read_crossbars.main(arguments)


def assert_refused(name):
    """The one printable line that the program ends with."""
    with pytest.raises(SystemExit, match="no network of `nas export") as caught:
        read_crossbars.main([name])
    assert str(caught.value).isprintable()
    return str(caught.value)
