"""What this machine has for a search, what is slow and what is missing, each with what to do.

Loads no torch, trains nothing and makes no file.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from nas_service.errors import NasError
from nas_service.evaluation.control_group import installed_B, memory_limits
from nas_service.snn.compiler import COMPILERS, cache_folder, find_compiler
from nas_service.worker.local_pool import cores

State = Literal["fine", "slow", "missing"]
Environment = Mapping[str, str]
SHOWN = ("nas-service", "torch", "norse", "optuna")  # of the packages
LEAST_PYTHON = (3, 11)
WORKER_GiB = 5.0  # a worker with a training of the default training.memory_GiB
FULL_GiB, SCARCE_GiB = 0.1, 2.0  # of free disk
CONFIGURED = {  # folders that are written to, by the variable that names another one
    "NAS_ARTIFACTS": "trained weights",
    "NAS_SPOOL": "results on their way to the store",
    "NAS_CACHE": "read data sets and built libraries",
}


@dataclass(frozen=True)
class Check:
    """One line about this machine."""

    name: str
    state: State
    text: str  # what there is
    remedy: str = ""  # what to do, where it is not fine

    def to_json(self) -> dict[str, str]:
        """The line as JSON values."""
        return asdict(self)


def examine(storage: str | None, data: Path, environment: Environment) -> list[Check]:
    """Examines this machine.

    Args:
        storage: URL of the store; None for that of the environment.
        data: Folder of the data sets.
        environment: The environment variables.

    Returns:
        One check for each subject; one that fails itself is `missing`, with the reason.
    """
    subjects: dict[str, Callable[[], Check]] = {
        "versions": _versions,
        "threads": _threads,
        "memory": _memory,
        "compiler": _compiler,
        "neurons": lambda: _neurons(environment),
        "gpu": lambda: _gpu(environment),
        "store": lambda: _store(storage, environment),
        "data": lambda: _data(data),
        "disk": lambda: _disk(storage, environment),
        "start": _start,
    }
    return [_guarded(name, check) for name, check in subjects.items()]


def _guarded(name: str, check: Callable[[], Check]) -> Check:
    """The check; where it fails, a line that says so."""
    try:
        return check()
    except Exception as error:
        lines = str(error).splitlines() or [type(error).__name__]
        return Check(name, "missing", lines[0][:300], "correct what this line names")


def _versions() -> Check:
    """Python and the packages that nas-service needs, compared with the versions it needs."""
    python = ".".join(map(str, sys.version_info[:3]))
    text = ", ".join([f"Python {python}", *(f"{name} {version(name)}" for name in SHOWN)])
    if sys.version_info < LEAST_PYTHON:
        return Check("versions", "missing", text, "install Python 3.11 or later")
    if wrong := list(_unfit()):
        return Check("versions", "missing", f"{text}; {', '.join(wrong)}", "pip install them")
    return Check("versions", "fine", text)


def _unfit() -> Iterator[str]:
    """The packages that are needed and not there, or there in another version."""
    from packaging.requirements import Requirement

    for line in requires("nas-service") or ():
        needed = Requirement(line)
        if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
            continue
        try:
            found_version = version(needed.name)
        except PackageNotFoundError:
            yield f"no {needed}"
            continue
        if not needed.specifier.contains(found_version, prereleases=True):
            yield f"{needed.name} {found_version} instead of {needed.specifier}"


def _threads() -> Check:
    """Cores for workers, each of which computes in one thread, and what else uses them."""
    usable, load = cores(), os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    text = f"{usable} of {os.cpu_count() or usable} cores, one worker each by default"
    quota = _quota()
    if quota is not None and quota < usable:
        remedy = f"start fewer workers: --workers {max(1, int(quota))}"
        text += f"; the control group allows the time of {quota:g}"
        return Check("threads", "slow", text, remedy)
    if load > 1.5 * usable:
        text += f"; {load:.0f} programs compute or wait for a core"
        return Check("threads", "slow", text, "end other programs, or start fewer workers")
    return Check("threads", "fine", text)


def _quota(file: Path = Path("/sys/fs/cgroup/cpu.max")) -> float | None:
    """Cores whose time the control group grants; None where it has no limit."""
    try:
        most, period = file.read_text().split()
        return float(most) / float(period)
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _memory() -> Check:
    """Memory for the workers of all cores with trainings of the default size."""
    limits = [limit.limit_B for limit in memory_limits()]
    least_GiB = min([installed_B(), *limits]) / 2**30
    fitting = int(least_GiB / WORKER_GiB)
    text = f"{least_GiB:.3g} GiB, for {fitting} workers with trainings of 4 GiB"
    if fitting >= cores():
        return Check("memory", "fine", text)
    remedy = f"set training.memory_GiB, or start fewer workers: --workers {max(1, fitting)}"
    return Check("memory", "slow" if fitting else "missing", text, remedy)


def _compiler() -> Check:
    path = find_compiler()
    if path is None:
        text = f"none of {', '.join(COMPILERS)}"
        return Check(
            "compiler", "slow", text, "install g++: neurons in C++ are several times faster"
        )
    return Check("compiler", "fine", path)


def _neurons(environment: Environment) -> Check:
    """The backend that computes neurons on the CPU."""
    choice = environment.get("NAS_NEURONS", "auto")
    if choice not in ("auto", "cpp"):
        text = f"{choice}, as NAS_NEURONS says"
        return Check("neurons", "slow", text, "unset NAS_NEURONS: C++ is several times faster")
    folder = cache_folder(environment)
    if find_compiler() is None:
        return Check("neurons", "slow", "Python", "install g++: C++ is several times faster")
    if any(folder.glob("scan-*.so")):
        return Check("neurons", "fine", f"C++, built in {folder}")
    if not _is_writable(folder):
        remedy = "name another folder with NAS_CACHE"
        return Check("neurons", "slow", f"Python: {folder} cannot be written", remedy)
    return Check("neurons", "fine", f"C++, which the first training builds in {folder}")


def _gpu(environment: Environment) -> Check:
    """Whether there is a GPU of NVIDIA, and a torch that can use it."""
    device = environment.get("NAS_DEVICE", "cpu")
    if not _gpus():
        if device.startswith("cuda"):
            remedy = "unset NAS_DEVICE, or install the driver"
            return Check("gpu", "missing", f"none, but NAS_DEVICE = {device}", remedy)
        return Check("gpu", "fine", "none of NVIDIA: trainings run on the CPU")
    if (built_for := _cuda_of_torch()) is None:
        return Check("gpu", "slow", "there is one, this torch runs on the CPU alone",
                     "install a torch built for CUDA")  # fmt: skip
    text = f"there is one, torch is built for CUDA {built_for}"
    if device == "cpu":
        return Check("gpu", "fine", f"{text}; `nas worker --device cuda:0` trains on it")
    return Check("gpu", "fine", f"{text}; NAS_DEVICE = {device}")


def _gpus() -> list[Path]:
    """The device files of NVIDIA's driver."""
    return list(Path("/dev").glob("nvidia[0-9]*"))


