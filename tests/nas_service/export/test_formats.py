"""Every format writes files that compute what the network computes."""

import fnmatch
import json
import shlex
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import exported_networks
import numpy as np
import pytest
import read_crossbars
import torch
from later import Later
from safetensors import safe_open
from safetensors.torch import load_file

import nas_service
from hw_models import load_profile
from nas_service.errors import NasError, SpecError, StudyError
from nas_service.export.formats import FORMATS, base_of, place, staged_files, write_files
from nas_service.export.loaded import load
from nas_service.export.trained_network import trained_network
from nas_service.snn.deployed import integer_matrices

onnx, onnxruntime = Later("onnx"), Later("onnxruntime")


@pytest.fixture(scope="module")
def network(evaluator):
    return exported_networks.trained(evaluator, exported_networks.random_architecture(1, True))


def written(network, kind, folder):
    module = FORMATS[kind].load()
    return module, write_files(module.contents(network, "net"), folder / "net")


@pytest.mark.parametrize("kind", FORMATS)
def test_the_first_file_has_the_suffix_of_the_format(network, kind, tmp_path):
    _, files = written(network, kind, tmp_path)
    assert files[0].name == "net" + FORMATS[kind].suffix
    assert {base_of(file, FORMATS[kind]) for file in files} == {tmp_path / "net"}


@pytest.mark.parametrize("kind", FORMATS)
def test_existing_files_are_replaced_only_on_request(network, kind, tmp_path):
    module, files = written(network, kind, tmp_path)
    files[-1].write_text("mine")
    for path in files[:-1]:
        path.unlink()
    contents = module.contents(network, "net")
    with pytest.raises(NasError, match="exists: --force"):
        write_files(contents, tmp_path / "net")
    assert files[-1].read_text() == "mine"
    assert list(tmp_path.iterdir()) == [files[-1]]  # nothing half-written
    write_files(contents, tmp_path / "net", replace=True)
    assert files[-1].read_bytes() == list(contents.values())[-1]


def test_a_name_may_be_a_folder_that_exists(tmp_path):
    torch_format = FORMATS["torch"]
    assert place(None, "tiny-0", torch_format) == Path("tiny-0")
    for folder in (tmp_path, f"{tmp_path}/", f"{tmp_path}/."):
        assert place(str(folder), "tiny-0", torch_format) == tmp_path / "tiny-0"
    assert place(f"{tmp_path}/net.py", "tiny-0", torch_format) == tmp_path / "net"
    for folder in ("nope/", "nope/."):
        with pytest.raises(NasError, match=f"-o '{folder}': no such folder"):
            place(folder, "tiny-0", torch_format)
    for name in ("", "x/.."):
        with pytest.raises(NasError, match="the name of a file is needed"):
            place(name, "tiny-0", torch_format)


def test_a_folder_that_is_missing_is_one_line(tmp_path):
    with pytest.raises(NasError, match=r"missing: cannot be written \(No such file"):
        write_files({".x": b""}, tmp_path / "missing" / "net")


def test_safetensors_load_back_bit_equal(network, tmp_path):
    _, (path,) = written(network, "safetensors", tmp_path)
    loaded = load(path)
    ours, theirs = network.network.state_dict(), loaded.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert loaded.document["metrics"]["accuracy"] == 0.5
    assert loaded.document["data"] if "data" in network.facts else True
    assert loaded.document["input"]["mean"] == list(network.inputs.mean)


def test_examples_are_in_the_files(network, tmp_path):
    _, (path,) = written(network, "safetensors", tmp_path)
    with safe_open(path, "pt") as file:
        pixels, scores = (file.get_tensor(f"examples.{n}") for n in ("pixels", "scores"))
    assert torch.equal(pixels, network.examples)
    assert torch.equal(scores, network.scores(pixels))


@pytest.mark.process
def test_the_torch_file_runs_without_this_package(network, tmp_path):
    _, (program, weights) = written(network, "torch", tmp_path)
    assert "nas_service" not in program.read_text().replace("nas-service", "")
    assert load_file(weights)["stem.weight"].dtype == torch.int8
    blocked = "import sys; sys.modules['nas_service'] = None; sys.argv = sys.argv[1:]; import runpy"
    command = [sys.executable, "-c", f"{blocked}; runpy.run_path(sys.argv[0], run_name='__main__')"]
    done = subprocess.run([*command, program], capture_output=True, text=True, check=True)
    assert done.stdout == "largest difference of the example scores: 0\n"


def exported_crossbars(network, folder):
    _, (index, arrays) = written(network, "crossbar", folder)
    return json.loads(index.read_text()), np.load(arrays, allow_pickle=False)


@pytest.mark.parametrize("sign", ["differential", "offset"])
@pytest.mark.parametrize("mapping", ["kernel_split", "im2col"])
def test_a_program_of_numpy_reads_the_sums_of_each_layer(network, sign, mapping, tmp_path):
    profile = load_profile("corrected").with_values({"sign": sign, "mapping": mapping})
    index, arrays = exported_crossbars(replace(network, profile=profile), tmp_path)
    rng = np.random.default_rng(0)
    for name, matrix in integer_matrices(network.deployed).items():
        layer = next(n.name for n in network.graph.nodes if n.weight is matrix.weight)
        weight = matrix.weight.flatten(1).numpy().astype(float)
        groups = (matrix.convolution or {}).get("groups", 1)
        x = rng.integers(0, 2, (3, groups * weight.shape[1])).astype(float)
        own = x.reshape(3, groups, 1, -1) * weight.reshape(1, groups, -1, weight.shape[1])
        sums = read_crossbars.layer_sums(index, arrays, layer, x)
        assert np.abs(sums - own.sum(-1).reshape(3, -1)).max() < 1e-6, name


