"""Data sets by name. A new one is one file and one line here."""

from nas_service.data.dataset import Files, Source
from nas_service.data.sets import (
    cifar,
    cifar10_dvs,
    digits,
    dvs_gesture,
    image_folder,
    n_mnist,
    tiny_imagenet,
)
from nas_service.data.sets import (
    mnist as idx,
)
from nas_service.errors import SpecError, pick
from nas_service.study.sections import Data

DATASETS: dict[str, Source] = {
    "digits": digits.SOURCE,
    "mnist": idx.MNIST,
    "fashion_mnist": idx.FASHION_MNIST,
    "cifar10": cifar.CIFAR10,
    "cifar100": cifar.CIFAR100,
    "tiny_imagenet_200": tiny_imagenet.SOURCE,
    "n_mnist": n_mnist.SOURCE,
    "dvs128_gesture": dvs_gesture.SOURCE,
    "cifar10_dvs": cifar10_dvs.SOURCE,
}
OF_A_FOLDER = ("size", "classes", "channels", "resize")  # keys of [data] that others know better


def source_of(data: Data) -> Source:
    """The data set that a study's `[data]` asks for; SpecError where it asks for too little."""
    if data.name == image_folder.NAME:
        return _folder(data)
    source = pick({**DATASETS, image_folder.NAME: None}, data.name, "data set")
    assert source is not None  # noqa: S101  the folder is dealt with above
    fields = Data.model_fields
    if given := [key for key in OF_A_FOLDER if getattr(data, key) != fields[key].default]:
        raise SpecError(f"data.{given[0]}: only for {image_folder.NAME}; {data.name} has its own")
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
