"""Exported networks in use, and files that are damaged."""

import json
import struct

import exported_networks
import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

import nas_service
from nas_service.data.sets import digits
from nas_service.errors import DataError
from nas_service.export import loaded as loaded_module
from nas_service.export import safetensors_format
from nas_service.export.from_file import of_file
from nas_service.export.loaded import as_pixels
from nas_service.spaces.task import Task

RGB = Task(3, 4, 2)


@pytest.fixture(scope="module")
def network(evaluator):
    return exported_networks.trained(evaluator, exported_networks.random_architecture(0, False))


@pytest.fixture
def path(network, tmp_path):
    file = tmp_path / "net.safetensors"
    file.write_bytes(safetensors_format.contents(network, "net")[".safetensors"])
    return file


def test_raw_images_give_classes_scores_and_names(network, path):
    loaded = nas_service.load(path)
    images = network.examples.numpy()
    for given in (images, images[:, 0], np.moveaxis(images, 1, -1), network.examples):
        prediction = loaded.predict(given)
        assert np.array_equal(prediction.scores, network.scores(network.examples).numpy())
        assert np.array_equal(prediction.classes, prediction.scores.argmax(1))
        assert prediction.names == tuple(map(str, prediction.classes))


def test_channels_may_be_first_or_last():
    image = np.arange(2 * 3 * 4 * 4, dtype=np.uint8).reshape(2, 3, 4, 4)
    assert torch.equal(as_pixels(image, RGB, 1), as_pixels(np.moveaxis(image, 1, -1), RGB, 1))


def test_where_both_layouts_fit_channels_are_first():
    image = np.arange(27, dtype=np.uint8).reshape(1, 3, 3, 3)
    assert torch.equal(as_pixels(image, Task(3, 3, 2), 1), torch.from_numpy(image).int())


def test_grey_images_need_no_axis_of_channels():
    images = np.arange(8 * 8 * 8, dtype=np.uint8).reshape(8, 8, 8)
    assert as_pixels(images, Task(1, 8, 10), 1).shape == (8, 1, 8, 8)
    assert as_pixels(images[:1], Task(1, 8, 10), 1).shape == (1, 1, 8, 8)


def test_any_number_of_images_gives_the_scores_of_each(network, path, monkeypatch):
    loaded, images = nas_service.load(path), network.examples
    monkeypatch.setattr(loaded_module, "BATCH", 2)
    assert np.array_equal(loaded.predict(images).scores, network.scores(images).numpy())
    nothing = loaded.predict(images[:0])
    assert (nothing.scores.shape, nothing.names) == ((0, 10), ())


EVENTS = Task(2, 4, 2, events=True)
UINT8 = np.uint8


@pytest.mark.parametrize(
    ("images", "task", "message"),
    [
        (np.zeros((2, 3, 4, 4)), RGB, "are float64: whole numbers of 0 to 255 are needed, as the"),
        (np.full((2, 3, 4, 4), np.nan), RGB, "are float64: whole numbers of 0 to 255"),
        (np.zeros((2, 3, 4, 4), bool), RGB, "are bool: whole numbers of 0 to 255"),
        (np.full((1, 3, 4, 4), 400, np.int32), RGB, "values 400 to 400: whole numbers of 0 to 255"),
        (np.full((1, 8, 8), 17, UINT8), digits.TASK, "values 17 to 17: whole numbers of 0 to 16"),
        (np.zeros((3, 4, 4), UINT8), RGB, r"\[3, 4, 4\] are one without a batch: images \[B, 3"),
        (np.zeros((4, 4, 3), UINT8), RGB, r"\[B, 4, 4, 3\] are needed, which images\[None\]"),
        (np.zeros((4, 4), UINT8), Task(1, 4, 2), r"\[4, 4\] are one without .* or \[B, 4, 4\] a"),
        (np.zeros((4, 4, 1), UINT8), Task(1, 4, 2), r"\[4, 4, 1\] are one without a batch"),
        (np.zeros((2, 4, 4), UINT8), RGB, r"images \[B, 3, 4, 4\] or \[B, 4, 4, 3\] are needed"),
        (np.zeros((2, 3, 5, 4), UINT8), RGB, r"\[2, 3, 5, 4\]"),
        (np.uint8(3), RGB, r"shape \[\]"),
        (np.full((1, 3, 4, 4), -1), RGB, "of values -1 to -1: whole numbers of 0 to 255"),
        (np.full((1, 3, 4, 4), 2**40), RGB, "of values 1099511627776 to"),
        (np.zeros((1, 3, 4, 4), "m8[s]"), RGB, "timedelta64"),
        ([[1, 2], [3]], RGB, r"a list, no array of whole numbers \[B, ...\] \(setting an"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.bfloat16), RGB, "a tensor of torch.bfloat16"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8).to_sparse(), RGB, "torch.sparse_coo"),
        (torch.zeros(1, 3, 4, 4, dtype=torch.uint8, device="meta"), RGB, "on meta"),
        (np.zeros((2, 2, 4, 4), UINT8), EVENTS, r"recordings of events \[B, 6, 2, 4, 4\] are"),
        (np.zeros((2, 5, 2, 4, 4), UINT8), EVENTS, r"recordings of events \[B, 6, 2, 4, 4\]"),
        (np.zeros((6, 2, 4, 4), UINT8), EVENTS, r"\[6, 2, 4, 4\] are one without a batch: record"),
        (
            np.full((1, 6, 2, 4, 4), 2**16),
            EVENTS,
            "values 65536 to 65536: whole numbers of 0 to 65",
        ),
    ],
)
def test_images_of_another_kind_are_refused(images, task, message):
    with pytest.raises(DataError, match=message) as refused:
        as_pixels(images, task, 6)
    assert "\n" not in str(refused.value)