def _cuda_of_torch() -> str | None:
    """The version of CUDA that torch is built for, from its file: torch loads slowly."""
    spec = find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    text = Path(spec.origin).with_name("version.py").read_text()
    built = re.search(r"^cuda.*= '([\d.]+)'", text, re.MULTILINE)
    return built and built[1]


def _store(storage: str | None, environment: Environment) -> Check:
    """The store: whether it can be opened, and how many studies it has."""
    from nas_service.store.database import checked_url, redacted, storage_url
    from nas_service.store.store import Store

    try:
        address = storage_url(storage, dict(environment))
        url = checked_url(address)
        file = Path(str(url.database)).absolute()
        if url.get_backend_name() == "sqlite" and not file.exists() and file.parent.is_dir():
            if _is_writable(file.parent):
                return Check("store", "fine", f"none yet: `nas run STUDY.toml` makes {file}")
            remedy = "name another with --storage or NAS_STORAGE"
            return Check("store", "missing", f"{file.parent} cannot be written", remedy)
        store = Store(address, write=True)
    except NasError as error:
        remedy = "name another with --storage or NAS_STORAGE, or start its server"
        return Check("store", "missing", str(error), remedy)
    try:
        names = store.studies.names()
    finally:
        store.close()
    return Check("store", "fine", f"{redacted(url)}, studies: {len(names)}")


def _data(folder: Path) -> Check:
    """Which data sets are in the folder; the digits need none."""
    from nas_service.data import DATASETS
    from nas_service.data.dataset import Files

    if not folder.exists():
        return Check("data", "fine", f"digits, which need no files; no folder {folder}")
    os.listdir(folder)  # OSError where it cannot be read
    present = [
        name
        for name, source in DATASETS.items()
        if not isinstance(source, Files)
        or all(source.location(folder, part) is not None for part in ("train", "test"))
    ]
    return Check("data", "fine", f"{', '.join(present)}; in {folder}")


def _disk(storage: str | None, environment: Environment) -> Check:
    """Free room for weights, results and caches, and whether their folders can be written."""
    folders = {Path.cwd(): "this folder"}
    folders |= {
        Path(environment[k]): f"{k}, {w}" for k, w in CONFIGURED.items() if k in environment
    }
    for folder, use in folders.items():
        if not _is_writable(folder):
            return Check("disk", "missing", f"{folder} ({use}) cannot be written",
                         "change its rights, or name another folder")  # fmt: skip
    free_GiB = {f: shutil.disk_usage(_existing(f)).free / 2**30 for f in folders}
    folder = min(free_GiB, key=lambda f: free_GiB[f])
    text = f"{free_GiB[folder]:.3g} GiB free in {folder}"
    if free_GiB[folder] < SCARCE_GiB:
        state: State = "missing" if free_GiB[folder] < FULL_GiB else "slow"
        return Check("disk", state, text, "free some, `nas studies --prune STUDY` deletes weights")
    return Check("disk", "fine", text)


def _start() -> Check:
    """Whether Python keeps compiled files, without which each start takes seconds longer."""
    if sys.dont_write_bytecode:
        remedy = "unset PYTHONDONTWRITEBYTECODE"
        return Check("start", "slow", "Python keeps no compiled files", remedy)
    return Check("start", "fine", "Python keeps compiled files")


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    folder = folder.absolute()
    return next(f for f in (folder, *folder.parents) if f.exists())


def _is_writable(folder: Path) -> bool:
    """True where files can be made in a folder, or the folder itself."""
    place = _existing(folder)
    return place.is_dir() and os.access(place, os.W_OK | os.X_OK)
