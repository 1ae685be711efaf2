"""Deployed networks have integers and the same answers; damaged files are refused."""

import copy
import functools
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import nn

from nas_service.data import DATASETS
from nas_service.data.batches import ImageTensors, all_images
from nas_service.data.images import split
from nas_service.errors import DataError, SpecError
from nas_service.snn.deployed import (
    EXACT,
    FORMAT,
    Affine,
    deployed,
    fold,
    integer_matrices,
    load_deployed,
    quantize_after,
    save_deployed,
)
from nas_service.snn.network import Network
from nas_service.snn.neurons import LIF
from nas_service.snn.quantization import Rounding, integer_weights, matrix_of, quantize
from nas_service.snn.training import Recipe, accuracy, firing_rate, fit
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task

TASK = Task(1, 8, 10)
CELLS = (
    Cell(("conv3x3", "skip", "avgpool3x3", "conv1x1", "skip", "conv3x3")),
    Cell(("skip", "conv3x3", "skip", "zeroize", "conv1x1", "skip")),
)
ARCHITECTURE = Architecture(CELLS, channels=8, head_pool=2, hidden=32, time_steps=3, weight_bits=4)
RECIPE = Recipe(epochs=3, batch_size=32, learning_rate=0.01, weight_decay=0.01, warm_up=0.2)
ROUNDINGS = [
    Rounding(8),
    Rounding(4, "tensor"),
    Rounding(2, step_size="learned"),
    Rounding(4, step_size="mse", mode="ptq"),
]


@functools.cache
def digits():
    """Training and validation digits [N, 1, 8, 8] with labels."""
    data = split(DATASETS["digits"].read_train(Path()), None, 360, seed=0)
    return [all_images(part) for part in (data.train, data.validation)]


@pytest.fixture(scope="module", params=ROUNDINGS, ids=str)
def live(request):
    """A network trained on digits under each rounding; it fires, and is right far above chance."""
    torch.manual_seed(0)
    network = Network(ARCHITECTURE, TASK, votes=2)
    for block in network.blocks().values():
        quantize(matrix_of(block), request.param)
    (images, labels), held_out = digits()
    for _ in fit(network, ImageTensors(images, labels), RECIPE, seed=0):
        pass
    assert 0.01 < firing_rate(network, held_out[0]) < 0.9
    assert accuracy(network, ImageTensors(*held_out)) > 0.4
    return network


def untrained():
    torch.manual_seed(1)
    return Network(ARCHITECTURE, TASK, votes=2)


@torch.inference_mode()
def scores(network, images):
    return network.eval()(images)


def test_a_deployed_network_answers_as_the_trained_one(live):
    images, _ = digits()[1]
    twin = deployed(live)
    assert 0.01 < firing_rate(twin, images) < 0.9
    trained, result = scores(live, images), scores(twin, images)
    assert trained.std(0).min() > 0.01, "images must have different scores"
    assert torch.equal(trained.argmax(1), result.argmax(1))
    near = ((trained - result).abs() < 1e-4).all(1)
    assert near.float().mean() > 0.97  # a sum rounded otherwise may turn a spike


def test_every_matrix_is_deployed_and_meets_whole_numbers(live):
    images, _ = digits()[1]
    twin = deployed(live)
    assert not [m for m in twin.modules() if isinstance(m, nn.Conv2d | nn.Linear | nn.BatchNorm2d)]
    matrices = integer_matrices(twin)
    assert len(matrices) == len(live.blocks())
    met = {}
    for name, matrix in matrices.items():
        assert 0 < matrix.largest_sum() < EXACT
        matrix.register_forward_hook(lambda m, x, y, name=name: met.update({name: x[0]}))
    scores(twin, images)
    complete = {name: bool((x == x.round()).all()) for name, x in met.items()}
    assert complete.pop("stem.0") is False
    assert all(complete.values())
    assert [name for name, m in matrices.items() if not m.spikes] == ["stem.0"]
    assert [m.inputs for m in matrices.values()] == [1] * (len(matrices) - 2) + [4, 1]
    assert met["hidden.4"].max() > 1


