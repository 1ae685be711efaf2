"""What every engine needs to know: the study, the number of workers, and what each may use."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from nas_service.errors import SpecError
from nas_service.study.fields import study_name

MOST_WORKERS = 10_000
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._,:@/+-]{0,127}")


@dataclass(frozen=True)
class Job:
    """A number of equal workers of one study.

    Raises:
        SpecError: A value is out of its range, or the study's name is not valid.
    """

    study: str
    workers: int = 1
    cpus: int = 1  # for each worker, which computes in one thread
    memory_GiB: int = 5  # for each worker and its training
    gpu: bool = False  # one for each worker
    grace_s: int = 120  # between SIGTERM, after which a worker releases its trial, and SIGKILL

    def __post_init__(self) -> None:
        study_name(self.study)
        within("--workers", self.workers, 1, MOST_WORKERS)
        within("--cpus", self.cpus, 1, 256)
        within("--memory", self.memory_GiB, 1, 4096)
        within("--grace", self.grace_s, 1, 3600)


def within(option: str, value: float, low: float, high: float) -> None:
    """Checks that the value of an option is in its range.

    Args:
        option: The option's name, for errors.
        value: Its value.
        low: The least possible value.
        high: The largest possible value.

    Raises:
        SpecError: The value is not in low..high.
    """
    if not low <= value <= high:
        raise SpecError(f"{option} {value:g}: must be in {low:g}..{high:g}")


def word(option: str, text: str) -> str:
    """The text of an option, which no shell and no scheduler can misread.

    Args:
        option: The option's name, for errors.
        text: Its value.

    Returns:
        The text.

    Raises:
        SpecError: The text is not one word of letters, digits and a few signs.
    """
    if not WORD.fullmatch(text):
        raise SpecError(
            f"{option} {text!r:.80}: one word of letters, digits and ._,:@/+- is needed"
        )
    return text


def absolute_path(option: str, path: str) -> str:
    """The path of an option, which means the same in every folder.

    Args:
        option: The option's name, for errors.
        path: Its value.

    Returns:
        The path.

    Raises:
        SpecError: The path is not absolute, or has control characters.
    """
    if not PurePosixPath(path).is_absolute() or not path.isprintable():
        raise SpecError(f"{option} {path!r:.200}: an absolute path is needed")
    return path
