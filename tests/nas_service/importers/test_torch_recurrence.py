"""Recurrent cells in torch modules cost what the layer list with `feedback` costs."""

import norse.torch as norse
import pytest
import torch
from torch import nn

from hw_models import Layer, Workload, WorkloadError, load_profile
from nas_service.importers.torch_module import from_module

CHIP = load_profile("corrected")

CELLS = (
    norse.LIFRecurrentCell,
    norse.LIFAdExRecurrentCell,
    norse.LIFExRecurrentCell,
    norse.LIFRefracRecurrentCell,
    norse.LSNNRecurrentCell,
)


def by_hand(before, after, T, neurons_after=0):
    """A linear layer of 6 outputs, a cell of 5 neurons and a linear layer of 3 outputs."""
    loop = (f"{after}.input_weights", f"{after}.recurrent_weights")
    layers = (
        Layer(before, "linear", 4, 6, parameters=30, neurons=6, sources=()),
        Layer(loop[0], "linear", 6, 5, parameters=30, neurons=0, sources=(before,)),
        Layer(
            loop[1],
            "linear",
            5,
            5,
            parameters=25,
            neurons=5,
            sources=(),
            feedback=loop,
            input_adds=5,
        ),
        Layer("4", "linear", 5, 3, parameters=18, neurons=neurons_after, sources=loop),
    )
    return Workload(layers, T)


def network(cell, *last):
    return norse.SequentialState(
        nn.Linear(4, 6), norse.LIFBoxCell(), nn.Identity(), cell(6, 5), nn.Linear(5, 3), *last
    )


@pytest.mark.parametrize("cell", CELLS)
def test_a_recurrent_cell_is_two_layers_and_a_loop(cell):
    """Where the currents of both meet, 5 additions; they are charged once."""
    seen = from_module(network(cell), torch.ones(2, 4), 7).at_rate(0.25)
    known = by_hand("0", "3", 7).at_rate(0.25)
    assert seen == known
    assert CHIP.estimate(seen).metrics() == CHIP.estimate(known).metrics()


def test_neurons_after_a_recurrent_cell():
    """The last neurons, which do not spike, are those of the last layer."""
    seen = from_module(network(norse.LIFRecurrentCell, norse.LICell()), torch.ones(2, 4), 7)
    assert seen.at_rate(0.25) == by_hand("0", "3", 7, neurons_after=3).at_rate(0.25)


class Steps(nn.Module):
    """Runs all time steps itself: one call of each part in each step."""

    def __init__(self, steps):
        super().__init__()
        self.net, self.steps = network(norse.LIFRecurrentCell), steps

    def forward(self, x):
        state, outputs = None, []
        for _ in range(self.steps):
            y, state = self.net(x, state)
            outputs.append(y)
        return torch.stack(outputs).mean(0)


def test_a_module_that_runs_all_time_steps():
    seen = from_module(Steps(7), torch.ones(2, 4), 7)
    names = {layer.name: layer.name.removeprefix("net.") for layer in seen.layers}
    known = by_hand("0", "3", 7)
    assert [names[x.name] for x in seen.layers] == [x.name for x in known.layers]
    assert all(len(layer.rates) == 7 for layer in seen.layers)
    seen, known = seen.at_rate(0.25), known.at_rate(0.25)
    assert CHIP.estimate(seen).metrics() == CHIP.estimate(known).metrics()
    with pytest.raises(WorkloadError, match=r"module 'net.0': it is used 3 times in one pass"):
        from_module(Steps(3), torch.ones(2, 4), 7)


class Sequences(nn.Module):
    """Norse's modules over time: [T, B, ...]."""

    def __init__(self):
        super().__init__()
        self.lin, self.cell = nn.Linear(4, 6), norse.LIFRecurrent(6, 5)
        self.last = nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.cell(self.lin(x))[0])


def test_a_recurrent_module_over_time():
    seen = from_module(Sequences(), torch.ones(7, 1, 4), 7)
    loop = ("cell.input_weights", "cell.recurrent_weights")
    assert [(x.name, x.sources, x.feedback) for x in seen.layers] == [
        ("lin", (), ()),
        (loop[0], ("lin",), ()),
        (loop[1], (), loop),
        ("last", loop, ()),
    ]
    assert [x.once for x in seen.layers] == [False] * 4
    assert [x.neurons for x in seen.layers] == [0, 0, 5, 0]


class HandMade(nn.Module):
    """A recurrence of convolutions, spelled out: u is added one step late."""

    def __init__(self, steps):
        super().__init__()
        self.w, self.u = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(2, 2, 1, bias=False)
        self.lif, self.steps = norse.LIFBoxCell(), steps

    def forward(self, x):
        state, late, spikes = None, None, []
        for t in range(self.steps):
            current = self.w(x) if late is None else self.w(x) + late
            z, state = self.lif(current, state)
            late = self.u(z) if t + 1 < self.steps else None
            spikes.append(z)
        return torch.cat(spikes)


