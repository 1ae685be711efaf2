"""Sums in a module: updates of neurons cost nothing of their own, sums of spikes do."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from hw_models import load_profile
from nas_service.importers.torch_module import from_module


class Fire(nn.Module):
    """A threshold as a part of its own, such as a surrogate function."""

    def forward(self, x):
        return (x > 1).float()


class Loop(nn.Module):
    """Two convolutions, with neurons between them that the module updates itself.

    Args:
        steps: Time steps that it runs.
        fire: The threshold.
        read: What the second convolution reads of the spikes.
    """

    def __init__(self, steps, fire, read):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 4, 3)
        self.steps, self.fire, self.read = steps, fire, read

    def forward(self, x):
        potential = scores = 0
        for _ in range(self.steps):
            potential = 0.5 * potential + self.a(x)
            spikes = self.fire(potential)
            potential = potential - spikes
            scores = scores + self.b(self.read(spikes))
        return scores


def pooled_and_not(x):
    return functional.avg_pool2d(x, 3, 1, 1) + x


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("fire", [Fire(), lambda x: (x > 1).float()], ids=["part", "inline"])
@pytest.mark.parametrize(
    ("read", "adds", "bits"),
    [
        (lambda x: x, 0, 1),
        (pooled_and_not, 8 * 256 * (9 - 1) + 8 * 256, 5),  # 9 of a window, and 9 times a spike
        (lambda x: torch.cat([functional.avg_pool2d(x, 3, 1, 1)[:, :4], x[:, :4]], 1), 16384, 4),
    ],
    ids=["spikes", "sum", "cat"],
)
def test_sums_of_spikes_are_charged_and_updates_are_not(steps, fire, read, adds, bits):
    """A threshold that is a part of its own once made a feedback loop of its leak."""
    first, second = from_module(Loop(steps, fire, read), torch.ones(1, 2, 16, 16), steps).layers
    assert (first.neurons, first.input_adds, first.feedback) == (2048, 0, ())
    assert (second.sources, second.feedback) == (("a",), ())
    assert (second.input_adds, second.input_bits) == (adds, bits)


class Neurons(nn.Module):
    """Keep their potential themselves."""

    def __init__(self):
        super().__init__()
        self.potential = None

    def forward(self, x):
        self.potential = x if self.potential is None else 0.5 * self.potential + x
        spikes = (self.potential > 1).float()
        self.potential = self.potential - spikes
        return spikes


class CurrentsMeet(Loop):
    """The currents are summed with their own means, before neurons that keep their potential."""

    def forward(self, x):
        spikes = [self.fire(pooled_and_not(self.a(x))) for _ in range(self.steps)]
        return sum(self.b(self.read(y)) for y in spikes)


@pytest.mark.parametrize("steps", [1, 4])
def test_sums_of_currents_are_charged_in_every_time_step(steps):
    module = CurrentsMeet(steps, Neurons(), lambda x: x)
    layers = from_module(module, torch.ones(1, 2, 16, 16), steps).layers
    assert [x.input_adds for x in layers] == [0, 8 * 256 * 9]
    assert [x.feedback for x in layers] == [(), ()]


@pytest.mark.parametrize("part", [lambda x: x[:, :, ::2, ::2], lambda x: x[:, :, 4:12, :8]])
def test_a_part_of_a_map_is_no_pooling(part):
    """The warning that a pooling costs nothing was not true."""
    workload = from_module(Loop(1, Fire(), part), torch.ones(1, 2, 16, 16), 1)
    assert [x.rearranged for x in workload.layers] == [False, True]
    assert load_profile("corrected").estimate(workload).warnings == ()


class Delayed(nn.Module):
    """Spikes, and the pooled spikes of the time step before, are added before the last layer."""

    def __init__(self, steps):
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 8, 3, padding=1), nn.Conv2d(8, 4, 3)
        self.first, self.second, self.steps = Neurons(), Neurons(), steps

    def forward(self, x):
        late, outputs = None, []
        for _ in range(self.steps):
            spikes = self.first(self.a(x))
            node = spikes if late is None else spikes + late
            outputs.append(self.b(self.second(node)))
            late = functional.avg_pool2d(spikes, 3, 1, 1)
        return torch.stack(outputs)


def test_what_is_read_one_step_late_is_added_and_read():
    """The sum was taken for an update of the second neurons, which keep their own potential."""
    first, second = from_module(Delayed(4), torch.ones(1, 2, 16, 16), 4).layers
    assert (second.sources, second.feedback) == (("a",), ("a",))
    assert first.input_adds + second.input_adds == 8 * 256 * (9 - 1) + 8 * 256


def limited_by_choice(x):
    """As quantizers limit values that torch does not compute gradients of."""
    x = torch.where(x > 6, torch.tensor(6.0), x)
    return torch.where(x < 0, torch.tensor(0.0), x).round()


@pytest.mark.parametrize(
    ("limit", "neurons"),
    [
        (limited_by_choice, None),
        (lambda x: x.masked_fill(x > 6, 6), None),
        (lambda x: torch.where(x > 6, x, torch.tensor(0.0)).clamp(0, 6), None),
        (lambda x: torch.where(x > 6, torch.tensor(1.0), torch.tensor(0.0)), 2048),
        (lambda x: (x > 6).float(), 2048),
        (lambda x: x > 6, 2048),
    ],
)
def test_limits_are_no_neurons(limit, neurons):
    """Each comparison of a quantizer with its limits was counted as neurons."""
    module = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1))
    module.register_forward_hook(lambda _, __, out: limit(out))
    (layer,) = from_module(module, torch.ones(1, 2, 16, 16), 1).layers
    assert layer.neurons == neurons


class Reset(nn.Module):
    """The mask of the spikes resets the potential first."""

    def forward(self, x):
        mask = x > 1
        rest = torch.where(mask, torch.zeros_like(x), x)
        return mask.float() + 0 * rest


def test_a_reset_by_choice_is_that_of_neurons():
    module = nn.Sequential(nn.Conv2d(2, 8, 3, padding=1), Reset(), nn.Conv2d(8, 1, 1))
    layers = from_module(module, torch.ones(1, 2, 16, 16), 1).layers
    assert [x.neurons for x in layers] == [2048, 0]


class Currents(nn.Module):
    """Neurons of which the module itself adds the currents and the potential."""

    def __init__(self, steps, update):
        super().__init__()
        self.a, self.r, self.s = nn.Linear(4, 10), nn.Linear(10, 10), nn.Linear(10, 10)
        self.b, self.steps, self.update = nn.Linear(10, 3), steps, update

    def forward(self, x):
        v = z = torch.zeros(len(x), 10)
        outputs = []
        for _ in range(self.steps):
            v = self.update(self, v, x, z)
            z = (v > 1).float()
            v = v - z
            outputs.append(self.b(z))
        return torch.stack(outputs).sum(0)


def through_a_skip(m, v, x, z):
    current = m.a(x)
    return v * 0.9 + current + m.r(z) + m.s(current.relu())


def in_place(m, v, x, z):
    v = v * 0.9
    v += m.a(x)
    v += m.r(z) + m.s(z)
    return v


@pytest.mark.parametrize("steps", [2, 3, 5])
@pytest.mark.parametrize(
    "update",
    [
        lambda m, v, x, z: v * 0.9 + m.a(x) + m.r(z) + m.s(z),
        lambda m, v, x, z: m.r(z) + m.a(x) + m.s(z) + v * 0.9,
        lambda m, v, x, z: v * 0.9 + m.r(z) + m.a(x) + m.s(z),
        lambda m, v, x, z: v + (m.a(x) + m.r(z) + m.s(z) - v) * 0.1,
        lambda m, v, x, z: torch.lerp(v, m.a(x) + m.r(z) + m.s(z), 0.1),
        through_a_skip,
        in_place,
    ],
)
def test_currents_meet_once_in_a_time_step(steps, update):
    """The leak was charged as a further sum of currents."""
    seen = from_module(Currents(steps, update), torch.ones(2, 4), steps).layers
    assert sum(x.neurons for x in seen) == 10
    assert sum(x.input_adds for x in seen) == 10 * 2


@pytest.mark.parametrize("steps", [1, 4])
def test_an_image_meets_the_currents(steps):
    """A connection around the first layer is a current of its own."""

    class Around(Loop):
        def forward(self, x):
            potential, scores = 0, []
            for _ in range(self.steps):
                potential = 0.5 * potential + self.a(x) + x.repeat(1, 4, 1, 1)
                spikes = self.fire(potential)
                potential = potential - spikes
                scores.append(self.b(spikes))
            return sum(scores)

    module = Around(steps, lambda x: (x > 1).float(), None)
    layers = from_module(module, torch.ones(1, 2, 16, 16), steps).layers
    assert sum(x.input_adds for x in layers) == 8 * 256
