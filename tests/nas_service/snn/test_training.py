"""Training: the same from the same seed, ended when it diverges, stored without loss."""

import logging
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from nas_service.data.batches import ImageTensors
from nas_service.errors import DataError
from nas_service.snn import precision
from nas_service.snn.checkpoint import load_weights, save_weights
from nas_service.snn.network import Network
from nas_service.snn.quantization import Rounding, steps_of
from nas_service.snn.training import Diverged, Recipe, accuracy, firing_rate, fit, recalibrate
from nas_service.spaces.architecture import Architecture
from nas_service.spaces.cell import Cell
from nas_service.spaces.task import Task

A = Architecture((Cell(("skip", "zeroize", "conv1x1", "skip", "skip", "skip")),), 4, 2, 16, 2, 8)
TASK = Task(1, 8, 4)
RECIPE = Recipe(epochs=2, batch_size=16, learning_rate=0.02, weight_decay=0.0, warm_up=0.3)


def stripes(n=64):
    """Noise with one bright pair of rows; which pair is the label. Any network can learn it."""
    torch_random = torch.Generator().manual_seed(0)
    labels = torch.arange(n) % 4
    images = 0.3 * torch.randn(n, 1, 8, 8, generator=torch_random)
    for i, label in enumerate(labels.tolist()):
        images[i, 0, 2 * label : 2 * label + 2] += 2
    return images, labels


def network(seed=0, architecture=A, **kind):
    torch.manual_seed(seed)
    return Network(architecture, TASK, **kind)


def trained(seed, recipe=RECIPE):
    model = network()
    losses = [epoch.loss for epoch in fit(model, ImageTensors(*stripes()), recipe, seed)]
    return model, losses


def test_equal_seeds_train_equal_networks():
    (one, losses), (two, again), (_, others) = trained(1), trained(1), trained(2)
    assert losses == again
    assert losses != others
    states = one.state_dict(), two.state_dict()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_training_lowers_the_loss():
    model, losses = trained(1, replace(RECIPE, epochs=8))
    assert len(losses) == 8
    assert losses[-1] < 0.7 * losses[0]
    assert accuracy(model, ImageTensors(*stripes())) > 0.5
    assert 0.01 < firing_rate(model, stripes()[0]) < 0.9


def test_epochs_are_numbered_from_one():
    assert [e.number for e in fit(network(), ImageTensors(*stripes()), RECIPE, 0)] == [1, 2]


def test_interrupts_are_checked_before_every_batch():
    """64 images in batches of 16, two epochs: eight calls."""
    calls = []
    list(
        fit(network(), ImageTensors(*stripes()), RECIPE, 0, check_interrupt=lambda: calls.append(1))
    )
    assert len(calls) == 8

    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        next(fit(network(), ImageTensors(*stripes()), RECIPE, 0, check_interrupt=stop))


class Line(nn.Module):
    """Scores w x: a network whose losses grow without bound when its steps are too long."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(64, 4))

    def forward(self, images):
        return images.flatten(1) @ self.weight.cumprod(0)


def test_absurd_learning_rate_diverges():
    with pytest.raises(Diverged):
        list(fit(Line(), ImageTensors(*stripes()), replace(RECIPE, learning_rate=1e9), 0))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_pixels_that_are_no_numbers_diverge(bad):
    images, labels = stripes()
    images[3, 0, 0, 0] = bad
    with pytest.raises(Diverged):
        list(fit(network(), ImageTensors(images, labels), RECIPE, 0))


def test_scores_that_are_no_numbers_are_not_scored():
    model = network()
    with torch.no_grad():
        model.readout[1].bias[0] = math.nan
    with pytest.raises(Diverged, match="class scores"):
        accuracy(model, ImageTensors(*stripes()))


class Fixed(nn.Module):
    """Says class 2 to everything."""

    def forward(self, images):
        return torch.eye(4)[2].expand(len(images), 4)


@pytest.mark.parametrize("n", [4, 256, 600])
def test_accuracy_of_a_fixed_answer(n):
    """One label in four is a 2, whatever the size of the batches."""
    assert accuracy(Fixed(), ImageTensors(*stripes(n))) == 0.25


def test_stored_weights_are_restored(tmp_path):
    model, _ = trained(1)
    other = network(seed=9).eval()
    images, _ = stripes()
    assert not torch.equal(other(images), model.eval()(images))
    save_weights(model, tmp_path / "a" / "w.safetensors")
    load_weights(other, tmp_path / "a" / "w.safetensors")
    assert torch.equal(other(images), model(images))
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["w.safetensors"]


@pytest.mark.parametrize("damage", ["short", "empty", "foreign", "text", "missing"])
def test_damaged_weights_are_named(tmp_path, damage):
    path = tmp_path / "w.safetensors"
    foreign = Network(replace(A, channels=6), TASK)
    save_weights(foreign if damage == "foreign" else network(), path)
    if damage == "short":
        path.write_bytes(path.read_bytes()[:-8])
    elif damage in ("empty", "text"):
        path.write_bytes(b"" if damage == "empty" else b"weights" * 20)
    elif damage == "missing":
        path.unlink()
    with pytest.raises(DataError, match=r"w\.safetensors: not the weights"):
        load_weights(network(), path)


SGD = Recipe(4, 16, 0.1, 5e-4, "sgd", "cosine")


def rates_of(recipe, steps):
    """Learning rate and momentum, or first beta, in each step."""
    optimizer = recipe.optimizer_of(nn.Linear(1, 1))
    schedule, result = recipe.schedule_of(optimizer, steps, 0), []
    for _ in range(steps):
        (group,) = optimizer.param_groups
        result.append((group["lr"], group.get("momentum", group.get("betas", (None,))[0])))
        optimizer.step()
        schedule.step()
    return [*zip(*result, strict=True), optimizer.param_groups[0]["lr"]]


def test_cosine_falls_to_a_hundredth():
    """SNASNet's: 0.1 at first, half way the mean of 0.1 and 0.001, 0.001 after the last step."""
    rates, momenta, last = rates_of(SGD, 8)
    assert rates[0] == 0.1
    assert rates[2] == pytest.approx(0.001 + 0.099 * (1 + math.sqrt(0.5)) / 2)
    assert rates[4] == pytest.approx((0.1 + 0.001) / 2)
    assert last == pytest.approx(0.001)
    assert set(momenta) == {0.9}
    assert SGD.optimizer_of(nn.Linear(1, 1)).defaults["weight_decay"] == 5e-4


