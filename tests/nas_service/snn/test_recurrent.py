"""Backward cells over time, norms and dropout of single steps, spikes shared between edges."""

import copy

import torch
from torch import nn

from nas_service.snn.network import (
    Network,
    RecurrentCell,
    StepDropout,
    _stages,
    _stepped,
    lif_layers,
)
from nas_service.snn.neurons import LIF
from nas_service.snn.operations import StepNorm
from nas_service.snn.trace import spike_rates
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import EDGES, Cell
from nas_service.spaces.task import Task

TASK, T = Task(1, 8, 10), 5


def cell(**edges):
    """A cell of edges by name; `e31="skip"` leads from node 3 to node 1."""
    operations = ["zeroize"] * 6
    for name, operation in edges.items():
        i, j = map(int, name[1:])
        pair = EDGES.index((min(i, j), max(i, j)))
        operations[pair] = operation if i < j else f"back:{operation}"
    return Cell(tuple(operations))


LOOP = cell(e01="conv3x3", e13="conv1x1", e03="skip", e32="skip", e21="conv1x1")


def network(c, steps=T):
    torch.manual_seed(0)
    made = Network(Architecture((c,), 4, 2, 16, steps, 8), TASK)
    for module in made.modules():  # so that neurons fire without a training
        if isinstance(module, nn.BatchNorm2d):
            nn.init.constant_(module.bias, 0.6)
    for name, weight in made.named_parameters():
        if name.startswith("hidden") and weight.dim() == 2:
            nn.init.uniform_(weight, -0.3, 0.6)
    return made


IMAGES = torch.rand(6, 1, 8, 8, generator=torch.Generator().manual_seed(5))
MAPS = 2 * torch.rand(T * 6, 4, 8, 8, generator=torch.Generator().manual_seed(6))


def steps_of(y):
    return y.detach().unflatten(0, (T, -1))


def test_kinds_of_cells():
    assert isinstance(network(LOOP).cells[0], RecurrentCell)
    assert not isinstance(network(cell(e01="skip", e30="conv3x3", e03="zeroize")).cells[0],
                          RecurrentCell)  # fmt: skip


def test_backward_skips_by_hand():
    """0 -> 1 -> 3 and 3 -> 0: y(t) = x(t) + y(t - 1), a running sum."""
    c = network(cell(e01="skip", e13="skip", e30="skip")).cells[0]
    expected = steps_of(MAPS).cumsum(0)
    torch.testing.assert_close(steps_of(c(MAPS)), expected)


def test_an_input_over_a_backward_edge_comes_a_step_late():
    """0 -> 2, 2 -> 1 backward, 1 -> 3: y(t) = x(t - 1), and zeros in the first step."""
    c = network(cell(e02="skip", e21="skip", e13="skip")).cells[0]
    x, y = steps_of(MAPS), steps_of(c(MAPS))
    assert torch.equal(y[1:], x[:-1])
    assert not y[0].any()


def test_the_first_step_has_no_feedback():
    """The first step is that of the cell without backward edges; later ones are not."""
    loop, forward = network(LOOP), network(cell(e01="conv3x3", e13="conv1x1", e03="skip"))
    forward.load_state_dict(loop.state_dict(), strict=False)
    ours, reference = (steps_of(n.eval().cells[0](MAPS)) for n in (loop, forward))
    torch.testing.assert_close(ours[0], reference[0])
    assert (ours[3] - reference[3]).abs().max() > 0.01
    rates = spike_rates(loop, IMAGES)
    assert rates["cell0.edge21"][0] == 0 < rates["cell0.edge21"][-1]
    assert len(rates["cell0.edge21"]) == T


def test_dead_backward_edges_change_nothing():
    plain = cell(e01="conv3x3", e13="conv1x1")
    dead = cell(e01="conv3x3", e13="conv1x1", e21="conv3x3", e20="conv1x1")
    ours, reference = network(dead).eval(), network(plain).eval()
    assert ours.state_dict().keys() == reference.state_dict().keys()
    assert torch.equal(ours(IMAGES), reference(IMAGES))
    assert dead.canonical() == plain.canonical()


def test_a_forward_cell_step_by_step_equals_it_folded():
    """The same cell run as a recurrent one, in evaluation."""
    plain = cell(e01="conv3x3", e12="skip", e13="conv1x1", e02="avgpool3x3", e23="sepconv3x3")
    folded = network(plain).eval().cells[0]
    stepwise = copy.deepcopy(folded)
    stepwise.__class__ = RecurrentCell
    stepwise.time_steps = T
    fired = steps_of(folded(MAPS))
    torch.testing.assert_close(steps_of(stepwise(MAPS)), fired, rtol=0, atol=1e-5)
    assert fired.abs().max() > 0.1


