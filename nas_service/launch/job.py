"""What every engine is told: how many workers of which study, and what each of them may use."""

import re
from dataclasses import dataclass
from pathlib import PurePosixPath

from nas_service.errors import SpecError
from nas_service.study.fields import study_name

MOST_WORKERS = 10_000
WORD = re.compile(r"[A-Za-z0-9][A-Za-z0-9._,:@/+-]{0,127}")


@dataclass(frozen=True)
class Job:
    """`workers` processes of one study."""

    study: str
    workers: int = 1
    cpus: int = 1  # of each worker, which computes in one thread
    memory_GiB: int = 4  # of each worker
    gpu: bool = False  # one for each worker
    grace_s: int = 120  # between SIGTERM, which releases the trial in hand, and SIGKILL

    def __post_init__(self) -> None:
        study_name(self.study)
        within("--workers", self.workers, 1, MOST_WORKERS)
        within("--cpus", self.cpus, 1, 256)
        within("--memory", self.memory_GiB, 1, 4096)
        within("--grace", self.grace_s, 1, 3600)


def within(option: str, value: float, low: float, high: float) -> None:
    """SpecError unless the value of an option lies in low..high."""
    if not low <= value <= high:
        raise SpecError(f"{option} {value:g}: {low:g}..{high:g} are possible")


def word(option: str, text: str) -> str:
    """The text, if it is one plain word that no shell and no scheduler reads anything into."""
    if not WORD.fullmatch(text):
        raise SpecError(f"{option} {text!r:.80}: one word of letters, digits and ._,:@/+- is meant")
    return text


def whole_path(option: str, path: str) -> str:
    """The path, if it means the same in every folder and has no control characters."""
    if not PurePosixPath(path).is_absolute() or not path.isprintable():
        raise SpecError(f"{option} {path!r:.200}: an absolute path is meant")
    return path