def test_onecycle_rises_and_falls():
    """The third of 11 steps, at 0.2 * 11 - 1 = 1.2, is after the maximum 0.02; first 0.02 / 25."""
    rates, betas, _ = rates_of(replace(RECIPE, warm_up=0.2), 10)
    assert rates[0] == pytest.approx(0.02 / 25)
    assert rates[1] == pytest.approx(0.02)  # 0.2 * 10 - 1
    assert list(rates[1:]) == sorted(rates[1:], reverse=True)
    assert rates[5] == pytest.approx((0.02 + 0.02 / 25e4) / 2, rel=1e-6)  # half of 1 .. 9
    assert rates[9] == pytest.approx(0.02 / 25e4)
    assert (betas[0], betas[1], betas[9]) == pytest.approx((0.95, 0.85, 0.95))


@pytest.mark.parametrize("recipe", [SGD, RECIPE, replace(SGD, schedule="onecycle")])
@pytest.mark.parametrize("done", [1, 5, 8])
def test_a_schedule_begun_after_its_first_step_is_the_same(recipe, done):
    other = recipe.optimizer_of(nn.Linear(1, 1))
    recipe.schedule_of(other, 8, done)
    rates, momenta, last = rates_of(recipe, 8)
    (group,) = other.param_groups
    assert group["lr"] == [*rates, last][done]
    if done < 8:
        assert group.get("momentum", group.get("betas", (None,))[0]) == momenta[done]


class Watched(torch.optim.SGD):
    """Remembers the norm of the gradient that it steps along."""

    def step(self, closure=None):
        grads = [p.grad.flatten() for group in self.param_groups for p in group["params"]]
        self.norms = [*getattr(self, "norms", []), float(torch.cat(grads).norm())]
        return super().step(closure)


@pytest.mark.parametrize(("clip", "bounded"), [(0.05, True), (1e6, False), (None, False)])
def test_clip_bounds_the_gradient(monkeypatch, clip, bounded):
    monkeypatch.setattr(torch.optim, "SGD", Watched)
    kept = []
    of = Recipe.optimizer_of
    monkeypatch.setattr(Recipe, "optimizer_of", lambda *a: kept.append(of(*a)) or kept[-1])
    list(fit(network(), ImageTensors(*stripes()), replace(SGD, epochs=1, clip=clip), 0))
    (optimizer,) = kept
    assert len(optimizer.norms) == 4
    if bounded:
        assert max(optimizer.norms) <= 0.05 * 1.0001
        assert max(optimizer.norms) > 0.049
    else:
        assert max(optimizer.norms) > 0.1


@pytest.mark.parametrize("recipe", [replace(RECIPE, weight_decay=0.5), SGD])
def test_learned_steps_do_not_decay(recipe):
    model = network(rounding=Rounding(4, step_size="learned"))
    plain, steps = recipe.optimizer_of(model).param_groups
    assert [id(p) for p in steps["params"]] == [id(p) for p in steps_of(model)]
    assert (plain["weight_decay"], steps["weight_decay"]) == (recipe.weight_decay, 0)
    assert len(plain["params"]) + len(steps["params"]) == len(list(model.parameters()))


