"""Labelled images and their split. N images, T frames, C channels, H W pixels.

Pixels stay bytes and are not copied: a part of a data set is a list of rows of one array, which may
be a file mapped into memory that all processes of a machine share.
"""

import hashlib
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nas_service.data.stratified import Rows, split_by_class
from nas_service.errors import DataError

Pixels = NDArray[np.uint8] | NDArray[np.uint16]
BLOCK_B = 2**24  # of pixels that are hashed at a time


@dataclass(frozen=True, eq=False)
class Stock:
    """All pixels of one part of a data set."""

    pixels: Pixels  # [M, C, H, W], or [M, T, C, H, W] of events
    sums: NDArray[np.int64]  # [M, C, 2]: of each image's values, and of their squares
    digest: str  # of the pixels: SHA-256

    @classmethod
    def of(cls, pixels: Pixels) -> "Stock":
        """The stock of pixels [M, C, H, W] or [M, T, C, H, W]."""
        return cls(pixels, sums_of(pixels), digest_of(pixels))

    @property
    def events(self) -> bool:
        """True for recordings of events."""
        return self.pixels.ndim == 5


@dataclass(frozen=True, eq=False)
class Images:
    """Some rows of a stock with their labels and the scaling of their values.

    `batches.py` makes tensors of them.
    """

    stock: Stock
    rows: NDArray[np.int64]  # [N]: their rows of the stock
    labels: NDArray[np.int64]  # [N]
    mean: NDArray[np.float32] = field(default_factory=lambda: np.zeros(1, np.float32))  # [C]
    deviation: NDArray[np.float32] = field(default_factory=lambda: np.ones(1, np.float32))  # [C]
    notes: tuple[str, ...] = ()  # what was done where files can be read in more than one way
    validation_part: int = 0  # the last images are the validation part of the files

    @classmethod
    def of(cls, stock: Stock, labels: NDArray[np.int64]) -> "Images":
        """All images of a stock, with their labels [M].

        Args:
            stock: The pixels of M images.
            labels: Their classes [M].

        Returns:
            M images, not scaled.
        """
        return cls(stock, np.arange(len(labels)), labels)

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one image: [C, H, W], or [T, C, H, W] of events."""
        return self.stock.pixels.shape[1:]

    def take(self, index: NDArray[np.int64]) -> "Images":
        """The images with these numbers; no pixel is copied."""
        rows, labels = self.rows[index], self.labels[index]
        return replace(self, rows=rows, labels=labels, validation_part=0)

    def scaled(self, mean: ArrayLike, deviation: ArrayLike) -> "Images":
        """The same images with another scaling: (pixels - mean) / deviation by channel.

        Args:
            mean: Of each channel [C], or one number.
            deviation: Of each channel [C], or one number.

        Returns:
            The images, which share the pixels.
        """
        first, second = (np.asarray(x, dtype=np.float32).reshape(-1) for x in (mean, deviation))
        return replace(self, mean=first, deviation=second)

    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean and standard deviation of each channel [C].

        Raises:
            DataError: A channel has one value in all images.
        """
        each = np.prod(self.shape, dtype=np.int64) // self.stock.sums.shape[1]
        mean, square = self.stock.sums[self.rows].sum(0).T / (each * len(self))
        variance = square - mean**2
        if not (variance > 0).all():
            raise DataError(f"channel {int(variance.argmin())} is the same in all images")
        return mean, np.sqrt(variance)

    @property
    def digest(self) -> str:
        """16 hexadecimal digits of the pixels, the rows and the labels."""
        content = hashlib.sha256(self.stock.digest.encode())
        content.update(self.rows.astype("<i8").tobytes())
        content.update(self.labels.astype("<i8").tobytes())
        return content.hexdigest()[:16]


def sums_of(pixels: Pixels) -> NDArray[np.int64]:
    """The sums of the values and of their squares for each image and channel [N, C, 2], exact."""
    axes = (1, 3, 4) if pixels.ndim == 5 else (2, 3)
    squares = np.square(pixels, dtype=np.uint32)
    pair = [pixels.sum(axes, dtype=np.int64), squares.sum(axes, dtype=np.int64)]
    return np.stack(pair, axis=-1)