def test_sums_do_not_depend_on_batch_layout_or_threads(live):
    """Bit for bit, and as 64-bit integers add them."""
    images, _ = digits()[1]
    twin = deployed(live)
    met = {}
    for name, matrix in integer_matrices(twin).items():
        matrix.register_forward_hook(lambda m, x, y, name=name: met.update({name: (m, x[0])}))
    scores(twin, images[:40])
    met.pop("stem.0")
    for matrix, x in met.values():
        together = matrix.sums(x)
        assert torch.equal(in_two_threads(matrix, x), together)
        assert torch.equal(torch.cat([matrix.sums(part) for part in x.split(7)]), together)
        if x.dim() == 4:
            assert torch.equal(matrix.sums(x.to(memory_format=torch.channels_last)), together)
        assert torch.equal(together.double(), in_64_bits(matrix, x).double())
        assert (together != 0).float().mean() > 0.001


def in_two_threads(matrix, x):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        return matrix.sums(x)
    finally:
        torch.set_num_threads(threads)


def in_64_bits(matrix, x):
    """Products of integers by unfolding, in int64."""
    weight = matrix.weight.to(torch.int64)
    if matrix.convolution is None:
        return x.to(torch.int64) @ weight.T
    kernel, c = weight.shape[-1], matrix.convolution
    padding, stride, groups = c["padding"], c["stride"], c["groups"]
    columns = nn.functional.unfold(x, kernel, padding=padding, stride=stride).to(torch.int64)
    rows = columns.unflatten(1, (groups, -1))  # [B, g, C_in / g * k * k, L]
    filters = weight.flatten(1).unflatten(0, (groups, -1))  # [g, C_out / g, C_in / g * k * k]
    side = (x.shape[-1] + 2 * padding[0] - kernel) // stride[0] + 1
    return torch.einsum("goi,bgil->bgol", filters, rows).flatten(1, 2).unflatten(2, (side, side))


@settings(deadline=None, max_examples=40)
@given(
    bits=st.integers(2, 8),
    per=st.sampled_from(["channel", "tensor"]),
    groups=st.sampled_from([1, 2, 8]),
    kernel=st.sampled_from([1, 3, 5]),
    stride=st.integers(1, 2),
    window=st.integers(1, 4),
    seed=st.integers(0, 2**31),
)
def test_any_matrix_gives_exact_sums(bits, per, groups, kernel, stride, window, seed):
    """Spikes summed over a window, through whole, grouped and depthwise convolutions."""
    draw = torch.Generator().manual_seed(seed)
    matrix = nn.Conv2d(8, 16, kernel, stride, kernel // 2, groups=groups)
    with torch.no_grad():
        matrix.weight.copy_(torch.randn(matrix.weight.shape, generator=draw))
    result = fold(quantize(matrix, Rounding(bits, per)).eval(), window=window)
    x = torch.randint(0, window**2 + 1, (5, 8, 6, 6), generator=draw).float()
    sums = result.sums(x)
    assert torch.equal(sums.double(), in_64_bits(result, x).double())
    assert torch.equal(torch.cat([result.sums(image[None]) for image in x]), sums)
    assert torch.equal(result.sums(x.to(memory_format=torch.channels_last)), sums)
    assert sums.abs().max() <= result.largest_sum() < EXACT
    assert torch.allclose(result(x), matrix(x / window**2), rtol=1e-4, atol=1e-4)


def test_a_batch_norm_goes_into_scale_and_bias_by_hand():
    """Weights 4, -4 in steps of 4, bias 1; (y - 3) / 2 * 6 + 5 = 3 y - 4 = 3 (4 s + 1) - 4."""
    matrix = nn.Conv2d(2, 1, 1)
    norm = nn.BatchNorm2d(1, eps=0.0).eval()
    with torch.no_grad():
        matrix.weight.copy_(torch.tensor([4.0, -4]).view(1, 2, 1, 1))
        matrix.bias.fill_(1)
        norm.weight.fill_(6)
        norm.bias.fill_(5)
    norm.running_mean.fill_(3)
    norm.running_var.fill_(4)
    result = fold(quantize(matrix, Rounding(2)), norm)
    assert result.weight.flatten().tolist() == [1, -1]
    assert (result.scale.item(), result.bias.item()) == (12, -1)
    x = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1)
    assert result(x).item() == norm(matrix(x)).item() == 11