def test_decay_alone_shrinks_weights_but_no_step():
    """No gradient, one step of SGD at 0.1 with decay 0.5: weights times 0.95."""
    model = network(rounding=Rounding(4, step_size="learned"))
    optimizer = replace(SGD, weight_decay=0.5).optimizer_of(model)
    for p in model.parameters():
        p.grad = torch.zeros_like(p)
    before = [p.detach().clone() for group in optimizer.param_groups for p in group["params"]]
    optimizer.step()
    plain, steps = (group["params"] for group in optimizer.param_groups)
    for b, p in zip(before, plain, strict=False):
        assert torch.allclose(p, 0.95 * b)
    for b, p in zip(before[len(plain) :], steps, strict=True):
        assert torch.equal(p, b)


@pytest.mark.parametrize(
    "kind", [{}, {"dropout": 0.3}, {"rounding": Rounding(4, step_size="learned")}]
)
def test_sgd_is_the_same_from_the_same_seed(kind):
    def weights(seed):
        model = network(**kind)
        list(fit(model, ImageTensors(*stripes()), SGD, seed))
        return model.state_dict()

    one, two, other = weights(1), weights(1), weights(2)
    assert all(torch.equal(one[n], two[n]) for n in one)
    assert any(not torch.equal(one[n], other[n]) for n in one)


def test_bf16_falls_back_with_one_line(monkeypatch, caplog):
    """Where there is no bf16 the very same weights come out as in fp32."""
    monkeypatch.setattr(precision, "native_bf16", lambda kind="cpu": False)
    precision._warn_of_fp32.cache_clear()
    with caplog.at_level(logging.WARNING):
        half, losses = trained(1, replace(RECIPE, precision="bf16"))
    assert caplog.messages == [
        "precision = 'bf16', but this cpu has no bf16 instructions: fp32 is used"
    ]
    full, others = trained(1)
    assert losses == others
    assert all(torch.equal(t, full.state_dict()[n]) for n, t in half.state_dict().items())


LEARNED = {"rounding": Rounding(4, step_size="learned")}


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("recipe", "kind"), [(SGD, {}), (replace(SGD, precision="bf16"), {}), (RECIPE, LEARNED)]
)
def test_every_training_diverges_on_nan(recipe, kind, bad):
    images, labels = stripes()
    images[3, 0, 0, 0] = bad
    with pytest.raises(Diverged):
        list(fit(network(**kind), ImageTensors(images, labels), recipe, 0))


@pytest.mark.parametrize("kind", [{}, LEARNED])
def test_absurd_steps_of_sgd_diverge(kind):
    with pytest.raises(Diverged):
        list(fit(network(**kind), ImageTensors(*stripes()), replace(SGD, learning_rate=1e38), 0))


def norms(model):
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


BACKWARD = replace(A, cells=(Cell(("conv3x3", "skip", "skip", "back:skip", "skip", "conv1x1")),))
STYLES = {
    "folded": {},
    "step": {"norm_each_step": True},
    "backward": {"architecture": replace(BACKWARD, time_steps=4)},
}


@pytest.mark.parametrize("style", STYLES)
def test_recalibrated_statistics_are_means_over_the_batches(style):
    """Three batches of 16; a norm that runs in every time step is the mean over these as well."""
    model, images = network(**STYLES[style]), ImageTensors(*stripes(50))
    calls = {norm: [] for norm in norms(model)}

    def watch(norm, inputs, _):
        parts = [inputs[0].double()]
        if style == "step" and hasattr(norm, "time_steps"):
            parts = inputs[0].double().chunk(A.time_steps)
        calls[norm] += [(x.mean((0, 2, 3)), x.transpose(0, 1).flatten(1).var(1)) for x in parts]

    hooks = [norm.register_forward_hook(watch) for norm in norms(model)]
    momenta = [norm.momentum for norm in norms(model)]
    recalibrate(model, images, 16)
    assert [norm.momentum for norm in norms(model)] == momenta
    counts = {len(calls[norm]) for norm in norms(model)}
    assert counts == {"folded": {3}, "step": {3, 6}, "backward": {3, 12}}[style]
    for norm in norms(model):
        means, variances = (
            torch.stack(part).mean(0).float() for part in zip(*calls[norm], strict=True)
        )
        assert torch.allclose(norm.running_mean, means, rtol=1e-4, atol=1e-5)
        assert torch.allclose(norm.running_var, variances, rtol=1e-4, atol=1e-5)
    for hook in hooks:
        hook.remove()


def test_momentum_is_restored_after_an_error():
    model = network()
    with pytest.raises(RuntimeError):
        recalibrate(model, ImageTensors(torch.zeros(32, 5, 8, 8), torch.zeros(32).long()), 16)
    assert {norm.momentum for norm in norms(model)} == {0.3}


def test_a_silent_network_fires_when_it_is_recalibrated():
    """Statistics of other weights, far from those of these."""
    model, images = network(), ImageTensors(*stripes())
    for norm in norms(model):
        norm.running_mean.fill_(9.0)
    assert firing_rate(model, images.values) == 0
    recalibrate(model, images, 16)
    assert 0.01 < firing_rate(model, images.values) < 0.9
