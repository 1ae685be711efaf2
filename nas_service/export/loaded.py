"""An exported network in use: raw images in, classes and scores out. B images, C channels."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nas_service.errors import DataError
from nas_service.export.safetensors_format import document_of, read_network
from nas_service.export.trained_network import Inputs, TrainedNetwork
from nas_service.snn.deployed import deployed
from nas_service.snn.network import Network
from nas_service.spaces.task import Task

BATCH = 256  # images that are classified at once


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says about B images."""

    classes: NDArray[np.int64]  # [B]: numbers of the classes with the largest scores
    scores: NDArray[np.float32]  # [B, classes]
    names: tuple[str, ...]  # of these classes, by image


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A trained network: of a study's candidate, or from a file that was exported."""

    network: Network = field(repr=False)  # PyTorch, as it was trained, in evaluation mode
    inputs: Inputs
    document: dict[str, Any] = field(repr=False)  # architecture, metrics, study, versions, ...

    @classmethod
    def of(cls, network: TrainedNetwork) -> "LoadedNetwork":
        """The network of a candidate, as `load` would read it from its exported file."""
        return cls(network.network, network.inputs, document_of(network))

    @cached_property
    def deployed(self) -> Network:
        """The network in integers, as a chip holds it."""
        return deployed(self.network)

    def predict(self, images: Any) -> Prediction:
        """Classifies raw images as the data set has them: whole numbers, not scaled.

        Args:
            images: Array or tensor of whole numbers [B, H, W, C], [B, C, H, W], or [B, H, W] for
                one channel; recordings of events [B, T, C, H, W]. Where H = W = C, and both
                layouts fit, images are [B, C, H, W].

        Returns:
            Classes, scores and names.

        Raises:
            DataError: The images have another shape or values that the data set does not have.
        """
        pixels = as_pixels(images, self.inputs.task, self.network.time_steps)
        with torch.no_grad():
            parts = [self.deployed(self.inputs.scaled(some)) for some in pixels.split(BATCH)]
        scores = torch.cat(parts)
        classes = scores.argmax(1)
        names = tuple(self.inputs.class_names[k] for k in classes.tolist())
        return Prediction(classes.numpy(), scores.numpy(), names)


def load(path: Path) -> LoadedNetwork:
    """See `nas_service.load`."""
    return LoadedNetwork(*read_network(path))


def as_pixels(images: Any, task: Task, time_steps: int) -> Tensor:
    """Raw images in the layout that networks read.

    Args:
        images: See `LoadedNetwork.predict`.
        task: The shape of one image, and its largest value.
        time_steps: Frames of a recording.

    Returns:
        [B, C, H, W], or [B, T, C, H, W] of events.

    Raises:
        DataError: The images have another shape, or are no whole numbers of 0 to `task.largest`.
    """
    array = _array(images)
    _demand_values(array, task)
    layouts = _layouts(task, time_steps)
    shape = array.shape[1:]
    if shape not in layouts:
        raise DataError(_other_shape(array.shape, layouts, task))
    if layouts.index(shape) == 1:  # channels are last
        array = np.moveaxis(array, -1, 1)
    array = array.reshape(len(array), *layouts[0])
    return torch.from_numpy(np.ascontiguousarray(array).astype(np.int32))


def _layouts(task: Task, time_steps: int) -> list[tuple[int, ...]]:
    """The shapes that one sample may have; the first one that fits decides what an axis means."""
    channels, size = task.channels, task.size
    if task.events:
        return [(time_steps, channels, size, size)]
    layouts: list[tuple[int, ...]] = [(channels, size, size), (size, size, channels)]
    return [*layouts, (size, size)] if channels == 1 else layouts


def _other_shape(shape: tuple[int, ...], layouts: list[tuple[int, ...]], task: Task) -> str:
    """What is wrong with the shape of images that has none of the layouts."""
    needed = " or ".join(f"[B, {str(list(layout))[1:]}" for layout in dict.fromkeys(layouts))
    kind = "recordings of events" if task.events else "images"
    if shape in layouts:
        return (
            f"images of shape {list(shape)} are one without a batch: {kind} {needed} are needed, "
            "which images[None] makes of it"
        )
    return f"images of shape {list(shape)}: {kind} {needed} are needed"


def _demand_values(array: NDArray[Any], task: Task) -> None:
    needed = f"whole numbers of 0 to {task.largest} are needed, as the files of the data set have"
    if array.dtype.kind not in "iu":
        raise DataError(f"images are {array.dtype}: {needed} them, not scaled")
    if array.size and not 0 <= array.min() <= array.max() <= task.largest:
        raise DataError(f"images of values {array.min()} to {array.max()}: {needed} them")


def _array(images: Any) -> NDArray[Any]:
    try:
        own = images.detach().cpu().numpy() if isinstance(images, Tensor) else images
        return np.asarray(own)
    except (TypeError, ValueError, RuntimeError) as error:
        kind = f"a {type(images).__name__}"
        if isinstance(images, Tensor):
            kind = f"a tensor of {images.dtype}, {images.layout} on {images.device}"
        reason = str(error).partition("\n")[0]
        raise DataError(
            f"images: {kind}, no array of whole numbers [B, ...] ({reason:.90})"
        ) from None
