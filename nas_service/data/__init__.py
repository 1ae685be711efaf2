"""Data sets by name. A new one is one file in `sets` and one line in DATASETS."""

from nas_service.data.dataset import Files, Source
from nas_service.data.sets import (
    cifar,
    cifar10_dvs,
    digits,
    dvs_gesture,
    image_folder,
    mnist,
    n_mnist,
    tiny_imagenet,
)
from nas_service.errors import SpecError, pick
from nas_service.study.sections import Data

DATASETS: dict[str, Source] = {
    "digits": digits.SOURCE,
    "mnist": mnist.MNIST,
    "fashion_mnist": mnist.FASHION_MNIST,
    "cifar10": cifar.CIFAR10,
    "cifar100": cifar.CIFAR100,
    "tiny_imagenet_200": tiny_imagenet.SOURCE,
    "n_mnist": n_mnist.SOURCE,
    "dvs128_gesture": dvs_gesture.SOURCE,
    "cifar10_dvs": cifar10_dvs.SOURCE,
}
IMAGE_FOLDER_KEYS = ("size", "classes", "channels", "resize")  # other data sets fix them


def source_of(data: Data) -> Source:
    """The data set of a study.

    Args:
        data: The section `[data]` of the study.

    Returns:
        The data set, as the study's keys describe it.

    Raises:
        SpecError: The data set is unknown, needs another key, or does not have a given one.
    """
    if data.name == image_folder.NAME:
        return _folder(data)
    source = pick({**DATASETS, image_folder.NAME: None}, data.name, "data set", "data.name")
    assert source is not None  # noqa: S101  image_folder is handled above
    fields = Data.model_fields
    if fixed := [key for key in IMAGE_FOLDER_KEYS if getattr(data, key) != fields[key].default]:
        raise SpecError(
            f"data.{fixed[0]}: only for {image_folder.NAME}; {data.name} has a fixed one"
        )
    if data.archive is None:
        return source
    if not isinstance(source, Files):
        raise SpecError(f"data.archive: {data.name} has no files")
    return source.in_archive(data.archive)


def _folder(data: Data) -> Source:
    if data.archive is None or data.size is None or data.classes is None:
        missing = next(k for k in ("archive", "size", "classes") if getattr(data, k) is None)
        raise SpecError(
            f"data.name = {data.name!r} needs data.{missing}: archive (a folder or archive below "
            "the data folder), size (pixels a side) and classes"
        )
    return image_folder.source(data.archive, data.size, data.classes, data.channels, data.resize)
