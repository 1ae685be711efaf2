"""Training and scoring of spiking networks. B batch, C channels, H W pixels."""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from nas_service.data.batches import Examples
from nas_service.snn import checkpoint
from nas_service.snn.augmentation import AS_IS, Augmentation
from nas_service.snn.neurons import LIF
from nas_service.snn.precision import autocast
from nas_service.snn.quantization import network_parameters, steps_of

SCORING_BATCH = 256
RECALIBRATION_BATCHES = 8
CPU = torch.device("cpu")
Net = TypeVar("Net", bound=nn.Module)


class Diverged(Exception):
    """The loss is no number any more. `evaluate` closes the candidate as diverged."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained, and for how long at most."""

    epochs: int  # of the whole schedule; a training may end before
    batch_size: int
    learning_rate: float
    weight_decay: float
    optimizer: Literal["adamw", "sgd"] = "adamw"
    schedule: Literal["onecycle", "cosine"] = "onecycle"
    warm_up: float = 0.2  # of onecycle: share of the steps in which the learning rate rises
    momentum: float = 0.9  # of sgd
    clip: float | None = None  # largest norm of the gradient
    precision: Literal["fp32", "bf16"] = "fp32"
    augmentation: Augmentation = AS_IS

    def optimizer_of(self, network: nn.Module) -> torch.optim.Optimizer:
        """For all parameters; learned steps of grids do not decay."""
        groups: list[dict[str, Any]] = [{"params": list(network_parameters(network))}]
        if steps := list(steps_of(network)):
            groups.append({"params": steps, "weight_decay": 0.0})
        rate, decay = self.learning_rate, self.weight_decay
        if self.optimizer == "sgd":
            return torch.optim.SGD(groups, lr=rate, weight_decay=decay, momentum=self.momentum)
        return torch.optim.AdamW(groups, lr=rate, weight_decay=decay)

    def schedule_of(
        self, optimizer: torch.optim.Optimizer, steps: int, done: int
    ) -> torch.optim.lr_scheduler.LRScheduler:
        """The learning rate over `steps`, of which some are done.

        `cosine` falls to 1 % (SNASNet); `onecycle` rises first and ends at 1 / 250 000 of the top.
        """
        if done:  # a schedule that begins behind its first step asks for what the first one set
            self.schedule_of(optimizer, steps, 0)
        if self.schedule == "cosine":
            return torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: cosine(step / steps), last_epoch=done - 1
            )
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, steps, pct_start=self.warm_up, last_epoch=done - 1
        )


FINAL_SHARE = 0.01  # of the learning rate that `cosine` leaves


def cosine(done: float) -> float:
    """Share of the learning rate at a share of the steps, 0..1."""
    return FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Epoch:
    number: int
    loss: float  # mean over the epoch's batches


def batches(
    images: Examples, order: Tensor, steps: int, device: torch.device = CPU
) -> Iterator[tuple[Tensor, Tensor]]:
    """Raw pixels and labels of `steps` equal batches, on the device."""
    labels = images.labels
    for index in order.chunk(steps):
        yield images.pixels(index).to(device), labels[index].to(device)


