"""A first study file, written from a commented template: digits, own pictures, or events."""

import json
import os
import re
import tomllib
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from string import Template
from typing import Any

import numpy as np

from nas_service.data import DATASETS
from nas_service.data.dataset import PARTS as DATA_PARTS
from nas_service.data.dataset import Files
from nas_service.data.sets import image_folder
from nas_service.errors import DataError, SpecError
from nas_service.evaluation.screening import Budgets
from nas_service.searches.creation import check
from nas_service.spaces.batch import sample_batch
from nas_service.spaces.task import Task
from nas_service.study.fields import study_name
from nas_service.study.loading import parse_spec
from nas_service.study.sections import Data
from nas_service.study.spec import StudySpec

EVENT_SETS = {"n_mnist": 60000, "dvs128_gesture": 1176, "cifar10_dvs": 9000}  # recordings to train
CELLS = 2  # of every template
LARGEST_SIDE = 64  # of pictures, in pixels: larger ones take hours to train
SMALLEST_SIDE = 8
LARGEST_MAP = 32  # side of the maps that the cells compute, in pixels
TRAIN_SAMPLES = 6000  # recordings that a first search trains with
BUDGETS = ("parameters", "area_mm2", "latency_ms", "energy_uJ")
SHARE, RATE = 0.75, 0.5  # of the space within each budget, at this spike rate
SAMPLE = 500  # candidates that the budgets are estimated from
GLOBAL = '"global"'  # in TOML
COMMENT_COLUMN = 30
COMMENTED = re.compile(r"^([^#\n]*[^#\s])[ ]+# (.*)$", re.MULTILINE)


@dataclass(frozen=True)
class FirstStudy:
    """The text of a study file and how to run it."""

    file: Path  # that it is for
    text: str
    data_folder: Path | None = None  # that `nas run` must be given; None for the default one
    notes: tuple[str, ...] = field(default=())  # on its data


def digits(name: str, folder: Path) -> FirstStudy:
    """A study of handwritten digits, which need no files.

    Args:
        name: Of the study.
        folder: For its file.

    Returns:
        The study.

    Raises:
        SpecError: The folder has a file of that name.
    """
    file = _free(folder, name)
    return FirstStudy(file, _filled("digits", {"name": name, "file": file}))


def pictures(name: str, folder: Path, path: Path, data_folder: Path) -> FirstStudy:
    """A study of a folder or archive of pictures.

    Args:
        name: Of the study.
        folder: For its file.
        path: The folder or archive, with a folder for each class.
        data_folder: The folder of data sets, unless the pictures lie elsewhere.

    Returns:
        The study; the size of the pictures, their classes and the budgets fit them.

    Raises:
        DataError: There are no pictures, too few of them, or they are damaged.
        SpecError: The folder has a file of that name.
    """
    _demand_there(path)
    file, (place, archive) = _free(folder, name), _split(path, data_folder)
    survey = image_folder.survey(place, _data(image_folder.NAME, archive=archive))
    size = _side(survey["sizes"])
    facts = _shape_of(Task(3, size, len(survey["classes"]))) | {
        "name": name,
        "file": file,
        "archive": json.dumps(archive, ensure_ascii=False),  # which is TOML as well
        "validation_samples": survey["validation_samples"],
        "resize": json.dumps(set(survey["sizes"]) != {(size, size)}),
    }
    text = _with_budgets("pictures", facts)
    return FirstStudy(file, text, None if place == data_folder else place, survey["notes"])