def test_a_mean_over_a_window_goes_into_the_scale_by_hand():
    """Two of four spikes: a sum of 2, times 3 / 4, is the mean 1 / 2 times 3."""
    matrix = nn.Linear(1, 1, bias=False)
    nn.init.constant_(matrix.weight, 3)
    result = fold(quantize(matrix, Rounding(2)), window=2)
    assert (result.weight.item(), result.scale.item()) == (1, 0.75)
    assert result(torch.tensor([[2.0]])).item() == 1.5


def test_a_batch_norm_alone_stays_a_scale_and_a_bias():
    norm = nn.BatchNorm2d(6).eval()
    with torch.no_grad():
        for tensor in (norm.weight, norm.bias, norm.running_mean):
            tensor.copy_(torch.randn(6, generator=torch.Generator().manual_seed(3)))
    norm.running_var.copy_(torch.arange(1.0, 7))
    twin = nn.Sequential(norm, LIF(2))
    result = deployed(Wrapped(twin, norm)).stem[0]
    x = torch.randn(4, 6, 3, 3, generator=torch.Generator().manual_seed(4))
    assert isinstance(result, Affine)
    assert torch.allclose(result(x), norm(x), atol=1e-5)


class Wrapped(nn.Module):
    """A network without matrices."""

    def __init__(self, stem, _):
        super().__init__()
        self.stem = stem

    def blocks(self):
        return {}


def test_a_depthwise_network_is_deployed():
    """Not of the space of this network: its matrices are replaced by hand, and it fires."""
    torch.manual_seed(2)
    network = untrained()
    depthwise = quantize(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), Rounding(3))
    network.body[0].edges["edge01"][1] = depthwise
    (images, labels), held_out = digits()
    for _ in fit(network, ImageTensors(images, labels), RECIPE, seed=0):
        pass
    twin = deployed(network)
    assert 0.01 < firing_rate(twin, held_out[0]) < 0.9
    assert integer_matrices(twin)["body.cell0.edges.edge01.1"].weight.shape == (8, 1, 3, 3)
    result = scores(twin, held_out[0])
    assert torch.equal(result.argmax(1), scores(network, held_out[0]).argmax(1))
    assert result.std(0).min() > 0.01


def test_the_trained_network_is_left_as_it_was(live):
    before = {name: x.clone() for name, x in live.state_dict().items()}
    deployed(live)
    quantize_after(live, {"hidden": Rounding(2)})
    after = live.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_rounded_after_training_block_by_block(live):
    images, _ = digits()[1]
    mixed = quantize_after(live, {"hidden": Rounding(2, step_size="mse", mode="ptq")})
    blocks, before = mixed.blocks(), live.blocks()
    for name in blocks:
        result, was = (integer_weights(matrix_of(b[name]))[0] for b in (blocks, before))
        assert torch.equal(result, was) == (name != "hidden")
    assert len(integer_weights(matrix_of(blocks["hidden"]))[0].unique()) == 3
    assert not torch.equal(scores(mixed, images), scores(live, images))
    assert torch.equal(scores(deployed(mixed), images).argmax(1), scores(mixed, images).argmax(1))


def test_rounding_nothing_anew_changes_nothing(live):
    images, _ = digits()[1]
    assert torch.equal(scores(quantize_after(live, {}), images), scores(live, images))


