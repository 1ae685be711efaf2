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
    """The loss, a weight or a class score is not finite; the candidate's outcome is `diverged`."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained."""

    epochs: int  # of the complete schedule; a training may end before
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
        """The optimizer of a network: group 0 holds its parameters, group 1 its learned steps.

        Learned quantization steps have no weight decay. Checkpoints number parameters in this
        order.
        """
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
        """The schedule of the learning rate.

        `cosine` falls to 1 % (SNASNet); `onecycle` rises first and ends at 1 / 250 000 of its
        maximum.

        Args:
            optimizer: Its learning rate is set.
            steps: Steps of the complete schedule.
            done: Steps that were done before.

        Returns:
            The schedule, to be stepped after every batch.
        """
        if done:  # a schedule that starts later reads what its first step sets in the optimizer
            self.schedule_of(optimizer, steps, 0)
        if self.schedule == "cosine":
            return torch.optim.lr_scheduler.LambdaLR(
                optimizer, lambda step: cosine(step / steps), last_epoch=done - 1
            )
        return torch.optim.lr_scheduler.OneCycleLR(
            optimizer, self.learning_rate, steps, pct_start=self.warm_up, last_epoch=done - 1
        )


FINAL_SHARE = 0.01  # of the learning rate, at the end of `cosine`


def cosine(done: float) -> float:
    """Share of the learning rate, 1 to 0.01, after a share of the steps, 0..1."""
    return FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * done)) / 2


@dataclass(frozen=True)
class Epoch:
    """One pass over the training images."""

    number: int  # from 1
    loss: float  # mean over the epoch's batches


def batches(
    images: Examples, order: Tensor, steps: int, device: torch.device = CPU
) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of images.

    Args:
        images: The images.
        order: Numbers of the images [n], in the order of the batches.
        steps: The number of batches, which are of equal size.
        device: Where the batches are put.

    Yields:
        Raw pixels [B, ...] and labels [B].
    """
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
    saved: checkpoint.CheckpointFile | None = None,
    device: torch.device = CPU,
) -> Iterator[Epoch]:
    """Trains a network, epoch by epoch.

    Args:
        network: Changed in place.
        images: The training images.
        recipe: How it is trained.
        seed: Seed of the order of the images and of their augmentation.
        until: The last epoch, where the training ends before the recipe's schedule.
        check_interrupt: Called before every batch; may raise to end the training.
        saved: The checkpoint, written after every epoch. A training that was interrupted continues
            after the epoch of its checkpoint, with the same result as without the interruption.
        device: Where the network is.

    Yields:
        Each epoch, before its checkpoint is written.

    Raises:
        Diverged: The loss or a weight is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    steps = max(1, len(images.labels) // recipe.batch_size)
    optimizer = recipe.optimizer_of(network)
    last = recipe.epochs if until is None else until
    done = saved.resume(network, optimizer, generator, last) if saved else 0
    schedule = recipe.schedule_of(optimizer, steps * recipe.epochs, steps * done)
    for number in range(done + 1, last + 1):
        network.train()
        order = torch.randperm(len(images.labels), generator=generator)[: steps * recipe.batch_size]
        total = 0.0
        for pixels, labels in batches(images, order, steps, device):
            check_interrupt()
            x = images.scaled(recipe.augmentation(pixels, generator))
            total += _step(network, x, labels, optimizer, recipe, number)
            schedule.step()
        _demand_finite(network, number)
        yield Epoch(number, total / steps)
        if saved:
            saved.save(network, optimizer, generator, number)


def _step(
    network: nn.Module,
    x: Tensor,
    labels: Tensor,
    optimizer: torch.optim.Optimizer,
    recipe: Recipe,
    epoch: int,
) -> float:
    """One step of the optimizer; returns the loss before it."""
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
    """Diverged where a weight is not finite.

    The loss does not show it: a current that is not a number never reaches a threshold.
    """
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise Diverged(f"{name} is not finite after epoch {epoch}")


@torch.no_grad()
def recalibrate(
    network: nn.Module, images: Examples, batch_size: int, device: torch.device = CPU
) -> None:
    """Computes the statistics of all batch norms anew, as means over the first batches.

    After few epochs the running statistics of a batch norm still reflect weights of earlier steps,
    and the network may be silent where it fired in training.

    Args:
        network: Changed in place.
        images: The training images.
        batch_size: Images in a batch.
        device: Where the network is.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    momenta = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the mean over all calls, of a `StepNorm` also over its time steps
    network.train()
    count = max(1, min(RECALIBRATION_BATCHES, len(images.labels) // batch_size))
    order = torch.arange(min(len(images.labels), count * batch_size))
    try:
        for pixels, _ in batches(images, order, count, device):
            network(images.scaled(pixels))
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum


def recalibrated(
    network: Net, images: Examples, batch_size: int, device: torch.device = CPU
) -> Net:
    """A recalibrated copy, to score a network during its training.

    The network and the global random generators keep their state. The arguments are those of
    `recalibrate`.
    """
    copied = copy.deepcopy(network)
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        recalibrate(copied, images, batch_size, device)
    return copied


@torch.inference_mode()
def accuracy(network: nn.Module, images: Examples, device: torch.device = CPU) -> float:
    """Share of images whose highest class score is that of their label, 0..1.

    Args:
        network: Put into evaluation mode.
        images: The images.
        device: Where the network is.

    Returns:
        The share, 0..1.

    Raises:
        Diverged: A class score is not finite.
    """
    network.eval()
    correct = 0
    count = -(-len(images.labels) // SCORING_BATCH)
    with parametrize.cached():  # weights are quantized once for all batches
        for pixels, labels in batches(images, torch.arange(len(images.labels)), count, device):
            scores = network(images.scaled(pixels))
            if not torch.isfinite(scores).all():
                raise Diverged("class scores are not finite")
            correct += int((scores.argmax(1) == labels).sum())
    return correct / len(images.labels)


@torch.inference_mode()
def firing_rate(network: nn.Module, images: Tensor) -> float:
    """Share of neurons that fire in a time step, 0..1, over all layers of neurons.

    Args:
        network: Put into evaluation mode.
        images: Scaled images [N, ...].

    Returns:
        The share, 0..1.
    """
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