def digest_of(array: NDArray[Any]) -> str:
    """SHA-256 of shape, type and values; the byte order of the machine does not matter."""
    content = hashlib.sha256(f"{array.shape} {array.dtype.name}".encode())
    rows = max(1, BLOCK_B // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        block = np.ascontiguousarray(array[start : start + rows])
        content.update(block.astype(block.dtype.newbyteorder("<"), copy=False).data)
    return content.hexdigest()


@dataclass(frozen=True, eq=False)
class Split:
    """Training and validation images, scaled alike."""

    train: Images
    validation: Images

    @property
    def mean(self) -> NDArray[np.float32]:
        """The mean of each channel of the training images [C]; 0 for events."""
        return self.train.mean

    @property
    def deviation(self) -> NDArray[np.float32]:
        """The standard deviation of each channel of the training images [C]; 1 for events."""
        return self.train.deviation


def split(images: Images, train_samples: int | None, validation_samples: int, seed: int) -> Split:
    """Splits images into stratified training and validation images without overlap.

    The validation images are the validation part of the files, where they have one. Images are
    scaled to mean 0 and deviation 1 of the training images; counts of events stay counts, so that a
    pixel without events stays 0. Equal labels give equal splits.

    Args:
        images: All images that are no test images.
        train_samples: Number of training images; None for all that are left.
        validation_samples: Number of validation images.
        seed: Seed of the split.

    Returns:
        Training and validation images.

    Raises:
        DataError: There are too few images, or a channel has one value in all of them.
    """
    _demand_validation(images, validation_samples)
    rest = len(images) - validation_samples
    wanted = rest if train_samples is None else train_samples
    if wanted > rest:
        raise DataError(
            f"{wanted} training and {validation_samples} validation images wanted of "
            f"{len(images)}: data.train_samples is at most {rest}"
        )
    rows = _own_parts if images.validation_part else _stratified
    train, held_out = (images.take(part) for part in rows(images, wanted, validation_samples, seed))
    if images.stock.events:
        return Split(train, held_out)
    moments = train.moments()
    return Split(train.scaled(*moments), held_out.scaled(*moments))


def _demand_validation(images: Images, wanted: int) -> None:
    """DataError where this number of validation images is not possible."""
    if (part := images.validation_part) and wanted != part:
        raise DataError(
            f"data.validation_samples = {part} is needed, not {wanted}: the files have a "
            f"validation part of {part} images"
        )
    if wanted < 1:
        raise DataError("data.validation_samples is needed: this data set has no default")
    if wanted >= len(images):
        raise DataError(
            f"data.validation_samples = {wanted}: the data set has {len(images)} images that are "
            "no test images, and some are needed to train with"
        )


def _own_parts(images: Images, wanted: int, held_out: int, seed: int) -> tuple[Rows, Rows]:
    """Training images, or a stratified share of them, and the validation part of the files."""
    train, validation = np.split(np.arange(len(images)), [len(images) - held_out])
    if left := len(train) - wanted:
        train, _ = _stratified(images.take(train), wanted, left, seed)
    return train, validation


def _stratified(images: Images, wanted: int, held_out: int, seed: int) -> tuple[Rows, Rows]:
    _demand_each_class(images.labels, wanted, held_out)
    return split_by_class(images.labels, wanted, held_out, seed)


def _demand_each_class(labels: NDArray[np.int64], wanted: int, held_out: int) -> None:
    """DataError where one of two stratified parts cannot have an image of each class."""
    classes, counts = np.unique(labels, return_counts=True)
    if counts.min() < 2:
        raise DataError(
            f"class {classes[counts.argmin()]} has 1 image that is no test image, at least 2 are "
            "needed: one to train with and one that is held out"
        )
    if min(wanted, held_out) < len(classes):
        raise DataError(
            f"{wanted} training images and {held_out} that are held out: each needs at least one "
            f"image of every class, {len(classes)} or more (data.train_samples, "
            "data.validation_samples)"
        )
