"""What every proxy promises: finite, repeatable, without labels, for every operation."""

import inspect
import math
from importlib import import_module

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small_networks import DEAD, LIVE, images, network
from spike_rates import rates

from nas_service.errors import SpecError
from nas_service.metrics import METRICS, PROXIES, PROXY, WORST_PROXY
from nas_service.snn.proxies.scoring import Score, score
from nas_service.spaces.cell import Cell
from nas_service.spaces.operations import OPERATIONS, PRESETS

QUICK = settings(max_examples=30, deadline=None, derandomize=True)


@pytest.mark.parametrize("name", PROXIES)
def test_an_entry_names_a_function_and_is_a_metric(name):
    module, _, name_of_function = PROXIES[name].function.partition(":")
    function = getattr(import_module(f"nas_service.snn.proxies.{module}"), name_of_function)
    parameters = list(inspect.signature(function).parameters)
    assert parameters == (["edges"] if PROXIES[name].structural else ["network", "images"])
    assert function.__doc__
    assert PROXIES[name].source
    assert METRICS[PROXY + name].proxy == name


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("operation", OPERATIONS)
def test_networks_of_one_operation_have_a_score(name, operation):
    cell = Cell((operation,) * 6)
    result = score(name, network(cell), images(6))
    assert math.isfinite(result.value)
    assert result.dead == (not cell.connected) or result == Score(WORST_PROXY, dead=True)


@pytest.mark.parametrize("name", PROXIES)
def test_equal_seeds_give_equal_scores(name):
    first, second = (score(name, network(LIVE, seed=5), images(seed=6)) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", PROXIES)
def test_score_repeats_and_leaves_the_network_alone(name):
    net, x = network(LIVE, LIVE), images()
    assert 0.01 < min(rates(net, x)) <= max(rates(net, x)) < 0.9
    net.train()
    net.body[0].eval()
    modes = [m.training for m in net.modules()]
    before = {key: value.clone() for key, value in net.state_dict().items()}
    first = score(name, net, x)
    assert math.isfinite(first.value)
    assert not first.dead
    assert score(name, net, x) == first
    assert all(torch.equal(value, before[key]) for key, value in net.state_dict().items())
    assert [m.training for m in net.modules()] == modes
    assert all(p.grad is None for p in net.parameters())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in net.modules())


@pytest.mark.parametrize("name", PROXIES)
@pytest.mark.parametrize("cells", [(DEAD, LIVE), (LIVE, DEAD), (DEAD,)])
def test_dead_networks_are_flagged_and_rank_last(name, cells):
    x = images()
    assert score(name, network(*cells), x) == Score(WORST_PROXY, dead=True)


@pytest.mark.parametrize("name", PROXIES)
@QUICK
@given(st.lists(st.sampled_from(PRESETS["snasnet5"]), min_size=6, max_size=6))
def test_every_cell_has_a_finite_score(name, operations):
    x = images(6)
    cell = Cell(tuple(operations))
    result = score(name, network(cell), x)
    assert math.isfinite(result.value)
    assert cell.connected or result.dead


@pytest.mark.parametrize("name", PROXIES)
def test_too_few_images_are_named(name):
    with pytest.raises(SpecError, match="3 images, at least 4 are needed"):
        score(name, network(LIVE), images(3))


def test_unknown_proxy_is_named():
    with pytest.raises(SpecError, match="did you mean 'hamming'"):
        score("haming", network(LIVE), images())
