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
from nas_service.export.safetensors_format import read_network
from nas_service.export.trained_network import Inputs
from nas_service.snn.deployed import deployed
from nas_service.snn.network import Network
from nas_service.spaces.task import Task

LARGEST = 2**16 - 1  # pixel or count of events


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a network says about B images."""

    classes: NDArray[np.int64]  # [B]: numbers of the classes with the largest scores
    scores: NDArray[np.float32]  # [B, classes]
    names: tuple[str, ...]  # of these classes, by image


@dataclass(frozen=True, eq=False)
class LoadedNetwork:
    """A trained network that was exported as safetensors."""

    network: Network = field(repr=False)  # PyTorch, as it was trained, in evaluation mode
    inputs: Inputs
    document: dict[str, Any] = field(repr=False)  # architecture, metrics, study, versions, ...

    @cached_property
    def deployed(self) -> Network:
        """The network in integers, as a chip holds it."""
        return deployed(self.network)

    def predict(self, images: Any) -> Prediction:
        """Classifies raw images as the data set has them: whole numbers, not scaled.

        Args:
            images: Array or tensor of whole numbers [B, H, W, C], [B, C, H, W], or [B, H, W] for
                one channel; recordings of events [B, T, C, H, W].

        Returns:
            Classes, scores and names.

        Raises:
            DataError: The images have another shape, or are no whole numbers.
        """
        pixels = as_pixels(images, self.inputs.task, self.network.time_steps)
        with torch.no_grad():
            scores = self.deployed(self.inputs.scaled(pixels))
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
        task: The shape of one image.
        time_steps: Frames of a recording.

    Returns:
        [B, C, H, W], or [B, T, C, H, W] of events.

    Raises:
        DataError: The images have another shape, or are no whole numbers of 0 to LARGEST.
    """
    array = _array(images)
    if array.dtype.kind not in "iu":
        raise DataError(
            f"images are {array.dtype}: whole numbers are needed, as files of images have them "
            "(uint8, not scaled)"
        )
    if array.size and not 0 <= array.min() <= array.max() <= LARGEST:
        raise DataError(
            f"images of values {array.min()} to {array.max()}: pixels or counts of 0 to {LARGEST} "
            "are needed"
        )
    if task.events:
        return _demanded(array, (time_steps, task.channels, task.size, task.size))
    first, last = (task.channels, task.size, task.size), (task.size, task.size, task.channels)
    if array.shape[1:] == last and first != last:
        array = np.moveaxis(array, -1, 1)
    if array.shape[1:] == first[1:] and task.channels == 1:
        array = array[:, None]
    return _demanded(array, first)


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


def _demanded(array: NDArray[Any], shape: tuple[int, ...]) -> Tensor:
    if array.shape[1:] != shape or array.ndim != len(shape) + 1:
        raise DataError(
            f"images of shape {list(array.shape)}: [B, {', '.join(map(str, shape))}] is needed"
        )
    return torch.from_numpy(np.ascontiguousarray(array).astype(np.int32))
