"""Kernels and structural proxies by hand, and batched sums against plain ones."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import EASY, LIVE, TASK, images, network
from spike_rates import rates

from nas_service.metrics import PROXIES, WORST_PROXY
from nas_service.snn.network import Network, lif_layers
from nas_service.snn.proxies.kernels import (
    _KernelSum,
    hamming_kernels,
    log_determinant,
    mean_kernel,
    sparsity_aware_kernels,
)
from nas_service.snn.proxies.scoring import Score, at_initialisation, score, structural_score
from nas_service.snn.proxies.structure import paths
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.operations import OPERATIONS, PRESETS

QUICK = settings(max_examples=30, deadline=None, derandomize=True)

CODES = torch.tensor([[[1.0, 1, 0, 0], [1, 0, 1, 0], [1, 1, 1, 1]]])  # distances 2, 2, 2


def test_hamming_by_hand():
    assert hamming_kernels(CODES).tolist() == [[[4, 2, 2], [2, 4, 2], [2, 2, 4]]]


def test_sparsity_aware_by_hand():
    """Codes 0 and 1 are silent in half: expected distance 4 (1/4 + 1/4) = 2, so d / 2 = 1.

    Code 2 is never silent: expected distance 4 (1/2 x 1) = 2 as well.
    """
    kernel = sparsity_aware_kernels(CODES, 0.5)[0]
    assert kernel.tolist() == [[4, 3.5, 3.5], [3.5, 4, 3.5], [3.5, 3.5, 4]]


def test_equal_codes_have_no_distance():
    """Two silent codes: the expected distance is 0, and 0 / 0 is no distance."""
    assert sparsity_aware_kernels(torch.zeros(1, 2, 5), 0.5).tolist() == [[[5, 5], [5, 5]]]


def test_counts_are_exact_whatever_the_network_ran_in():
    """bfloat16 has no 1001."""
    codes = torch.ones(1, 2, 1001, dtype=torch.bfloat16)
    codes[0, 0, 0] = 0
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, full = hamming_kernels(codes), hamming_kernels(codes.float())
    assert half.tolist() == full.tolist() == [[[1001, 1000], [1000, 1001]]]


def test_log_determinant_by_hand():
    """4 x 4 - 2 x 2 = 12."""
    assert log_determinant(torch.tensor([[4.0, 2], [2, 4]])) == pytest.approx(math.log(12))
    assert log_determinant(torch.ones(2, 2)) == -math.inf


@QUICK
@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 40), st.floats(0.0, 1.0))
def test_one_product_counts_pair_by_pair(seed, batch, neurons, rate):
    generator = torch.Generator().manual_seed(seed)
    codes = (torch.rand(2, batch, neurons, generator=generator) < rate).float()
    one, other = hamming_kernels(codes), sparsity_aware_kernels(codes, 0.7)
    for t, i, j in itertools.product(range(2), range(batch), range(batch)):
        d = int((codes[t, i] != codes[t, j]).sum())
        ri, rj = (1 - codes[t, k].double().mean() for k in (i, j))
        expected = neurons * (ri * (1 - rj) + (1 - ri) * rj)
        assert one[t, i, j] == neurons - d
        share = float(d / expected) if expected > 0 else 0.0
        assert other[t, i, j] == pytest.approx(neurons - 0.7 * share)


@pytest.mark.parametrize("channels_last", [False, True])
def test_kernel_is_the_mean_over_layers_and_steps(channels_last):
    """Against a plain sum over hooks; no two layers are alike and read one node."""
    cell = Cell((EASY, "zeroize", "skip", EASY, "conv3x3", "conv3x3"))
    net, x = network(cell, cell), images()
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
    assert 0.01 < min(rates(net, x)) <= max(rates(net, x)) < 0.9
    seen = []
    hooks = [m.register_forward_hook(lambda _, __, y: seen.append(y)) for m in lif_layers(net)]
    with at_initialisation(net), torch.no_grad():
        net(x)
        for hook in hooks:
            hook.remove()
        kernel, dead = mean_kernel(net, x, hamming_kernels)
    codes = [y.unflatten(0, (3, -1)).flatten(2) for y in seen]
    plain = sum(hamming_kernels(c).sum(0) for c in codes) / (3 * len(codes))
    assert not dead
    torch.testing.assert_close(kernel, plain, rtol=1e-12, atol=0)


def test_spikes_with_several_readers_count_for_each():
    """The same spikes seen twice and others once, over 2 time steps: a sum of three kernels."""
    generator = torch.Generator().manual_seed(0)
    one, other = ((torch.rand(2 * 3, 7, generator=generator) < 0.4).float() for _ in range(2))
    products = []
    kernel_sum = _KernelSum(lambda c: products.append(c) or hamming_kernels(c), images=3)
    for spikes in (one, other, one):
        kernel_sum.add(spikes)
    plain = [hamming_kernels(x.view(2, 3, 7)).sum(0) for x in (one, other, one)]
    assert torch.equal(kernel_sum.total, sum(plain))
    assert (len(products), kernel_sum.steps) == (2, 6)


# --- scores ----------------------------------------------------------------------------------


def test_rounded_weights_are_scored():
    """2 and 8 bits of the same weights are different networks."""
    x = images()
    coarse, fine = (network(LIVE, seed=3, bits=bits) for bits in (2, 8))
    assert score("sahd", coarse, x) != score("sahd", fine, x)


def test_equal_images_have_no_determinant():
    """A kernel with two equal rows is singular: finite, though the network lives."""
    x = images(1).expand(8, -1, -1, -1)
    assert score("hamming", network(LIVE), x) == Score(WORST_PROXY, dead=False)


# --- structure -------------------------------------------------------------------------------


def test_depth_by_hand():
    """01, 13 has two convolutions, 01, 12, 23 has two (12 is a skip), 03 one."""
    assert score("depth", network(LIVE, LIVE), images()).value == 4
    chain = Cell(("conv3x3", "zeroize", "skip", "conv3x3", "zeroize", "conv3x3"))
    assert score("depth", network(chain), images()).value == 3


def test_paths_may_lead_backward_but_meet_no_node_twice():
    edges = {(0, 2): (1.0,), (2, 1): (0.5,), (1, 2): (9.0,), (1, 3): (1.5,), (2, 3): ()}
    assert sorted(paths(edges)) == [(1.0,), (1.0, 0.5, 1.5)]


def test_threshold_depth_by_hand():
    """01, 13: 1 - 0.5 / 2 and 1 after it; 03 alone has 0.75; a path of skips has nothing."""
    assert score("threshold_depth", network(LIVE, LIVE), images()).value == 2 * 1.75
    skip = Cell(("zeroize", "zeroize", "skip", "zeroize", "zeroize", "zeroize"))
    assert score("threshold_depth", network(skip), images()) == Score(0.0, dead=False)


@QUICK
@given(st.lists(st.sampled_from(PRESETS["snasnet5"]), min_size=6, max_size=6))
def test_depths_rank_alike_under_one_threshold(operations):
    """With thresholds of 1 a cell's threshold depth is its depth - 1/2, and 0 stays 0."""
    net, x = network(Cell(tuple(operations))), images()
    plain, weighted = (score(name, net, x) for name in ("depth", "threshold_depth"))
    assert weighted.value == (plain.value - 0.5 if plain.value > 0 else plain.value)


@QUICK
@given(
    st.lists(st.sampled_from(sorted(OPERATIONS)), min_size=6, max_size=6),
    st.lists(st.sampled_from(PRESETS["bench-threshold"]), min_size=6, max_size=6),
)
def test_architecture_and_network_have_one_structure(one, other):
    a = Architecture((Cell(tuple(one)), Cell(tuple(other))), 2, 1, 4, 1, 8)
    net, x = Network(a, TASK), images(4)
    assert all(
        structural_score(name, a) == score(name, net, x)
        for name, proxy in PROXIES.items()
        if proxy.structural
    )


def test_convolutions_by_hand():
    """Five in each cell; what is dead is not built."""
    partly_dead = Cell(("conv3x3", "zeroize", "skip", "zeroize", "zeroize", "zeroize"))
    assert score("convolutions", network(LIVE, LIVE), images()).value == 10
    assert score("convolutions", network(partly_dead), images()).value == 0