def test_a_recurrence_of_convolutions():
    seen = from_module(HandMade(5), torch.rand(2, 1, 6, 6), 5).at_rate(0.5)
    size = {"in_size": 6, "out_size": 6}
    layers = (
        Layer("w", "conv", 1, 2, 3, **size, parameters=20, neurons=0, sources=(), input_bits=8),
        Layer(
            *("u", "conv", 2, 2), **size, parameters=4, neurons=72, sources=(), feedback=("w", "u")
        ),
    )
    known = Workload(layers, 5).at_rate(0.5)
    assert [(x.name, x.sources, x.feedback) for x in seen.layers] == [
        (x.name, x.sources, x.feedback) for x in known.layers
    ]
    costs = CHIP.estimate(seen), CHIP.estimate(known)
    assert costs[0].latency_s.total == costs[1].latency_s.total
    assert sum(x.neurons for x in seen.layers) == 72
    assert sum(x.input_adds for x in seen.layers) == 72


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTMCell, nn.RNNCell])
def test_torch_s_recurrent_layers_are_refused(kind):
    module = nn.Sequential(nn.Linear(4, 4), kind(4, 4))
    with pytest.raises(WorkloadError, match=rf"module '1' .{kind.__name__}.: torch's recurrent"):
        from_module(module, torch.rand(1, 4), 1)


def test_a_cell_with_other_weights_is_refused():
    with pytest.raises(WorkloadError, match="other weights than those of its inputs"):
        from_module(norse.LIFMCRecurrentCell(4, 4), torch.rand(2, 4), 3)


class RLeaky(nn.Module):
    """As in snnTorch: the recurrent weights are a part of the neurons, the states are arguments."""

    def __init__(self, size):
        super().__init__()
        self.recurrent = nn.Linear(size, size, bias=False)

    def forward(self, current, spikes, potential):
        potential = 0.9 * potential + current + self.recurrent(spikes)
        spikes = (potential > 1).float()
        return spikes, potential - spikes


class Leaky(nn.Module):
    """Runs `steps` time steps of a network with recurrent weights of its own."""

    def __init__(self, steps):
        super().__init__()
        self.a, self.rlif, self.b = nn.Linear(4, 6), RLeaky(6), nn.Linear(6, 3)
        self.steps = steps

    def forward(self, x):
        spikes = potential = torch.zeros(len(x), 6)
        outputs = []
        for _ in range(self.steps):
            spikes, potential = self.rlif(self.a(x), spikes, potential)
            outputs.append(self.b(spikes))
        return torch.stack(outputs).sum(0)


def test_recurrent_weights_of_other_libraries():
    """In a module that runs all time steps they are a loop; in one time step they are refused."""
    seen = from_module(Leaky(6), torch.ones(2, 4), 6)
    loop = ("a", "rlif.recurrent")
    assert [(x.name, x.sources, x.feedback) for x in seen.layers] == [
        ("a", (), ()),
        (loop[1], (), loop),
        ("b", loop, ()),
    ]
    assert [(x.neurons, x.input_adds) for x in seen.layers] == [(0, 0), (6, 6), (0, 0)]
    with pytest.raises(WorkloadError, match=r"modules \['rlif.recurrent'\]: what they read does"):
        from_module(Leaky(1), torch.ones(2, 4), 6)


class Unreached(nn.Module):
    """Neurons that read only themselves beside a layer that reads the example, or alone."""

    def __init__(self, cell, beside):
        super().__init__()
        self.a, self.cell = nn.Linear(4, 5) if beside else None, cell

    def forward(self, x):
        z, outputs = torch.zeros(len(x), 5), []
        for _ in range(4):
            z = self.cell(z)
            z = z[0] if isinstance(z, tuple) else (z > 1).float()
            outputs.append(z if self.a is None else z + self.a(x))
        return torch.stack(outputs)


@pytest.mark.parametrize(
    ("cell", "beside", "message"),
    [
        (nn.Linear(5, 5), True, r"modules \['cell'\]: what they read does not depend"),
        (nn.Linear(5, 5), False, r"modules \['cell'\]: what they read does not depend"),
        (norse.LIFRecurrentCell(5, 5), True, "module 'cell': its input does not depend on the ex"),
    ],
)
def test_a_recurrence_that_no_input_reaches_is_refused(cell, beside, message):
    """Alone it was called a module without weights."""
    with pytest.raises(WorkloadError, match=message):
        from_module(Unreached(cell, beside), torch.ones(2, 4), 4)


class Averaged(Steps):
    """Averages its outputs over the time steps before the last layer."""

    def __init__(self, steps):
        super().__init__(steps)
        self.last = nn.Linear(3, 2)

    def forward(self, x):
        return self.last(super().forward(x))


def test_a_layer_after_the_time_steps_is_costed_in_each(caplog):
    layers = from_module(Averaged(7), torch.ones(2, 4), 7).layers
    assert (layers[-1].once, layers[-1].sources) == (False, ("net.4",))
    assert "layer 'last' is multiplied after the time steps" in caplog.text


class Constant(nn.Module):
    """Direct coding: an image through two layers, whose currents are repeated."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 6), nn.Linear(6, 5), nn.Linear(5, 2)
        self.lif = norse.LIFBoxCell()

    def forward(self, x):
        current, state, outputs = self.b(self.a(x)), None, []
        for _ in range(7):
            spikes, state = self.lif(current, state)
            outputs.append(self.c(spikes))
        return torch.stack(outputs)


def test_layers_before_the_time_steps_are_multiplied_once():
    layers = from_module(Constant(), torch.rand(2, 4), 7).layers
    assert [x.once for x in layers] == [True, True, False]