def events(name: str, folder: Path, path: Path | None, data_folder: Path) -> FirstStudy:
    """A study of one of the known sets of event recordings.

    Args:
        name: Of the study; empty for that of the set.
        folder: For its file.
        path: The set's folder or archive, or the folder it lies in; None for `data_folder`.
        data_folder: The folder of data sets.

    Returns:
        The study of the first set whose files are there.

    Raises:
        DataError: `path` has none of the sets.
        SpecError: The folder has a file of that name.
    """
    if path is not None:
        _demand_there(path)
    place, data = _event_set(path, data_folder)
    notes: tuple[str, ...] = ()
    if data is None:
        data = next(iter(EVENT_SETS))
        notes = (f"no recordings in {data_folder} yet: `nas data {data}` says where to get them",)
    source, name = DATASETS[data], name or data
    file = _free(folder, name)
    facts = _shape_of(source.task) | {
        "name": name,
        "file": file,
        "data": data,
        "train_samples": min(TRAIN_SAMPLES, EVENT_SETS[data] - source.validation_samples),
        "validation_samples": min(source.validation_samples, TRAIN_SAMPLES // 3),
    }
    text = _with_budgets("events", facts)
    return FirstStudy(file, text, None if place == data_folder else place, notes)


def name_for(path: Path) -> str:
    """A valid name of a study for the file or folder of its data."""
    stem = path.name.partition(".")[0]
    name = re.sub(r"[^A-Za-z0-9_-]+", "-", stem).strip("-")[:50]
    try:
        return study_name(name)
    except SpecError:
        return study_name(f"pictures-{name}".rstrip("-"))


def write(study: FirstStudy) -> None:
    """Writes a study file; missing folders are created.

    Args:
        study: The study.

    Raises:
        SpecError: There is such a file by now, or it cannot be written.
    """
    try:
        study.file.parent.mkdir(parents=True, exist_ok=True)
        with study.file.open("x", encoding="utf-8") as out:
            out.write(study.text)
    except OSError as error:
        raise SpecError(f"{study.file}: cannot be written ({error.strerror})") from None


def _demand_there(path: Path) -> None:
    if not path.exists():
        raise SpecError(f"--path {path}: no such file or folder")


def _free(folder: Path, name: str) -> Path:
    """The file of a study in a folder; SpecError where it exists, as none is ever overwritten."""
    file = folder / f"{name}.toml"
    if file.exists() or file.is_symlink():
        raise SpecError(f"{file}: there already, and not overwritten; --name gives another one")
    return file


def _split(path: Path, data_folder: Path) -> tuple[Path, str]:
    """The data folder of a study, and the path of its data below that folder."""
    absolute, default = (Path(os.path.abspath(p)) for p in (path, data_folder))
    if absolute != default and absolute.is_relative_to(default):
        return data_folder, absolute.relative_to(default).as_posix()
    return absolute.parent, absolute.name


def _data(name: str, **settings: Any) -> Data:
    try:
        return Data(name=name, **settings)
    except ValueError:
        raise DataError(
            f"--path {settings['archive']!r:.90}: the name of a folder or archive is needed, "
            "without ':' and control characters"
        ) from None


def _side(sizes: list[tuple[int, int]]) -> int:
    """The side of the pictures in the study, in pixels: a multiple of 4."""
    smallest = min(min(size) for size in sizes)
    return max(SMALLEST_SIDE, min(LARGEST_SIDE, smallest) // 4 * 4)


def _event_set(path: Path | None, data_folder: Path) -> tuple[Path, str | None]:
    """The data folder and the first event set in it; None where the default folder has none."""
    folders = [data_folder] if path is None else [path, Path(os.path.abspath(path)).parent]
    for folder in folders:
        for name in EVENT_SETS:
            if _has(folder, name, path):
                return folder, name
    if path is None:
        return data_folder, None
    known = ", ".join(_places(name)[0] for name in EVENT_SETS)
    raise DataError(
        f"--path {path}: none of the known recordings, under its published name ({known}); "
        "`nas data n_mnist` lists the files of a set"
    )


def _has(folder: Path, name: str, path: Path | None) -> bool:
    """True where a folder has both parts of a set; a `path` in it must be the set's own."""
    source = DATASETS[name]
    assert isinstance(source, Files)  # noqa: S101  all event sets lie in files
    inside = path is not None and folder != path
    if inside and path is not None and path.name not in _places(name):
        return False
    return all(source.location(folder, part) is not None for part in _parts(source))


def _parts(source: Files) -> tuple[str, ...]:
    return tuple(part for part in DATA_PARTS if part in source.uses)


def _places(name: str) -> list[str]:
    """Names below the data folder at which a set is searched."""
    source = DATASETS[name]
    assert isinstance(source, Files)  # noqa: S101  all event sets lie in files
    return [location.path.partition("/")[0] for location in source.locations]


def _shape_of(task: Task) -> dict[str, Any]:
    """What the sizes of a study must be for images of this size."""
    stride = next(n for n in (1, 2, 3, 4) if _fits(task, n) or n == 4)
    first = (task.size - 1) // stride + 1
    last = task.last_side(CELLS, stride)
    pools = [str(last // left) for left in (4, 2) if last % left == 0]
    return {
        "size": task.size,
        "classes": task.classes,
        "stem_stride": stride,
        "map": first,
        "last": last,
        "head_pool": f"[{', '.join([*pools, GLOBAL])}]",
        "chance": float(f"{task.chance:.3g}"),
    }


def _fits(task: Task, stride: int) -> bool:
    side = (task.size - 1) // stride + 1
    return side <= LARGEST_MAP and side % 2 ** (CELLS - 1) == 0


def _with_budgets(template: str, facts: dict[str, Any]) -> str:
    """The filled template, with budgets that three quarters of its space keep, each."""
    loose = dict.fromkeys(BUDGETS, 1e12)
    spec = _parsed(_filled(template, facts | loose))
    return _filled(template, facts | _budgets(spec))


def _budgets(spec: StudySpec) -> dict[str, float]:
    hardware = spec.hardware.model_copy(update={"assumed_rate": RATE})
    budgets = Budgets.of(spec.model_copy(update={"hardware": hardware}))
    costed = budgets.costed(sample_batch(budgets.workloads.space, SAMPLE, spec.seed))
    values = {name: costed.metrics[name][costed.connected] for name in BUDGETS}
    return {name: float(f"{np.quantile(x, SHARE):.2g}") for name, x in values.items()}


def _parsed(text: str) -> StudySpec:
    """The study of a filled template, checked as `nas check` does."""
    spec = parse_spec(json.dumps(tomllib.loads(text)), "template")
    check(spec)
    return spec


def _filled(template: str, facts: dict[str, Any]) -> str:
    """A template with its facts, its comments one below the other."""
    file = resources.files("nas_service.study").joinpath("templates", f"{template}.toml")
    text = file.read_text(encoding="utf-8")
    filled = Template(text).substitute({key: _plain(value) for key, value in facts.items()})
    return COMMENTED.sub(_aligned, filled)


def _aligned(line: re.Match[str]) -> str:
    return f"{line[1]:<{COMMENT_COLUMN - 1}} # {line[2]}"


def _plain(value: object) -> str:
    """A value in TOML: whole numbers without an exponent."""
    if isinstance(value, float):
        return f"{value:.0f}" if value >= 100 else f"{value:g}"
    return str(value)