def rewritten(path, change, tensors=None):
    """The file with another document or other tensors, and the digest of these."""
    with safetensors_format.safe_open(path, "pt") as file:
        document = json.loads(file.metadata()["nas_service"])
    del document["sha256"]
    change(document)
    tensors = load_file(path) if tensors is None else tensors
    document = safetensors_format.signed(document, tensors)
    save_file(tensors, path, {"nas_service": json.dumps(document)})


DAMAGE = {
    "format": (lambda d: d.update(format="x"), "format must be"),
    "no study": (lambda d: d.pop("study"), "study"),
    "no architecture": (lambda d: d.pop("architecture"), "architecture"),
    "huge": (lambda d: d["architecture"].update(hidden=2**40), "hidden: a number of at most"),
    "wide": (lambda d: d["architecture"].update(channels=10**15), "4096 is needed, not 1000"),
    "long": (lambda d: d["architecture"].update(time_steps=10**9), "time_steps: a number of"),
    "encoding": (lambda d: d["input"].update(encoding="rate"), "input.encoding: 'rate', direct or"),
    "classes": (lambda d: d.update(classes=3), "a list of names"),
    "shape": (lambda d: d["input"].update(shape=[1, 8, 9]), "a square"),
    "text": (lambda d: d["input"].update(shape="abc"), "whole number"),
    "deviation": (lambda d: d["input"].update(deviation=[0]), "deviation"),
    "below 0": (lambda d: d["input"].update(deviation=[-1.0]), "deviation"),
    "not finite": (lambda d: d["input"].update(mean=["nan"]), "finite numbers"),
    "infinite": (lambda d: d["input"].update(deviation=["1e999"]), "finite numbers"),
    "input": (lambda d: d.update(input=[]), "damaged"),
    "largest": (lambda d: d["input"].update(largest=0), "input.largest: 0, a whole number"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_documents_are_refused(path, damage):
    change, message = DAMAGE[damage]
    rewritten(path, change)
    with pytest.raises(DataError, match=f"{path}.*{message}"):
        nas_service.load(path)


NO_EXPORT = {
    "no data": (lambda d: d.pop("data"), "data"),
    "licence": (lambda d: d["data"].update(licence=3), "data.licence: a text"),
    "images": (lambda d: d["data"].update(validation_images=0), "data.validation_images: a number"),
    "test": (lambda d: d.update(test_accuracy=2), "test_accuracy: a share"),
    "trial": (lambda d: d.update(trial="7"), "trial: a whole number"),
    "versions": (lambda d: d.update(versions=["1"]), "versions: a table of texts"),
    "seed": (lambda d: d.update(seed="x"), "seed: a whole number"),
    "rates": (lambda d: d.update(spike_rates={"stem": 2.0}), "shares"),
    "layer": (lambda d: d.update(spike_rates={"steam": 0.2}), "steam"),
    "no metrics": (lambda d: d.update(metrics=[]), "damaged"),
    "accuracy": (lambda d: d["metrics"].update(accuracy="high"), "damaged"),
    "bound": (lambda d: d["metrics"].update({"energy_uJ@0.9": "x"}), "damaged"),
}


def test_a_chip_with_other_figures_than_those_of_the_file_is_noted(path, caplog):
    of_file(path)
    assert caplog.text == ""
    rewritten(path, lambda document: document["chip"].update(digest="0123"))
    assert of_file(path).evaluation.accuracy == 0.5
    assert "its costs are computed anew on rram_28nm of digest" in caplog.text
    assert "they were on one of digest '0123'" in caplog.text


@pytest.mark.parametrize("damage", NO_EXPORT)
def test_documents_that_no_format_could_be_written_of_are_refused(path, damage):
    """The network could still be loaded, but its origin and its figures are damaged."""
    change, message = NO_EXPORT[damage]
    rewritten(path, change)
    with pytest.raises(DataError, match=f"{path}.*{message}") as refused:
        of_file(path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("examples.pixels"), "pixels"),
        (lambda t: t.update({"examples.pixels": torch.zeros(3, 8, 8)}), "has the shape"),
        (lambda t: t.update({"examples.pixels": torch.zeros(3, 1, 8, 8)}), "3 images of torch.fl"),
        (lambda t: t["examples.pixels"].fill_(200), "examples.pixels: whole numbers of 0 to 16"),
        (lambda t: t.pop("examples.scores"), "damaged: 'examples.scores'"),
        (
            lambda t: t.update({"examples.scores": torch.zeros(3, 9)}),
            r"examples.scores is .* \[3, 9",
        ),
        (lambda t: t.pop("network.stem.1.weight"), "missing or unknown"),
        (lambda t: t["network.stem.1.weight"].fill_(float("nan")), "not finite"),
        (lambda t: t.update({"network.stem.1.weight": torch.zeros(5)}), "must be"),
    ],
)
def test_damaged_tensors_are_refused(path, change, message):
    tensors = load_file(path)
    change(tensors)
    rewritten(path, lambda document: None, tensors)
    with pytest.raises(DataError, match=message):
        nas_service.load(path)