def test_as_many_crossbars_as_are_costed(network, tmp_path):
    index, _ = exported_crossbars(network, tmp_path)
    report = network.evaluation.hardware
    costed = dict(zip(report.rows, report.mapping.crossbars, strict=False))
    exported = {name: len(crossbars) for name, crossbars in index["crossbars"].items()}
    assert {n.replace(".", "_"): k for n, k in costed.items()} == exported


@pytest.mark.parametrize(
    ("chip", "message"),
    [
        (load_profile("spikesim_rram"), r"one cell for a weight of . bits \(D15\) .* 'corrected'"),
        (load_profile("corrected").with_values({"on_resistance": 200}), "on_resistance = off_"),
    ],
    ids=["one cell for a weight", "no levels"],
)
def test_a_chip_that_cannot_hold_the_network_is_refused(network, chip, message):
    with pytest.raises(SpecError, match=f"{message}.*; --format torch has the weights"):
        FORMATS["crossbar"].load().contents(replace(network, profile=chip), "net")


def test_files_that_fail_their_check_replace_nothing(tmp_path):
    old = tmp_path / "net.a"
    old.write_text("old")

    def checked():
        new = {".a": b"new", ".b": b"new"}
        with staged_files(new, tmp_path / "net", replace=True) as (first, _):
            assert (first.name, first.read_text()) == ("net.a", "new")
            raise NasError("on purpose")

    with pytest.raises(NasError, match="on purpose"):
        checked()
    assert old.read_text() == "old"
    assert list(tmp_path.iterdir()) == [old]


@pytest.mark.parametrize("outcome", ["diverged", "rejected", "scored"])
def test_a_network_that_was_not_trained_has_no_weights(evaluator, network, outcome):
    untrained = replace(network.evaluation, outcome=outcome, reason="on purpose")
    message = rf"it was {outcome} \(on purpose\): there are no weights to export"
    with pytest.raises(StudyError, match=message):
        trained_network(evaluator, untrained, Path("none"), {})


def test_a_library_that_is_missing_is_one_line(network, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(NasError, match=r"onnx is not installed: pip install 'nas-service\[onnx\]'"):
        FORMATS["onnx"].load().contents(network, "net")


def test_an_unrolled_onnx_file_is_one_run_from_pixels_to_scores(network, tmp_path):
    _, (path,) = written(network, "onnx-unrolled", tmp_path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (image,), (scores,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.shape) == ("image", ["B", 1, 8, 8])
    assert (scores.name, scores.shape) == ("scores", ["B", 10])
    (computed,) = session.run(None, {"image": network.examples.float().numpy()})
    assert np.allclose(computed, network.scores(network.examples).numpy(), atol=1e-4)


def test_an_onnx_file_says_what_it_is(network, tmp_path):
    _, (path,) = written(network, "onnx", tmp_path)
    model = onnx.load(str(path))
    metadata = {p.key: p.value for p in model.metadata_props}
    document = json.loads(metadata["nas_service"])
    assert document["architecture"] == network.evaluation.architecture.to_json()
    examples = json.loads(metadata["examples"])
    assert examples["pixels"] == network.examples.tolist()
    batch = {i.type.tensor_type.shape.dim[0].dim_param for i in model.graph.input}
    assert batch == {"B"}
    ends = {o.name.removesuffix("_out") for o in model.graph.output} - {"scores"}
    assert ends == {i.name.removesuffix("_in") for i in model.graph.input} - {"image"}


@pytest.mark.parametrize("name", ["two words", "it's", 'a "b"', "a\nimport os", "x\udcff", "\xfc"])
def test_a_card_loads_files_of_any_name(network, name, monkeypatch):
    files = FORMATS["card"].load().contents(network, name)
    program = files[".md"].decode().partition("```python\n")[2].partition("```")[0]
    loaded = []
    monkeypatch.setattr(nas_service, "load", lambda path: loaded.append(path) or Mock())
    exec(program, {"images": []})  # noqa: S102  written by the format
    assert loaded == [f"{name}.safetensors"]
    command = shlex.split(program.partition("\n")[0], comments=False)
    assert fnmatch.fnmatch(name, command[command.index("-o") + 1])


def test_a_card_tells_what_the_network_is(network, tmp_path):
    facts = network.facts | {"name": "a<b>|c", "test_accuracy": 0.75}
    facts["data"] = facts["data"] | {"test_images": 40}
    counted = {"activation_sparsity": 0.9, "effective_macs": 12.0}
    measured = replace(network.evaluation, on_chip=(0.25, 0.5), counted=counted)
    network = replace(network, facts=facts, evaluation=measured)
    _, (markdown, page) = written(network, "card", tmp_path)
    text = markdown.read_text()
    assert text.startswith("# a<b>\\|c, trial 7\n")
    assert "| validation, 32 images | 50.00 % | 33.63 % .. 66.37 % |" in text
    assert "| test, 40 images | 75.00 % | 59.81 % .. 85.81 % |" in text
    assert "| validation, on simulated chips | 37.50 % | 25.00 % .. 50.00 % over 2 chips |" in text
    assert "| energy |" in text
    assert "| activation sparsity | 90.0 % |" in text
    assert "| effective macs | 12.0 |" in text
    assert "| licence of the data | CC BY 4.0 |" in text
    assert "| raw values | 0 .. 16, direct encoding |" in text
    assert 'load("net.safetensors")' in text
    assert network.profile.digest in text
    html = page.read_text()
    assert "<h1>a&lt;b&gt;|c, trial 7</h1>" in html
    assert html.count("<svg") == len(network.evaluation.architecture.cells)