def test_what_cannot_be_rounded_after_training_is_refused(live):
    with pytest.raises(SpecError, match=r"no block 'hiden' to quantize, did you mean 'hidden'"):
        quantize_after(live, {"hiden": Rounding(4)})
    with pytest.raises(SpecError, match="'hidden': step_size = 'learned' needs a training"):
        quantize_after(live, {"hidden": Rounding(4, step_size="learned")})


def test_float_weights_and_partial_means_are_not_deployed():
    network = untrained()
    network.stem[0] = nn.Conv2d(1, 8, 3, padding=1)
    with pytest.raises(SpecError, match="Conv2d: not quantized"):
        deployed(network)
    network = untrained()
    network.hidden[2] = nn.AvgPool2d(2, ceil_mode=True)
    with pytest.raises(SpecError, match="only means over complete windows"):
        deployed(network)
    network = untrained()
    network.stem[1] = nn.BatchNorm2d(8, track_running_stats=False)
    with pytest.raises(SpecError, match="without running statistics"):
        deployed(network)
    with pytest.raises(SpecError, match="only padding with zeros"):
        fold(quantize(nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular"), Rounding(4)))


def test_a_file_restores_the_same_network(live, tmp_path):
    images, _ = digits()[1]
    twin, path = deployed(live), tmp_path / "a" / "deployed.safetensors"
    save_deployed(twin, path)
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    fresh = untrained()
    for block, own in zip(fresh.blocks().values(), live.blocks().values(), strict=True):
        quantize(matrix_of(block), matrix_of(own).parametrizations.weight[0].rounding)
    result = load_deployed(fresh, path)
    assert torch.equal(scores(result, images), scores(twin, images))
    types = {x.dtype for x in load_file(path).values()}
    assert types == {torch.int8, torch.float32}
    weights = sum(x.numel() for x in load_file(path).values() if x.dtype == torch.int8)
    assert path.stat().st_size < 4 * weights


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Tensors of a deployed network, untrained."""
    path = tmp_path_factory.mktemp("kept") / "w.safetensors"
    save_deployed(deployed(untrained()), path)
    return load_file(path)


SPOILT = {
    r"tensor 'stem\.0\.bias' is missing or unknown": lambda t: t.pop("stem.0.bias"),
    r"tensor 'more' is missing or unknown": lambda t: t.update(more=torch.zeros(1)),
    r"stem\.0\.scale is torch\.float32 \[9\], must be torch\.float32 \[8\]": lambda t: t.update(
        {"stem.0.scale": torch.zeros(9)}
    ),
    r"hidden\.4\.weight is torch\.float32": lambda t: t.update(
        {"hidden.4.weight": t["hidden.4.weight"].float()}
    ),
    r"stem\.0\.scale holds numbers that are not finite": lambda t: t["stem.0.scale"].fill_(
        float("nan")
    ),
    r"readout\.1\.weight reaches 8, must be 7 at most": lambda t: t["readout.1.weight"].fill_(8),
    r"hidden\.4\.weight reaches 128, must be 7": lambda t: t["hidden.4.weight"].fill_(-128),
}


@pytest.mark.parametrize("message", SPOILT)
def test_a_damaged_file_of_weights_is_refused(message, kept, tmp_path):
    tensors, path = copy.deepcopy(kept), tmp_path / "w.safetensors"
    SPOILT[message](tensors)
    save_file(tensors, path, FORMAT)
    with pytest.raises(DataError, match=message):
        load_deployed(untrained(), path)


def test_files_of_other_kinds_are_refused(kept, tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(DataError, match=re.escape(f"{path}: not a safetensors file")):
        load_deployed(untrained(), path)
    path.write_bytes(np.random.default_rng(0).bytes(500))
    with pytest.raises(DataError, match="not a safetensors file"):
        load_deployed(untrained(), path)
    save_file(kept, path)
    with pytest.raises(DataError, match="format None, must be"):
        load_deployed(untrained(), path)