def test_the_metadata_say_all_that_a_user_of_the_file_needs(network, path):
    with safetensors_format.safe_open(path, "pt") as file:
        document = json.loads(file.metadata()["nas_service"])
    e = network.evaluation
    assert document["architecture"] == e.architecture.to_json()
    assert document["input"] == {
        "shape": [1, 8, 8],
        "encoding": "direct",
        "time_steps": 4,
        "largest": 16,
        "mean": list(network.inputs.mean),
        "deviation": list(network.inputs.deviation),
    }
    assert document["classes"] == list("0123456789")
    assert document["chip"]["settings"]["crossbar_size"] == 128
    assert document["metrics"]["energy_uJ"] == e.hardware_metrics["energy_uJ"]
    assert document["versions"]["torch"] == torch.__version__
    assert document["data"]["licence"] == "CC BY 4.0"
    assert (document["seed"], document["study"]["name"]) == (e.seed, "tiny")


@pytest.mark.parametrize("part", ["weights", "metadata"])
def test_a_file_with_one_changed_byte_is_refused(path, part):
    content = bytearray(path.read_bytes())
    place = content.index(b"CC BY") if part == "metadata" else len(content) - 1000
    content[place] ^= 1
    path.write_bytes(content)
    with pytest.raises(DataError, match="damaged: its content was changed since"):
        nas_service.load(path)


def with_header(header, body=b"", size=None):
    """A safetensors file of this header; its length may be said to be another one."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if size is None else size) + text + body


TENSOR = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
METADATA = {"__metadata__": {"nas_service": '{"format": "nas-netw'}}
HOSTILE = {
    "empty": b"",
    "a length alone": with_header(b"", size=2**63),
    "a header longer than the file": with_header({}, size=10**6),
    "a huge header": with_header(b"{" + b" " * 100, size=2**40),
    "no JSON": with_header(b"{{{{{{{{"),
    "nested": with_header(b'{"a":' * 5000),
    "no table": with_header([1, 2]),
    "offsets beyond the file": with_header({"a": TENSOR | {"data_offsets": [0, 4000]}}),
    "a shape that is not of its bytes": with_header({"a": TENSOR | {"shape": [2**40]}}, bytes(4)),
    "a negative shape": with_header({"a": TENSOR | {"shape": [-1]}}, bytes(4)),
    "an unknown type": with_header({"a": TENSOR | {"dtype": "F3"}}, bytes(4)),
    "bytes that no tensor has": with_header({"a": TENSOR}, bytes(400)),
    "metadata cut": with_header(METADATA | {"a": TENSOR}, bytes(4)),
    "metadata nested": with_header({"__metadata__": {"nas_service": "[" * 10**5}, "a": TENSOR},
                                   bytes(4)),
    "metadata that are a number": with_header({"__metadata__": {"nas_service": "3"}, "a": TENSOR},
                                              bytes(4)),
}  # fmt: skip


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_one_line(kind, tmp_path):
    file = tmp_path / "net.safetensors"
    file.write_bytes(HOSTILE[kind])
    with pytest.raises(DataError, match=f"^{file}: ") as refused:
        nas_service.load(file)
    assert "\n" not in str(refused.value)
    assert len(str(refused.value)) < 300


def test_other_files_are_refused(path, tmp_path):
    whole = path.read_bytes()
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    (tmp_path / "cut").write_bytes(whole[: len(whole) // 2])
    for name, message in (
        ("other.safetensors", "no network of `nas export"),
        ("cut", "cut, damaged"),
        ("missing", r"cannot be read \(missing\)"),
        ("", r"cannot be read \(a folder\)"),
        ("x" * 300, r"cannot be read \(missing\)"),
    ):
        with pytest.raises(DataError, match=message):
            nas_service.load(tmp_path / name)