def test_gradient_flows_back_through_time():
    """The last step's output depends on the first step's input by the loop alone."""
    c = network(cell(e01="conv3x3", e13="skip", e30="conv1x1")).cells[0]
    x = MAPS.clone().requires_grad_()
    c(x).unflatten(0, (T, -1))[-1].square().sum().backward()
    reached = x.grad.unflatten(0, (T, -1)).flatten(1).abs().sum(1)
    assert (reached > 0).all()
    assert torch.isfinite(reached).all()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in c.parameters())


def test_running_sum_has_a_gradient_by_hand():
    """y(T - 1) is the sum of all x(t): each gets the same gradient."""
    c = network(cell(e01="skip", e13="skip", e30="skip")).cells[0]
    x = MAPS.clone().requires_grad_()
    c(x).unflatten(0, (T, -1))[-1].sum().backward()
    assert torch.equal(x.grad, torch.ones_like(x))


# --- norms and dropout of single steps ---------------------------------------------------------


def test_step_norm_is_a_batch_norm_of_each_step():
    ours, reference = StepNorm(4, T, 0.3), nn.BatchNorm2d(4, momentum=0.3)
    for _ in range(2):
        x = MAPS.clone().requires_grad_()
        y = x.detach().clone().requires_grad_()
        result = ours(x)
        expected = torch.cat([reference(step) for step in y.unflatten(0, (T, -1))])
        assert torch.equal(result, expected)
        weight = torch.arange(result.numel(), dtype=torch.float32).reshape(result.shape).sin()
        (result * weight).sum().backward()
        (expected * weight).sum().backward()
        torch.testing.assert_close(x.grad, y.grad)
    for key, value in reference.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[key], value)
    assert ours.num_batches_tracked == 2 * T
    assert torch.equal(ours.eval()(MAPS), reference.eval()(MAPS))
    folded = nn.BatchNorm2d(4, momentum=0.3)
    assert (folded(MAPS) - StepNorm(4, T, 0.3)(MAPS)).abs().max() > 0.01


def test_step_dropout_drops_the_same_features_in_all_steps():
    torch.manual_seed(0)
    drop = StepDropout(0.25, T)
    x = 1 + torch.rand(T * 20, 50)
    y = drop(x).unflatten(0, (T, -1))
    kept = y != 0
    assert (kept == kept[0]).all()
    assert 0.7 < kept.float().mean() < 0.8
    torch.testing.assert_close(y[kept], x.unflatten(0, (T, -1))[kept] / 0.75)
    assert not (kept[0][0] == kept[0][1]).all(), "images lose features of their own"
    assert torch.equal(drop.eval()(x), x)
    assert torch.equal(StepDropout(0.0, T)(x), x)


# --- sharing ------------------------------------------------------------------------------------


def unshared(self, wire, value, fired):
    """What an edge sends if it runs by itself."""
    return self.edges[f"edge{wire.name}"](value)


def test_shared_spikes_change_no_score_and_no_gradient(monkeypatch):
    """Edges out of one node, two of them with a threshold of their own, against each by itself."""
    c = cell(e01="conv3x3", e02="conv1x1", e03="conv3x3_th0.5", e12="sepconv3x3", e13="conv3x3_th1",
             e23="conv1x1")  # fmt: skip
    ours = network(c)
    reference = copy.deepcopy(ours)
    rates = []
    for lif in lif_layers(ours):
        lif.register_forward_hook(lambda _, __, y: rates.append(float(y.detach().mean())))
    result = ours(IMAGES)
    result.square().sum().backward()
    fewer = len(rates)
    assert all(0.01 < rate < 0.95 for rate in rates), rates
    monkeypatch.setattr(type(reference.cells[0]), "_send", unshared)
    expected = reference(IMAGES)
    expected.square().sum().backward()
    assert torch.equal(result, expected)
    for (name, p), q in zip(ours.named_parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-4, atol=1e-6, msg=name)
        assert p.grad.abs().sum() > 0, name
    assert fewer < len(lif_layers(reference)), "some spikes were computed once"


def test_stages_of_an_edge():
    """Neurons first, and one step of them is Norse's step."""
    edges = network(cell(e03="sepconv3x3")).cells[0].edges
    kinds = [type(m) for m in _stages(edges["edge03"])]
    assert [k is LIF for k in kinds] == [True, False, False, True, False, False]
    lif, states = LIF(T), {}
    stepped = torch.cat([_stepped(lif, x, states) for x in MAPS.unflatten(0, (T, -1))])
    assert torch.equal(stepped, lif(MAPS))
    assert 0.01 < stepped.mean() < 0.9