def fit(
    network: nn.Module,
    images: Examples,
    recipe: Recipe,
    seed: int,
    *,
    until: int | None = None,
    check_interrupt: Callable[[], None] = lambda: None,
    saved: checkpoint.Place | None = None,
    device: torch.device = CPU,
) -> Iterator[Epoch]:
    """Trains for the recipe's epochs, or `until` one of them; yields after each; raises Diverged.

    `check_interrupt` is called before every batch and may raise to end the training. With `saved`,
    every epoch is kept there once its receiver is done with it, and a training that was ended
    continues after its last one: the same weights come out as without a break.
    """
    die = torch.Generator().manual_seed(seed)
    steps = max(1, len(images.labels) // recipe.batch_size)
    optimizer = recipe.optimizer_of(network)
    last = recipe.epochs if until is None else until
    done = saved.resume(network, optimizer, die, last) if saved else 0
    schedule = recipe.schedule_of(optimizer, steps * recipe.epochs, steps * done)
    for number in range(done + 1, last + 1):
        network.train()
        order = torch.randperm(len(images.labels), generator=die)[: steps * recipe.batch_size]
        total = 0.0
        for pixels, labels in batches(images, order, steps, device):
            check_interrupt()
            x = images.scaled(recipe.augmentation(pixels, die))
            total += _step(network, x, labels, optimizer, recipe, number)
            schedule.step()
        _demand_finite(network, number)
        yield Epoch(number, total / steps)
        if saved:
            saved.keep(network, optimizer, die, number)


def _step(
    network: nn.Module,
    x: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    epoch: int,
) -> float:
    """One step downhill; returns the loss before it."""
    with autocast(recipe.precision == "bf16", x.device.type):
        scores = network(x)
    loss = nn.functional.cross_entropy(scores.float(), labels)
    if not math.isfinite(value := loss.item()):
        raise Diverged(f"loss {value} in epoch {epoch}")
    optimizer.zero_grad()
    loss.backward()
    if recipe.clip is not None:
        nn.utils.clip_grad_norm_(network.parameters(), recipe.clip)
    optimizer.step()
    return value


def _demand_finite(network: nn.Module, epoch: int) -> None:
    """Neurons hide what is no number: it never reaches a threshold, so the loss stays finite."""
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise Diverged(f"{name} is not finite after epoch {epoch}")


@torch.no_grad()
def recalibrate(
    network: nn.Module, images: Examples, batch_size: int, device: torch.device = CPU
) -> None:
    """Batch norms' statistics anew, as means over the first images: running ones lag behind.

    After few epochs the running mean of a batch norm is that of weights long gone, and the
    network may be silent where it fired in training.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    kept = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all calls: of a norm in each time step, over these too
    network.train()
    count = max(1, min(RECALIBRATION_BATCHES, len(images.labels) // batch_size))
    order = torch.arange(min(len(images.labels), count * batch_size))
    try:
        for pixels, _ in batches(images, order, count, device):
            network(images.scaled(pixels))
    finally:
        for norm, momentum in zip(norms, kept, strict=True):
            norm.momentum = momentum


def recalibrated(
    network: Net, images: Examples, batch_size: int, device: torch.device = CPU
) -> Net:
    """A copy for scoring in the midst of a training, which stays as it is, and so do all dice."""
    copied = copy.deepcopy(network)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        recalibrate(copied, images, batch_size, device)
    return copied


@torch.inference_mode()
def accuracy(network: nn.Module, images: Examples, device: torch.device = CPU) -> float:
    """Share of images whose highest class score is their label; raises Diverged."""
    network.eval()
    right = 0
    count = -(-len(images.labels) // SCORING_BATCH)
    with parametrize.cached():  # weights are rounded once
        for pixels, labels in batches(images, torch.arange(len(images.labels)), count, device):
            scores = network(images.scaled(pixels))
            if not torch.isfinite(scores).all():
                raise Diverged("class scores are not finite")
            right += int((scores.argmax(1) == labels).sum())
    return right / len(images.labels)


@torch.inference_mode()
def firing_rate(network: nn.Module, images: Tensor) -> float:
    """Share of neurons that fire in a time step, over all layers of neurons; images [N, ...]."""
    fired, possible = 0.0, 0

    def count(_: nn.Module, __: object, spikes: Tensor) -> None:
        nonlocal fired, possible
        fired += float(spikes.sum(dtype=torch.float64))
        possible += spikes.numel()

    hooks = [m.register_forward_hook(count) for m in network.modules() if isinstance(m, LIF)]
    try:
        network.eval()(images)
    finally:
        for hook in hooks:
            hook.remove()
    return fired / possible
