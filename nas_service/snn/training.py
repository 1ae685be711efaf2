"""Training and scoring of spiking networks. B batch, C channels, H W pixels."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from nas_service.snn.neurons import LIF

SCORING_BATCH = 256


class Diverged(Exception):
    """The loss is no number any more. `evaluate` closes the candidate as diverged."""


@dataclass(frozen=True)
class Recipe:
    """AdamW under a one-cycle schedule."""

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float
    warm_up: float  # share of the steps in which the learning rate rises


@dataclass(frozen=True)
class Epoch:
    number: int
    loss: float  # mean over the epoch's batches


def fit(
    network: nn.Module,
    images: Tensor,
    labels: Tensor,
    recipe: Recipe,
    seed: int,
    pause: Callable[[], None] = lambda: None,
) -> Iterator[Epoch]:
    """Trains on images [N, C, H, W], labels [N]; yields after each epoch; raises Diverged.

    `pause` is called before every batch, so that a caller can end a training by raising.
    """
    shuffle = torch.Generator().manual_seed(seed)
    steps = max(1, len(images) // recipe.batch_size)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=recipe.learning_rate, weight_decay=recipe.weight_decay
    )
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=recipe.learning_rate,
        total_steps=steps * recipe.epochs,
        pct_start=recipe.warm_up,
    )
    for number in range(1, recipe.epochs + 1):
        network.train()
        order = torch.randperm(len(images), generator=shuffle)
        total = 0.0
        for batch in order[: steps * recipe.batch_size].chunk(steps):
            pause()
            loss = nn.functional.cross_entropy(network(images[batch]), labels[batch])
            if not math.isfinite(value := loss.item()):
                raise Diverged(f"loss {value} in epoch {number}")
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += value
        _demand_finite(network, number)
        yield Epoch(number, total / steps)


def _demand_finite(network: nn.Module, epoch: int) -> None:
    """Neurons hide what is no number: it never reaches a threshold, so the loss stays finite."""
    for name, tensor in network.state_dict().items():
        if not torch.isfinite(tensor).all():
            raise Diverged(f"{name} is not finite after epoch {epoch}")


@torch.inference_mode()
def accuracy(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of images [N, C, H, W] whose highest class score is their label."""
    network.eval()
    batches = zip(images.split(SCORING_BATCH), labels.split(SCORING_BATCH), strict=True)
    right = 0
    for x, y in batches:
        scores = network(x)
        if not torch.isfinite(scores).all():
            raise Diverged("class scores are not finite")
        right += int((scores.argmax(1) == y).sum())
    return right / len(images)


@torch.inference_mode()
def firing_rate(network: nn.Module, images: Tensor) -> float:
    """Share of neurons that fire in a time step, over all layers of neurons."""
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
